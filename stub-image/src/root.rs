// SPDX-License-Identifier: GPL-3.0-only
//! A directory seen as `/`: its symbolic links lead to where they would after a chroot, never out of it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::ImageError;

/// As many as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// A root directory that is only read.
#[derive(Debug, Clone)]
pub struct Root {
    directory: PathBuf,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The absolute path inside the root, free of links.
    pub path: PathBuf,
    /// The links on the way: path inside the root, without links in its directories, and what it says.
    pub links: Vec<(PathBuf, PathBuf)>,
}

impl Root {
    /// Takes `directory` as the root.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory outside.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The outer name of a path inside that [`resolve`](Self::resolve) gave.
    pub fn outer(&self, inside: &Path) -> PathBuf {
        self.directory.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Follows `path` to what exists there, nothing if it does not.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<Option<Resolved>, ImageError> {
        let path = path.as_ref();
        let mut left: VecDeque<OsString> = parts(path).collect();
        let mut at = PathBuf::from("/");
        let mut links = Vec::new();
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let metadata = match fs::symlink_metadata(self.outer(&next)) {
                Ok(metadata) => metadata,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    return Ok(None);
                }
                Err(source) => return Err(ImageError::file("looking at", self.outer(&next))(source)),
            };
            if !metadata.is_symlink() {
                at = next;
                continue;
            }
            if links.len() == MAX_LINKS {
                return Err(ImageError::LinkLoop { path: path.to_owned() });
            }
            let outer = self.outer(&next);
            let target = fs::read_link(&outer).map_err(ImageError::file("reading the link", outer))?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(part);
            }
            links.push((next, target));
        }
        Ok(Some(Resolved { path: at, links }))
    }

    /// Reads the file at `path`, nothing if there is none.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(resolved) = self.resolve(path)? else { return Ok(None) };
        let outer = self.outer(&resolved.path);
        fs::read(&outer).map(Some).map_err(ImageError::file("reading", outer))
    }

    /// The paths that exist and match `pattern`, whose wildcards never match a `/`; sorted.
    pub fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, ImageError> {
        let mut found = vec![PathBuf::from("/")];
        for part in parts(pattern) {
            let text = part.to_string_lossy();
            let wildcard = glob::Pattern::new(&text).ok().filter(|_| text.contains(['*', '?', '[']));
            let mut next = Vec::new();
            for directory in found {
                match &wildcard {
                    None => next.push(directory.join(&part)),
                    Some(wildcard) => {
                        let fits = |name: &OsString| wildcard.matches(&name.to_string_lossy());
                        let names = self.list(&directory)?;
                        next.extend(names.into_iter().filter(fits).map(|name| directory.join(name)));
                    }
                }
            }
            found = next;
        }
        let mut there = Vec::new();
        for path in found {
            if self.resolve(&path)?.is_some() {
                there.push(path);
            }
        }
        Ok(there)
    }

    /// The names in the directory `path`, sorted; none if it is no directory.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>, ImageError> {
        let Some(resolved) = self.resolve(path)? else { return Ok(Vec::new()) };
        let outer = self.outer(&resolved.path);
        if !outer.is_dir() {
            return Ok(Vec::new());
        }
        let names = fs::read_dir(&outer)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect());
        let mut names: Vec<OsString> = names.map_err(ImageError::file("listing", outer))?;
        names.sort();
        Ok(names)
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_the_root_and_are_told_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir_all(at.join("usr/lib/deep")).unwrap();
        fs::write(at.join("usr/lib/deep/libx.so.1.2"), "x").unwrap();
        symlink("usr/lib", at.join("lib")).unwrap();
        symlink("../../../../../lib/deep/libx.so.1.2", at.join("usr/lib/libx.so")).unwrap();
        symlink("/lib/libx.so", at.join("abs")).unwrap();
        let root = Root::new(at);
        let resolved = root.resolve("/abs").unwrap().unwrap();
        assert_eq!(resolved.path, Path::new("/usr/lib/deep/libx.so.1.2"));
        let names: Vec<_> = resolved.links.iter().map(|(link, _)| link.to_str().unwrap()).collect();
        assert_eq!(names, ["/abs", "/lib", "/usr/lib/libx.so", "/lib"]);
        assert_eq!(root.read("abs").unwrap().unwrap(), b"x");
    }

    #[test]
    fn a_link_that_climbs_out_ends_at_the_root_as_after_a_chroot() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("root");
        fs::create_dir_all(&inner).unwrap();
        fs::write(directory.path().join("secret"), "outside").unwrap();
        for target in ["../secret", "/../secret", "../../../../secret"] {
            let link = inner.join("link");
            symlink(target, &link).unwrap();
            assert_eq!(Root::new(&inner).read("/link").unwrap(), None, "{target}");
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn wildcards_match_within_one_directory() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for name in ["a/x.conf", "b/y.conf", "b/z.txt", "b/deep/w.conf"] {
            fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
            fs::write(at.join(name), "").unwrap();
        }
        symlink("nowhere", at.join("b/dead.conf")).unwrap();
        let glob = |pattern: &str| Root::new(at).glob(Path::new(pattern)).unwrap();
        assert_eq!(glob("/?/*.conf"), ["/a/x.conf", "/b/y.conf"].map(PathBuf::from));
        assert_eq!(glob("/b/z.txt"), [PathBuf::from("/b/z.txt")]);
        assert!(glob("/none/*").is_empty() && glob("/a/x.conf/*").is_empty());
    }

    #[test]
    fn loops_are_refused_and_missing_files_are_nothing() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        symlink("/etc/passwd", directory.path().join("out")).unwrap();
        let root = Root::new(directory.path());
        assert!(matches!(root.resolve("/a"), Err(ImageError::LinkLoop { .. })));
        assert_eq!(root.resolve("/out").unwrap(), None);
        assert_eq!(root.resolve("/nothing/here").unwrap(), None);
    }
}
