// SPDX-License-Identifier: GPL-3.0-only
//! The files of an image before they are packed, sorted by path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proto::manifest::{Entry, EntryKind};

use crate::image::digest;
use crate::packages::Packages;
use crate::root::Resolved;
use crate::{ImageError, Root};

/// What is at a path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A symbolic link to this path.
    Link(PathBuf),
    /// A regular file with these bytes.
    File(Vec<u8>, Mode),
}

/// What a file is for; an image has only these two modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mode 0644.
    Data,
    /// Mode 0755.
    Program,
}

impl Mode {
    /// The permission bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Data => 0o644,
            Self::Program => 0o755,
        }
    }
}

/// What becomes of the symbolic links from a file's name to the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Links {
    /// They are links in the image too.
    #[default]
    Keep,
    /// The file takes the name that was asked for; links to directories on the way stay.
    Flatten,
}

/// The files of an image, by absolute path; `/` itself is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    /// Who needs what is at a path.
    needs: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Where in the distribution's root those files were that have another name here.
    origins: BTreeMap<PathBuf, PathBuf>,
    links: Links,
}

impl Tree {
    /// Adds `node` at `path`, and the directories above it.
    ///
    /// # Errors
    /// When something else is there already.
    pub fn add(&mut self, path: impl AsRef<Path>, node: Node) -> Result<(), ImageError> {
        let path = Path::new("/").join(path);
        for parent in path.ancestors().skip(1).filter(|parent| parent.parent().is_some()) {
            let there = self.nodes.entry(parent.to_owned()).or_insert(Node::Dir);
            if *there != Node::Dir {
                return Err(ImageError::Conflict { path: parent.to_owned() });
            }
        }
        match self.nodes.insert(path.clone(), node.clone()) {
            Some(other) if other != node => Err(ImageError::Conflict { path }),
            _ => Ok(()),
        }
    }

    /// An empty one that treats links in this way.
    pub fn with_links(links: Links) -> Self {
        Self { links, ..Self::default() }
    }

    /// Notes that `by` needs what is at `path`.
    pub fn need(&mut self, path: impl AsRef<Path>, by: impl Into<String>) {
        self.needs.entry(Path::new("/").join(path)).or_default().insert(by.into());
    }

    /// Notes that what is at `path` is the distribution's file `origin`.
    pub fn came_from(&mut self, path: impl AsRef<Path>, origin: &Path) {
        self.origins.insert(Path::new("/").join(path), origin.to_owned());
    }

    /// Adds the file that `path` leads to in `root`, at the same place, with every link on the way, all needed by `by`.
    ///
    /// False when there is none.
    pub fn add_from(
        &mut self,
        root: &Root,
        path: impl AsRef<Path>,
        mode: Mode,
        by: &str,
    ) -> Result<bool, ImageError> {
        let Some(resolved) = root.resolve(path.as_ref())? else { return Ok(false) };
        let outer = root.outer(&resolved.path);
        let bytes = fs::read(&outer).map_err(ImageError::file("reading", outer))?;
        let Some(place) = self.place(root, path.as_ref())? else { return Ok(false) };
        for (link, target) in place.links {
            self.need(&link, by);
            self.add(link, Node::Link(target))?;
        }
        self.need(&place.path, by);
        self.add(place.path, Node::File(bytes, mode))?;
        Ok(true)
    }

    /// Notes that `by`, too, needs what [`add_from`](Self::add_from) added for `path`.
    pub fn need_from(&mut self, root: &Root, path: &Path, by: &str) -> Result<(), ImageError> {
        if let Some(place) = self.place(root, path)? {
            place.links.iter().for_each(|(link, _)| self.need(link, by));
            self.need(place.path, by);
        }
        Ok(())
    }

    /// Where a file of `root` is in the image, and the links that lead there.
    fn place(&self, root: &Root, path: &Path) -> Result<Option<Resolved>, ImageError> {
        let resolved = root.resolve(path)?;
        match (self.links, path.parent(), path.file_name()) {
            (Links::Flatten, Some(parent), Some(name)) if resolved.is_some() => {
                let parent = root.resolve(parent)?;
                Ok(parent.map(|parent| Resolved { path: parent.path.join(name), links: parent.links }))
            }
            _ => Ok(resolved),
        }
    }

    /// Adds everything in `other`.
    ///
    /// # Errors
    /// When both have a path, and different things there.
    pub fn merge(&mut self, other: Self) -> Result<(), ImageError> {
        for (path, by) in other.needs {
            self.needs.entry(path).or_default().extend(by);
        }
        self.origins.extend(other.origins);
        other.nodes.into_iter().try_for_each(|(path, node)| self.add(path, node))
    }

    /// Drops what is at the paths that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        self.nodes.retain(|path, _| keep(path));
        self.needs.retain(|path, _| self.nodes.contains_key(path));
    }

    /// What is at `path`.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Node> {
        self.nodes.get(path.as_ref())
    }

    /// Who needs what is at `path`.
    pub fn needed_by(&self, path: &Path) -> impl Iterator<Item = &str> {
        self.needs.get(path).into_iter().flatten().map(String::as_str)
    }

    /// Every path and what is there, sorted.
    pub fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// The same for the manifest, with the packages that files are from.
    pub fn entries(&self, packages: &Packages) -> Vec<Entry> {
        let entry = |(path, node): (&Path, &Node)| Entry {
            path: path.to_string_lossy().into_owned(),
            kind: match node {
                Node::Dir => EntryKind::Dir,
                Node::Link(target) => EntryKind::Link { target: target.to_string_lossy().into_owned() },
                Node::File(bytes, _) => EntryKind::File { size: bytes.len() as u64, sha256: digest(bytes) },
            },
            needed_by: self.needed_by(path).map(str::to_owned).collect(),
            package: packages
                .of(self.origins.get(path).map_or(path, PathBuf::as_path))
                .filter(|_| !self.is_directory(path, node))
                .map(str::to_owned),
        };
        self.nodes().map(entry).collect()
    }

    /// Directories belong to many packages, and so do links that stand for one.
    fn is_directory(&self, path: &Path, node: &Node) -> bool {
        match node {
            Node::Dir => true,
            Node::File(..) => false,
            Node::Link(target) => {
                let beside = path.parent().unwrap_or(Path::new("/")).join(target);
                self.get(beside) == Some(&Node::Dir)
            }
        }
    }

    /// Bytes in all files.
    pub fn size(&self) -> usize {
        let size = |(_, node): (_, &Node)| if let Node::File(bytes, _) = node { bytes.len() } else { 0 };
        self.nodes().map(size).sum()
    }

    /// Makes these files below the existing, empty `directory`, which becomes the image's `/`.
    pub fn write_below(&self, directory: &Path) -> Result<(), ImageError> {
        chmod(directory, Mode::Program).map_err(ImageError::file("changing the mode of", directory))?;
        for (path, node) in self.nodes() {
            let outer = directory.join(path.strip_prefix("/").unwrap_or(path));
            let made = match node {
                Node::Dir => fs::create_dir(&outer).and_then(|()| chmod(&outer, Mode::Program)),
                Node::Link(target) => symlink(target, &outer),
                Node::File(bytes, mode) => fs::write(&outer, bytes).and_then(|()| chmod(&outer, *mode)),
            };
            made.map_err(ImageError::file("making", outer))?;
        }
        Ok(())
    }
}

/// The mode that the file at `path` outside has in an image.
pub(crate) fn mode_of(path: &Path) -> Result<Mode, ImageError> {
    let metadata = fs::metadata(path).map_err(ImageError::file("looking at", path))?;
    Ok(if metadata.permissions().mode() & 0o111 == 0 { Mode::Data } else { Mode::Program })
}

/// Sets the mode whatever the umask is.
pub(crate) fn chmod(path: &Path, mode: Mode) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode.bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_with_a_file_and_conflicts_are_refused() {
        let mut tree = Tree::default();
        let file = Node::File(b"x".to_vec(), Mode::Data);
        tree.add("/a/b/c", file.clone()).unwrap();
        tree.add("a/b/c", file.clone()).unwrap();
        assert_eq!(
            tree.nodes().map(|(path, _)| path.to_str().unwrap()).collect::<Vec<_>>(),
            ["/a", "/a/b", "/a/b/c"]
        );
        assert!(matches!(tree.add("/a/b", Node::Link("d".into())), Err(ImageError::Conflict { .. })));
        tree.add("/l", Node::Link("a".into())).unwrap();
        assert!(matches!(tree.add("/l/c", file), Err(ImageError::Conflict { .. })));
    }

    #[test]
    fn a_chain_of_links_is_kept_or_flattened() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("usr/lib")).unwrap();
        fs::write(at("usr/lib/libx.so.1.2"), "x").unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("libx.so.1.2", at("usr/lib/libx.so.1")).unwrap();
        let root = Root::new(directory.path());
        let paths = |links| {
            let mut tree = Tree::with_links(links);
            assert!(tree.add_from(&root, "/lib/libx.so.1", Mode::Data, "me").unwrap());
            let files = tree.nodes().filter(|(_, node)| **node != Node::Dir);
            files
                .map(|(path, _)| (path.to_str().unwrap().to_owned(), tree.needed_by(path).count()))
                .collect::<Vec<_>>()
        };
        let kept = ["/lib", "/usr/lib/libx.so.1", "/usr/lib/libx.so.1.2"];
        assert_eq!(paths(Links::Keep), kept.map(|path| (path.to_owned(), 1)));
        assert_eq!(paths(Links::Flatten), ["/lib", "/usr/lib/libx.so.1"].map(|path| (path.to_owned(), 1)));
    }

    #[test]
    fn written_files_have_the_modes_of_the_tree() {
        let directory = tempfile::tempdir().unwrap();
        chmod(directory.path(), Mode::Data).unwrap();
        let mut tree = Tree::default();
        tree.add("/bin/program", Node::File(Vec::new(), Mode::Program)).unwrap();
        tree.add("/data", Node::File(Vec::new(), Mode::Data)).unwrap();
        tree.add("/link", Node::Link("nowhere".into())).unwrap();
        tree.write_below(directory.path()).unwrap();
        let mode =
            |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(["", "bin", "bin/program", "data"].map(mode), [0o755, 0o755, 0o755, 0o644]);
        assert_eq!(fs::read_link(directory.path().join("link")).unwrap(), Path::new("nowhere"));
    }
}
