// SPDX-License-Identifier: GPL-3.0-only
//! The forms in which an image carries its root filesystem.
//!
//! Equal trees give equal bytes in each of them: owners, times, identifiers and the order of files are the same at
//! every build, on every machine that has the same version of the tool.

mod erofs;
mod ext4;
mod squashfs;

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::{ImageError, Tree};

/// A form of the root filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Compressed, read-only, the quickest to read.
    #[default]
    Erofs,
    /// Compressed the most, read-only.
    Squashfs,
    /// Not compressed; every kernel knows it.
    Ext4,
    /// All files in the ramdisk, for hosts that serve no root filesystem.
    Ramdisk,
}

impl Format {
    /// Its name in the manifest and, of a filesystem, for the kernel.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
            Self::Ramdisk => proto::ramdisk::ITSELF,
        }
    }

    /// The module of a kernel that has it not built in.
    pub fn module(self) -> Option<&'static str> {
        (self != Self::Ramdisk).then(|| self.name())
    }

    /// Writes `tree` as a filesystem to `to`; a ramdisk has no file of its own.
    pub fn write(self, tree: &Tree, to: &Path) -> Result<(), ImageError> {
        match self {
            Self::Erofs => erofs::write(tree, to),
            Self::Squashfs => squashfs::write(tree, to),
            Self::Ext4 => ext4::write(tree, to),
            Self::Ramdisk => Ok(()),
        }
    }
}

/// Any would do, as long as it is always the same.
const UUID: &str = "73747562-696d-4167-a520-726f6f746673";

/// A directory with the files of `tree`.
fn staged(tree: &Tree) -> Result<tempfile::TempDir, ImageError> {
    let staging =
        tempfile::tempdir().map_err(ImageError::file("making a directory in", std::env::temp_dir()))?;
    tree.write_below(staging.path())?;
    Ok(staging)
}

/// Runs `command`, and tells what it said if it fails.
pub(crate) fn run(
    command: &mut Command,
    tool: &'static str,
    package: &'static str,
) -> Result<String, ImageError> {
    let output = command.output().map_err(|source| ImageError::NoTool { tool, package, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&text).trim().to_owned();
    Err(ImageError::Tool { tool, status: output.status, output: said })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread::sleep;
    use std::time::Duration;

    use crate::skipped::ignored;
    use crate::tree::{Mode, Node};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.add("/usr/bin/qemu", Node::File(vec![7; 100_000], Mode::Program)).unwrap();
        tree.add("/etc/odd name", Node::File(b"text".to_vec(), Mode::Data)).unwrap();
        tree.add("/bin", Node::Link("usr/bin".into())).unwrap();
        tree.add("/proc", Node::Dir).unwrap();
        tree
    }

    /// Where the tool of `format` is installed.
    fn can(format: Format) -> bool {
        let tool = match format {
            Format::Erofs => "mkfs.erofs",
            Format::Squashfs => "mksquashfs",
            Format::Ext4 => "mke2fs",
            Format::Ramdisk => return false,
        };
        let there = Command::new(tool).arg("-V").output().is_ok();
        if !there {
            ignored(&format!("no {tool}"));
        }
        there
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes_at_another_time() {
        for format in
            [Format::Erofs, Format::Squashfs, Format::Ext4].into_iter().filter(|format| can(*format))
        {
            let directory = tempfile::tempdir().unwrap();
            let made = ["a", "deep/b"].map(|name| {
                let to = directory.path().join(name);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                format.write(&tree(), &to).unwrap();
                // Filesystems count in seconds.
                sleep(Duration::from_millis(1100));
                fs::read(to).unwrap()
            });
            assert!(made[0] == made[1], "{format:?}");
            assert!(!made[0].is_empty());
        }
    }

    #[test]
    fn an_ext4_filesystem_is_whole_and_belongs_to_root() {
        if !can(Format::Ext4) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        Format::Ext4.write(&tree(), &image).unwrap();
        let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&image).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        let list = Command::new("debugfs").args(["-R", "ls -l /etc"]).arg(&image).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let line = list.lines().find(|line| line.ends_with("odd name")).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[1..6], ["100644", "(1)", "0", "0", "4"], "{line}");
    }

    #[test]
    fn a_tool_that_fails_is_told_with_its_words() {
        if !can(Format::Erofs) {
            return;
        }
        let error = Format::Erofs.write(&tree(), Path::new("/nowhere/image")).unwrap_err().to_string();
        assert!(error.starts_with("mkfs.erofs failed with exit status") && error.contains("/nowhere/image"));
    }
}
