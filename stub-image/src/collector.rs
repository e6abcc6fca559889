// SPDX-License-Identifier: GPL-3.0-only
//! Who follows the needs of programs: our own closure, or a tool of the distribution.
//!
//! The tools ask this machine's `ldd`, which runs the program's loader; our own only reads. What a tool forgot is
//! found out here, so that it is an error of the build and not of the first start.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use walkdir::WalkDir;

use crate::closure::{self, Options};
use crate::format::run;
use crate::tree::{Mode, Node, mode_of};
use crate::{ImageError, Root, Tree, elf};

/// Where dracut's package has it.
const DRACUT: &str = "/usr/lib/dracut/dracut-install";
/// What initramfs-tools brings for hooks.
const HOOK_FUNCTIONS: &str = "/usr/share/initramfs-tools/hook-functions";
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// A way of collecting what programs need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Collector {
    /// Ours, for any root.
    #[default]
    Builtin,
    /// `dracut-install`, for a root of this machine's release.
    Dracut,
    /// `copy_exec` of initramfs-tools, for this machine's own root.
    InitramfsTools,
}

impl Collector {
    /// Adds `programs`, which `by` needs, with all that they need.
    pub fn programs(
        self,
        tree: &mut Tree,
        root: &Root,
        programs: &[PathBuf],
        by: &str,
        options: &Options,
    ) -> Result<(), ImageError> {
        if self == Self::Builtin {
            for program in programs {
                closure::add(tree, root, program, by, options)?;
            }
            return Ok(());
        }
        if programs.is_empty() {
            return Ok(());
        }
        if let Some(name) = options.opened.iter().find(|name| !name.starts_with('/')) {
            return Err(self.cannot(root, format!("it does not find {name}, which has no absolute path")));
        }
        if options.hwcaps {
            return Err(self.cannot(root, "it cannot be told to bring variants for newer CPUs".to_owned()));
        }
        let opened = options.opened.iter().map(PathBuf::from);
        let wanted: Vec<PathBuf> = programs.iter().cloned().chain(opened).collect();
        let mut collected = self.ask(root, Path::new(HOOK_FUNCTIONS), &wanted)?;
        for program in &wanted {
            collected.need_from(root, program, by)?;
        }
        tree.merge(collected)
    }

    /// What the tool collects; `functions` are those of initramfs-tools.
    fn ask(self, root: &Root, functions: &Path, wanted: &[PathBuf]) -> Result<Tree, ImageError> {
        let staging =
            tempfile::tempdir().map_err(ImageError::file("making a directory in", std::env::temp_dir()))?;
        match self {
            Self::Dracut => dracut(root, wanted, staging.path())?,
            _ => self.initramfs_tools(root, functions, wanted, staging.path())?,
        }
        let mut collected = read_back(staging.path())?;
        drop_linker_names(&mut collected);
        add_links(&mut collected, root, wanted)?;
        account(&mut collected)?;
        Ok(collected)
    }

    /// Adds one file, which `by` needs.
    pub fn file(self, tree: &mut Tree, root: &Root, path: &Path, by: &str) -> Result<(), ImageError> {
        let found = root.resolve(path)?.map(|resolved| root.outer(&resolved.path));
        let mode = found.map(|outer| mode_of(&outer)).transpose()?.unwrap_or(Mode::Data);
        if tree.add_from(root, path, mode, by)? {
            return Ok(());
        }
        Err(ImageError::Missing {
            what: "the file",
            searched: vec![path.to_owned()],
            root: root.directory().to_owned(),
            help: "check the path",
        })
    }

    fn initramfs_tools(
        self,
        root: &Root,
        functions: &Path,
        wanted: &[PathBuf],
        to: &Path,
    ) -> Result<(), ImageError> {
        if fs::canonicalize(root.directory()).is_ok_and(|directory| directory != Path::new("/")) {
            return Err(self.cannot(root, "copy_exec knows only this machine's own root".to_owned()));
        }
        if !functions.is_file() {
            let reason = format!("{} is missing; install initramfs-tools-core", functions.display());
            return Err(self.cannot(root, reason));
        }
        let mut shell = Command::new("sh");
        // What `mkinitramfs` sets for its hooks.
        shell.env("DESTDIR", to).env("verbose", "n").env("MODULES", "dep");
        shell
            .args(["-c", r#". "$0"; for file; do copy_exec "$file" || exit; done"#])
            .arg(functions)
            .args(wanted);
        run(&mut shell, "copy_exec", "initramfs-tools-core").map(drop)
    }

    fn cannot(self, root: &Root, reason: String) -> ImageError {
        let collector = match self {
            Self::Builtin => "the builtin collector",
            Self::Dracut => "dracut-install",
            Self::InitramfsTools => "initramfs-tools",
        };
        ImageError::Collector { collector, root: root.directory().to_owned(), reason }
    }
}

fn dracut(root: &Root, wanted: &[PathBuf], to: &Path) -> Result<(), ImageError> {
    let mut install = Command::new(DRACUT);
    install.arg("--destrootdir").arg(to).args(["--ldd", "--all"]);
    if root.directory() != Path::new("/") {
        let directory = fs::canonicalize(root.directory());
        install
            .arg("--sysrootdir")
            .arg(directory.map_err(ImageError::file("looking for", root.directory()))?);
    }
    run(install.args(wanted), "dracut-install", "dracut-core").map(drop)
}

/// The files below `directory` as a tree.
fn read_back(directory: &Path) -> Result<Tree, ImageError> {
    let mut tree = Tree::default();
    for entry in WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| ImageError::file("listing", directory)(error.into()))?;
        let outer = entry.path();
        let inner = Path::new("/").join(outer.strip_prefix(directory).unwrap_or(outer));
        let node = if entry.file_type().is_dir() {
            Node::Dir
        } else if entry.path_is_symlink() {
            Node::Link(fs::read_link(outer).map_err(ImageError::file("reading the link", outer))?)
        } else {
            Node::File(fs::read(outer).map_err(ImageError::file("reading", outer))?, mode_of(outer)?)
        };
        tree.add(inner, node)?;
    }
    Ok(tree)
}

/// Takes out the `libx.so` that dracut-install adds to a `libx.so.1`: only linkers look for it.
fn drop_linker_names(tree: &mut Tree) {
    let all: BTreeSet<PathBuf> = tree.nodes().map(|(path, _)| path.to_owned()).collect();
    tree.retain(|path| {
        let versioned = format!("{}.", path.display());
        path.extension().is_none_or(|extension| extension != "so")
            || !all.iter().any(|other| other.to_string_lossy().starts_with(&versioned))
    });
}

/// Adds the links that lead to programs and their loaders: a ramdisk of the distribution has them anyway.
fn add_links(tree: &mut Tree, root: &Root, wanted: &[PathBuf]) -> Result<(), ImageError> {
    let mut paths = wanted.to_vec();
    for (path, node) in tree.nodes() {
        if let Node::File(bytes, _) = node
            && bytes.starts_with(ELF_MAGIC)
        {
            paths.extend(elf::read(path, bytes)?.interpreter.map(PathBuf::from));
        }
    }
    for path in paths {
        let links = root.resolve(&path)?.map(|resolved| resolved.links).unwrap_or_default();
        for (link, target) in links {
            if tree.get(&link).is_none() {
                tree.add(link, Node::Link(target))?;
            }
        }
    }
    Ok(())
}

/// Notes who needs each library, and refuses a tree in which one is missing.
fn account(tree: &mut Tree) -> Result<(), ImageError> {
    let mut needs: Vec<(PathBuf, String)> = Vec::new();
    for (path, node) in tree.nodes() {
        match node {
            Node::File(bytes, _) if bytes.starts_with(ELF_MAGIC) => {
                let dynamic = elf::read(path, bytes)?;
                let loader = dynamic.interpreter.iter().filter_map(|path| path.rsplit('/').next());
                let names = dynamic.needed.iter().map(String::as_str).chain(loader);
                needs.extend(names.map(|name| (path.to_owned(), name.to_owned())));
            }
            _ => {}
        }
    }
    let files: Vec<PathBuf> = tree.nodes().map(|(path, _)| path.to_owned()).collect();
    let called = |name: &str| -> Vec<PathBuf> {
        files.iter().filter(|path| path.file_name().is_some_and(|file| file == name)).cloned().collect()
    };
    for (by, name) in needs {
        let mut reached: BTreeSet<PathBuf> = called(&name).into_iter().collect();
        if reached.is_empty() {
            return Err(ImageError::MissingLibrary { library: name, needed_by: by, searched: Vec::new() });
        }
        // A link leads on to a file of another name.
        while let Some(path) = reached.pop_first() {
            if let Some(Node::Link(target)) = tree.get(&path)
                && let Some(file) = target.file_name().and_then(|file| file.to_str())
            {
                reached.extend(called(file).into_iter().filter(|next| *next != path));
            }
            tree.need(path, by.to_string_lossy());
        }
    }
    // Links between directories lead to everything.
    let links: Vec<PathBuf> = tree
        .nodes()
        .filter(|(_, node)| matches!(node, Node::Link(_)))
        .map(|(path, _)| path.to_owned())
        .collect();
    for link in links {
        if tree.needed_by(&link).next().is_none() {
            tree.need(link, "paths through it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped::{ignored, labs_root};

    fn files(tree: &Tree) -> BTreeSet<&Path> {
        tree.nodes().filter(|(_, node)| matches!(node, Node::File(..))).map(|(path, _)| path).collect()
    }

    const PROGRAM: &str = "/bin/ls";

    fn builtin() -> Tree {
        let mut tree = Tree::default();
        let (root, options) = (Root::new("/"), Options::default());
        Collector::Builtin.programs(&mut tree, &root, &[PROGRAM.into()], "me", &options).unwrap();
        tree
    }

    #[test]
    fn every_collector_that_is_installed_collects_the_same() {
        let ours = builtin();
        let mut functions = vec![PathBuf::from(HOOK_FUNCTIONS)];
        functions.extend(labs_root().map(|root| root.join(&HOOK_FUNCTIONS[1..])));
        let functions = functions.into_iter().find(|path| path.exists());
        let dracut = Path::new(DRACUT).exists().then(PathBuf::new);
        for (collector, there) in [(Collector::Dracut, dracut), (Collector::InitramfsTools, functions)] {
            let Some(functions) = there else {
                ignored(&format!("{collector:?} is not installed"));
                continue;
            };
            let mut theirs = collector.ask(&Root::new("/"), &functions, &[PROGRAM.into()]).unwrap();
            theirs.need_from(&Root::new("/"), Path::new(PROGRAM), "me").unwrap();
            assert_eq!(files(&theirs), files(&ours), "{collector:?}");
            let others = theirs.nodes().filter(|(_, node)| **node != Node::Dir);
            let alone: Vec<_> = others.filter(|(path, _)| theirs.needed_by(path).next().is_none()).collect();
            assert!(alone.is_empty(), "{collector:?}: {alone:?}");
            // The kernel starts a program by the loader's full name.
            let staging = tempfile::tempdir().unwrap();
            theirs.write_below(staging.path()).unwrap();
            let loader = Root::new(staging.path()).resolve("/lib64/ld-linux-x86-64.so.2").unwrap();
            assert!(loader.is_some(), "{collector:?}");
        }
    }

    #[test]
    fn a_library_that_a_tool_forgot_is_an_error_that_names_who_needs_it() {
        let mut tree = builtin();
        account(&mut tree).unwrap();
        let program = tree.get("/usr/bin/ls").or(tree.get("/bin/ls")).unwrap().clone();
        let mut alone = Tree::default();
        alone.add("/bin/ls", program).unwrap();
        let error = account(&mut alone).unwrap_err().to_string();
        assert!(error.starts_with("/bin/ls needs lib"), "{error}");
    }

    #[test]
    fn a_tool_that_cannot_serve_a_root_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        let refused = Collector::InitramfsTools.programs(
            &mut tree,
            &Root::new(directory.path()),
            &["/bin/ls".into()],
            "me",
            &Options::default(),
        );
        assert!(refused.unwrap_err().to_string().ends_with("the builtin collector can"));
    }
}
