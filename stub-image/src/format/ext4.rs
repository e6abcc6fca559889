// SPDX-License-Identifier: GPL-3.0-only
//! Writes a tree as an ext4 image with `mke2fs`, without mounting it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{UUID, run, staged};
use crate::tree::Node;
use crate::{ImageError, Tree};

const PACKAGE: &str = "e2fsprogs";
const BLOCK: usize = 4096;
/// Blocks for the tables, and for directories and their growth.
const SPARE: usize = 512;
/// Nobody writes, so no journal, no room to grow, and no blocks for root only.
const FEATURES: &str = "^has_journal,^resize_inode,^huge_file,^metadata_csum_seed,^orphan_file";
/// Zero would be taken for the time of day.
const TIME: (&str, &str) = ("E2FSPROGS_FAKE_TIME", "1");

/// Writes `tree` as an image to `to`.
pub(super) fn write(tree: &Tree, to: &Path) -> Result<(), ImageError> {
    let staging = staged(tree)?;
    let blocks: usize = tree.nodes().map(|(_, node)| blocks(node)).sum();
    let inodes = tree.nodes().count() + 16;
    let total = blocks + blocks / 64 + inodes.div_ceil(BLOCK / 256) + SPARE;
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-U", UUID])
        .args(["-O", FEATURES])
        .args(["-E", &format!("hash_seed={UUID},root_owner=0:0,lazy_itable_init=0")])
        .args(["-N", &inodes.to_string()])
        .arg("-d")
        .arg(staging.path())
        .arg(to)
        .arg(total.to_string());
    run(plain(&mut make), "mke2fs", PACKAGE)?;
    let script =
        tempfile::NamedTempFile::new().map_err(ImageError::file("making a file in", std::env::temp_dir()))?;
    fs::write(&script, corrections(tree)).map_err(ImageError::file("writing", script.path()))?;
    let mut correct = Command::new("debugfs");
    correct.arg("-w").arg("-f").arg(script.path()).arg(to);
    run(plain(&mut correct), "debugfs", PACKAGE).map(drop)
}

/// The environment in which the tools see no clock and none of the user's settings.
fn plain(command: &mut Command) -> &mut Command {
    command.env(TIME.0, TIME.1).env_remove("SOURCE_DATE_EPOCH").env("MKE2FS_CONFIG", "/dev/null")
}

fn blocks(node: &Node) -> usize {
    match node {
        Node::File(bytes, _) => bytes.len().div_ceil(BLOCK),
        Node::Dir | Node::Link(_) => 1,
    }
}

/// What takes back the owners and times that `mke2fs` copies from the staged files.
fn corrections(tree: &Tree) -> String {
    let mut script = String::from("rmdir /lost+found\n");
    let mut paths: Vec<&str> = tree.nodes().filter_map(|(path, _)| path.to_str()).collect();
    paths.push("/");
    for path in paths {
        for field in ["uid 0", "gid 0", "atime @1", "ctime @1", "mtime @1", "crtime @1"] {
            let _ = writeln!(script, "set_inode_field \"{path}\" {field}");
        }
        for field in ["atime_extra", "ctime_extra", "mtime_extra", "crtime_extra"] {
            let _ = writeln!(script, "set_inode_field \"{path}\" {field} 0");
        }
    }
    script
}
