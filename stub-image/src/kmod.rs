// SPDX-License-Identifier: GPL-3.0-only
//! Kernel modules and what they need, as `modules.dep` and its companions of one kernel release tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{ImageError, Root};

/// The modules of one kernel release.
#[derive(Debug)]
pub struct Modules {
    release: String,
    directory: PathBuf,
    /// Path and dependencies' names of each module, by name.
    files: BTreeMap<String, (String, Vec<String>)>,
    built_in: BTreeSet<String>,
    /// What should be loaded before a module: module names and aliases.
    before: BTreeMap<String, Vec<String>>,
    aliases: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Reads what `root` says about kernel `release`.
    pub fn read(root: &Root, release: &str) -> Result<Self, ImageError> {
        let directory = Path::new("/lib/modules").join(release);
        let text = |name: &str| -> Result<Option<String>, ImageError> {
            let bytes = root.read(directory.join(name))?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let dep = text("modules.dep")?.ok_or_else(|| ImageError::Missing {
            what: "the list of kernel modules",
            searched: vec![directory.join("modules.dep")],
            root: root.directory().to_owned(),
            help: "install the kernel's package with kmod, or run depmod",
        })?;
        Ok(Self {
            release: release.to_owned(),
            files: files(&dep),
            built_in: text("modules.builtin")?.unwrap_or_default().lines().map(name).collect(),
            before: pairs(&text("modules.softdep")?.unwrap_or_default(), "softdep", soft_dependencies),
            aliases: pairs(&text("modules.alias")?.unwrap_or_default(), "alias", |rest| vec![name(rest)]),
            directory,
        })
    }

    /// The files of `wanted` and of what they need, in the order of loading, by name; built-in modules have none.
    pub fn closure<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<(String, PathBuf)>, ImageError> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for module in wanted {
            self.visit(&name(module), &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        module: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<(String, PathBuf)>,
    ) -> Result<(), ImageError> {
        if self.built_in.contains(module) || !seen.insert(module.to_owned()) {
            return Ok(());
        }
        let Some((path, needs)) = self.files.get(module) else {
            return Err(ImageError::NoModule { release: self.release.clone(), module: module.to_owned() });
        };
        for soft in self.before.get(module).into_iter().flatten().filter_map(|soft| self.provider(soft)) {
            self.visit(&soft, seen, order)?;
        }
        for need in needs {
            self.visit(need, seen, order)?;
        }
        let path = self.directory.join(path);
        order.push((module.to_owned(), path));
        Ok(())
    }

    /// The module behind a name in a soft dependency, nothing if the kernel has none.
    fn provider(&self, wanted: &str) -> Option<String> {
        let wanted = name(wanted);
        if self.files.contains_key(&wanted) || self.built_in.contains(&wanted) {
            return Some(wanted);
        }
        // The others need features that a CPU may lack, and then do not load. What is built in has no alias here.
        let generic = format!("{wanted}_generic");
        if self.built_in.contains(&generic) {
            return Some(generic);
        }
        let candidates = self.aliases.get(&wanted)?;
        let generic = candidates.iter().find(|candidate| candidate.ends_with("_generic"));
        generic.or(candidates.first()).cloned()
    }
}

/// A module's name: its file's without the extensions, and `_` for `-`, which the kernel holds for equal.
pub fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path).trim();
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn files(dep: &str) -> BTreeMap<String, (String, Vec<String>)> {
    dep.lines()
        .filter_map(|line| line.split_once(':'))
        // A line names the deepest dependency last, and it must be loaded first.
        .map(|(path, needs)| {
            (name(path), (path.to_owned(), needs.split_whitespace().rev().map(name).collect()))
        })
        .collect()
}

/// Lines `keyword key rest`, with what `read` makes of the rest.
fn pairs(text: &str, keyword: &str, read: impl Fn(&str) -> Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let Some((key, rest)) =
            line.strip_prefix(keyword).and_then(|line| line.trim_start().split_once(char::is_whitespace))
        else {
            continue;
        };
        map.entry(key.replace('-', "_")).or_default().extend(read(rest));
    }
    map
}

/// What comes after `pre:`, up to `post:`.
fn soft_dependencies(rest: &str) -> Vec<String> {
    let pre = rest.split("pre:").nth(1).unwrap_or_default();
    pre.split("post:").next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const DEP: &str = "kernel/fs/erofs.ko: kernel/lib/libcrc32c.ko\nkernel/lib/libcrc32c.ko:\n\
                       kernel/crypto/crc32c_generic.ko:\nkernel/arch/crc32c-intel.ko:\n\
                       kernel/top.ko: kernel/mid.ko kernel/low.ko\nkernel/mid.ko: kernel/low.ko\nkernel/low.ko:\n\
                       kernel/packed.ko.xz:\n";

    fn modules() -> Modules {
        modules_with("kernel/drivers/tty/hvc-xen.ko\n")
    }

    fn modules_with(built_in: &str) -> Modules {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("lib/modules/6.1");
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("modules.dep"), DEP).unwrap();
        fs::write(at.join("modules.builtin"), built_in).unwrap();
        fs::write(
            at.join("modules.softdep"),
            "softdep libcrc32c pre: crc32c post: low\nsoftdep top pre: absent\n",
        )
        .unwrap();
        fs::write(at.join("modules.alias"), "alias crc32c crc32c_intel\nalias crc32c crc32c_generic\n")
            .unwrap();
        Modules::read(&Root::new(directory.path()), "6.1").unwrap()
    }

    fn closure(wanted: &[&str]) -> Vec<String> {
        modules().closure(wanted.iter().copied()).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        assert_eq!(closure(&["top", "mid"]), ["low", "mid", "top"]);
        assert_eq!(closure(&["erofs"]), ["crc32c_generic", "libcrc32c", "erofs"]);
    }

    #[test]
    fn built_in_modules_need_no_file_whichever_way_they_are_spelt() {
        assert_eq!(closure(&["hvc_xen", "hvc-xen", "crc32c-intel"]), ["crc32c_intel"]);
    }

    #[test]
    fn a_generic_provider_that_is_built_in_needs_no_file() {
        let modules = modules_with("kernel/crypto/crc32c_generic.ko\n");
        let names: Vec<String> =
            modules.closure(["erofs"]).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["libcrc32c", "erofs"]);
    }

    #[test]
    fn what_the_kernel_lacks_is_refused_and_what_is_compressed_has_its_name() {
        let missing = modules().closure(["nothing"]).unwrap_err().to_string();
        assert_eq!(missing, "kernel 6.1 has module nothing neither built in nor as a file");
        assert_eq!(closure(&["packed"]), ["packed"]);
    }
}
