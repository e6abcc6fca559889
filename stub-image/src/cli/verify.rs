// SPDX-License-Identifier: GPL-3.0-only
//! `verify`: whether the files of an image are those that its manifest describes.

use std::path::Path;

use anyhow::bail;

use super::inspect::read;

/// A line that says that all is well.
///
/// # Errors
/// When a file is not what the manifest says; each is named with both digests.
pub(super) fn check(directory: &Path) -> anyhow::Result<String> {
    let manifest = read(directory)?;
    let faults = proto::verify::faults(directory, &manifest);
    if !faults.is_empty() {
        bail!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    Ok(format!("{}: {} files are as the manifest says", directory.display(), manifest.digests.len()))
}
