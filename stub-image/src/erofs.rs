// SPDX-License-Identifier: GPL-3.0-only
//! Packs a tree as an EROFS image with `mkfs.erofs`.

use std::path::Path;
use std::process::Command;

use crate::{ImageError, Tree};

const TOOL: &str = "mkfs.erofs";
/// Any would do, as long as it is always the same.
const UUID: &str = "73747562-696d-4167-a520-726f6f746673";

/// Writes `tree` as an image to `to`: equal trees give equal bytes.
pub fn write(tree: &Tree, to: &Path) -> Result<(), ImageError> {
    let staging =
        tempfile::tempdir().map_err(ImageError::file("making a directory in", std::env::temp_dir()))?;
    tree.write_below(staging.path())?;
    let mut command = Command::new(TOOL);
    command.args(["-zlz4hc", "-T0", "-x-1", "--all-root", "--quiet", "-U", UUID]).arg(to).arg(staging.path());
    let output = command.output().map_err(|source| ImageError::NoTool {
        tool: TOOL,
        package: "erofs-utils",
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(ImageError::Tool { tool: TOOL, status: output.status, output: output_text })
}
