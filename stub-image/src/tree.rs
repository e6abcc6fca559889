// SPDX-License-Identifier: GPL-3.0-only
//! The files of an image before they are packed, sorted by path.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proto::manifest::{Entry, EntryKind};

use crate::image::digest;
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

/// The files of an image, by absolute path; `/` itself is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
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

    /// Adds the file that `path` leads to in `root`, at the same place, with every link on the way.
    ///
    /// False when there is none.
    pub fn add_from(&mut self, root: &Root, path: impl AsRef<Path>, mode: Mode) -> Result<bool, ImageError> {
        let Some(resolved) = root.resolve(path)? else { return Ok(false) };
        for (link, target) in resolved.links {
            self.add(link, Node::Link(target))?;
        }
        let outer = root.outer(&resolved.path);
        let bytes = fs::read(&outer).map_err(ImageError::file("reading", outer))?;
        self.add(resolved.path, Node::File(bytes, mode))?;
        Ok(true)
    }

    /// Every path and what is there, sorted.
    pub fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// The same for the manifest.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(path, node): (&Path, &Node)| Entry {
            path: path.to_string_lossy().into_owned(),
            kind: match node {
                Node::Dir => EntryKind::Dir,
                Node::Link(target) => EntryKind::Link { target: target.to_string_lossy().into_owned() },
                Node::File(bytes, _) => EntryKind::File { size: bytes.len() as u64, sha256: digest(bytes) },
            },
        };
        self.nodes().map(entry).collect()
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
