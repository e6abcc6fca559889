// SPDX-License-Identifier: GPL-3.0-only
//! The libraries that a program is linked with, found as the dynamic loader of glibc finds them.
//!
//! For each needed name, in this order: `DT_RPATH` of the file and of those that led to it (unless the file has a
//! `DT_RUNPATH`), its `DT_RUNPATH`, the directories of `/etc/ld.so.conf`, the loader's own. The image has no
//! `ld.so.cache`, so a library that only `ld.so.conf` leads to gets a link in a directory of the loader's own.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use crate::elf::{self, Dynamic};
use crate::tree::{Mode, Node};
use crate::{ImageError, Root, Tree};

/// Debian's loader looks into the multiarch ones, others into `lib64`; a directory that does not exist costs nothing.
const LOADER_DIRECTORIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
const LOADER_CONFIG: &str = "/etc/ld.so.conf";
const LIBC: &str = "libc.so.6";

/// A file of the closure whose own needs are still to be followed.
struct Object {
    /// Its path inside the root, without links.
    path: PathBuf,
    dynamic: Dynamic,
    /// `DT_RPATH` of those that led here, nearest first, `$ORIGIN` replaced.
    inherited: Vec<PathBuf>,
}

/// Adds `program` and everything it is linked with to `tree`; gives what was needed by name and where it was found.
pub fn add(tree: &mut Tree, root: &Root, program: &Path) -> Result<BTreeMap<String, PathBuf>, ImageError> {
    let configured = configured(root, Path::new(LOADER_CONFIG), 0)?;
    let mut found = BTreeMap::new();
    let first = open(root, program, Vec::new())?.ok_or_else(|| ImageError::Missing {
        what: "the program",
        searched: vec![program.to_owned()],
        root: root.directory().to_owned(),
        help: "check the path",
    })?;
    tree.add_from(root, program, Mode::Program)?;
    if let Some(interpreter) = &first.dynamic.interpreter
        && !tree.add_from(root, interpreter, Mode::Program)?
    {
        return Err(missing(interpreter, &first.path, Vec::new()));
    }
    let machine = first.dynamic.machine;
    let mut queue = VecDeque::from([first]);
    while let Some(object) = queue.pop_front() {
        let Search { own, all } = search(&object, &configured);
        for name in &object.dynamic.needed {
            // The loader, too, has one object for a name, whoever needs it first.
            if found.contains_key(name) {
                continue;
            }
            let fits = |path: &Path| -> Result<Option<Object>, ImageError> {
                let library = open(root, path, own.clone())?;
                Ok(library.filter(|library| library.dynamic.machine == machine))
            };
            let candidates: Vec<PathBuf> = if name.contains('/') {
                vec![name.into()]
            } else {
                all.iter().map(|directory| directory.join(name)).collect()
            };
            let mut hit = None;
            for path in &candidates {
                if let Some(library) = fits(path)? {
                    hit = Some((path.clone(), library));
                    break;
                }
            }
            let (path, library) = hit.ok_or_else(|| missing(name, &object.path, all.clone()))?;
            tree.add_from(root, &path, Mode::Program)?;
            found.insert(name.clone(), path);
            queue.push_back(library);
        }
    }
    link_configured(tree, root, &configured, &found)?;
    Ok(found)
}

/// Where the libraries of one object are looked for.
struct Search {
    /// What the libraries inherit.
    own: Vec<PathBuf>,
    /// Every directory, in order.
    all: Vec<PathBuf>,
}

fn search(object: &Object, configured: &[PathBuf]) -> Search {
    let origin = object.path.parent().unwrap_or(Path::new("/"));
    let replace =
        |list: &[String]| -> Vec<PathBuf> { list.iter().map(|entry| expand(entry, origin)).collect() };
    let mut own = replace(&object.dynamic.rpath);
    own.extend(object.inherited.iter().cloned());
    let mut all =
        if object.dynamic.runpath.is_empty() { own.clone() } else { replace(&object.dynamic.runpath) };
    all.extend(configured.iter().cloned());
    all.extend(LOADER_DIRECTORIES.iter().map(PathBuf::from));
    Search { own, all }
}

fn expand(entry: &str, origin: &Path) -> PathBuf {
    let origin = origin.to_string_lossy();
    entry.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin).into()
}

fn open(root: &Root, path: &Path, inherited: Vec<PathBuf>) -> Result<Option<Object>, ImageError> {
    let Some(resolved) = root.resolve(path)? else { return Ok(None) };
    let Some(bytes) = root.read(&resolved.path)? else { return Ok(None) };
    let dynamic = elf::read(&root.outer(&resolved.path), &bytes)?;
    Ok(Some(Object { path: resolved.path, dynamic, inherited }))
}

/// The directories that `ld.so.conf` and what it includes name.
fn configured(root: &Root, file: &Path, depth: usize) -> Result<Vec<PathBuf>, ImageError> {
    let mut directories = Vec::new();
    let Some(text) = root.read(file)?.filter(|_| depth < 4) else { return Ok(directories) };
    for line in String::from_utf8_lossy(&text).lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            // Distributions use only `*.conf` in one directory.
            let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern.trim());
            let directory = pattern.parent().unwrap_or(Path::new("/"));
            for name in root
                .list(directory)?
                .iter()
                .filter(|name| Path::new(name).extension().is_some_and(|e| e == "conf"))
            {
                directories.extend(configured(root, &directory.join(name), depth + 1)?);
            }
        } else if line.starts_with('/') {
            directories.push(line.into());
        }
    }
    Ok(directories)
}

/// Links what the loader would only find through the cache that the image does not have.
fn link_configured(
    tree: &mut Tree,
    root: &Root,
    configured: &[PathBuf],
    found: &BTreeMap<String, PathBuf>,
) -> Result<(), ImageError> {
    let Some(beside) = found.get(LIBC).and_then(|libc| libc.parent()) else { return Ok(()) };
    let Some(beside) = root.resolve(beside)? else { return Ok(()) };
    for (name, path) in found {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let own = LOADER_DIRECTORIES.iter().any(|own| Path::new(own) == directory);
        if !own && configured.iter().any(|entry| entry == directory) {
            tree.add(beside.path.join(name), Node::Link(path.clone()))?;
        }
    }
    Ok(())
}

fn missing(library: &str, needed_by: &Path, searched: Vec<PathBuf>) -> ImageError {
    ImageError::MissingLibrary { library: library.to_owned(), needed_by: needed_by.to_owned(), searched }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    /// A root whose `/bin/program` needs `liba.so`, which needs `libb.so`; `cc` makes them, as small as it can.
    struct Lab(tempfile::TempDir);

    impl Lab {
        fn new() -> Self {
            let lab = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(lab.at("bin")).unwrap();
            lab
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// Links `to`, against `needs`, with other arguments.
        fn link(&self, to: &str, needs: &[&str], arguments: &[&str]) {
            let to = self.at(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let source = self.at("empty.c");
            fs::write(&source, "int empty;").unwrap();
            let soname = format!("-Wl,-soname,{}", to.file_name().unwrap().to_str().unwrap());
            let status = Command::new("cc")
                .args([
                    "-nostdlib",
                    "-shared",
                    "-Wl,--no-as-needed",
                    "-Wl,--allow-shlib-undefined",
                    &soname,
                    "-o",
                ])
                .arg(&to)
                .arg(&source)
                .args(needs.iter().map(|need| self.at(need)))
                .args(arguments)
                .status()
                .unwrap();
            assert!(status.success());
        }

        fn closure(&self) -> (Tree, Result<BTreeMap<String, PathBuf>, ImageError>) {
            let mut tree = Tree::default();
            let found = add(&mut tree, &Root::new(self.0.path()), Path::new("/bin/program"));
            (tree, found)
        }
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        let files = tree.nodes().filter(|(_, node)| **node != Node::Dir);
        files.map(|(path, _)| path.to_str().unwrap()).collect()
    }

    #[test]
    fn origin_and_chains_of_links_are_followed() {
        let lab = Lab::new();
        lab.link("opt/x/libb.so", &[], &[]);
        lab.link("opt/x/liba.so", &["opt/x/libb.so"], &["-Wl,--enable-new-dtags,-rpath,$ORIGIN"]);
        lab.link(
            "bin/program",
            &["opt/x/liba.so"],
            &["-Wl,--enable-new-dtags,-rpath,/none:${ORIGIN}/../lib"],
        );
        symlink("opt/x", lab.at("really")).unwrap();
        symlink("/really", lab.at("lib")).unwrap();
        let (tree, found) = lab.closure();
        assert_eq!(found.unwrap()["libb.so"], Path::new("/opt/x/libb.so"));
        assert_eq!(paths(&tree), ["/bin/program", "/lib", "/opt/x/liba.so", "/opt/x/libb.so", "/really"]);
    }

    #[test]
    fn rpath_is_inherited_and_runpath_is_not() {
        for (tags, inherited) in [("--disable-new-dtags", true), ("--enable-new-dtags", false)] {
            let lab = Lab::new();
            lab.link("deep/libb.so", &[], &[]);
            lab.link("deep/liba.so", &["deep/libb.so"], &[]);
            lab.link("bin/program", &["deep/liba.so"], &[&format!("-Wl,{tags},-rpath,/deep")]);
            assert_eq!(lab.closure().1.is_ok(), inherited, "{tags}");
        }
    }

    #[test]
    fn a_missing_library_is_named_with_the_file_that_needs_it() {
        let lab = Lab::new();
        lab.link("lib/libb.so", &[], &[]);
        lab.link("lib/liba.so", &["lib/libb.so"], &[]);
        lab.link("bin/program", &["lib/liba.so"], &[]);
        fs::remove_file(lab.at("lib/libb.so")).unwrap();
        let error = lab.closure().1.unwrap_err().to_string();
        assert!(error.starts_with("/lib/liba.so needs libb.so, which is in none of"), "{error}");
    }

    #[test]
    fn what_only_the_cache_would_find_gets_a_link_beside_libc() {
        let lab = Lab::new();
        lab.link("usr/local/lib/liba.so", &[], &[]);
        lab.link("lib/libc.so.6", &[], &[]);
        lab.link("bin/program", &["usr/local/lib/liba.so", "lib/libc.so.6"], &[]);
        fs::create_dir_all(lab.at("etc/ld.so.conf.d")).unwrap();
        fs::write(lab.at("etc/ld.so.conf"), "include /etc/ld.so.conf.d/*.conf\n").unwrap();
        fs::write(lab.at("etc/ld.so.conf.d/local.conf"), "# ours\n/usr/local/lib\n").unwrap();
        let (tree, found) = lab.closure();
        found.unwrap();
        assert_eq!(
            paths(&tree),
            ["/bin/program", "/lib/liba.so", "/lib/libc.so.6", "/usr/local/lib/liba.so"]
        );
    }

    #[test]
    fn a_real_program_has_the_libraries_that_its_loader_lists() {
        let program = Path::new("/bin/ls");
        let output = Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split_once(" => "));
        let listed: BTreeMap<String, PathBuf> = names
            .map(|(name, path)| (name.trim().to_owned(), path.split_whitespace().next().unwrap().into()))
            .collect();
        assert!(!listed.is_empty(), "{text}");
        let mut found = add(&mut Tree::default(), &Root::new("/"), program).unwrap();
        // The loader is a library that ldd lists in its own way.
        found.retain(|name, _| !name.starts_with("ld-linux"));
        assert_eq!(found, listed);
    }
}
