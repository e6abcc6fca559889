// SPDX-License-Identifier: GPL-3.0-only
//! Packs a tree as a squashfs image with `mksquashfs`.

use std::path::Path;
use std::process::Command;

use super::{run, staged};
use crate::{ImageError, Tree};

/// Of those that a distribution's kernel can read, the one that is small and quick to read; level 19 saves 1 % for four times the time.
const COMPRESSION: [&str; 4] = ["-comp", "zstd", "-Xcompression-level", "15"];
/// No times, owners and attributes of the files that were packed.
const PLAIN: [&str; 10] = [
    "-noappend",
    "-all-root",
    "-no-xattrs",
    "-mkfs-time",
    "0",
    "-all-time",
    "0",
    "-no-progress",
    "-quiet",
    "-no-recovery",
];

/// Writes `tree` as an image to `to`.
pub(super) fn write(tree: &Tree, to: &Path) -> Result<(), ImageError> {
    let staging = staged(tree)?;
    let mut command = Command::new("mksquashfs");
    command.arg(staging.path()).arg(to).args(PLAIN).args(COMPRESSION);
    // The time of a build elsewhere would contradict the times given here.
    run(command.env_remove("SOURCE_DATE_EPOCH"), "mksquashfs", "squashfs-tools").map(drop)
}
