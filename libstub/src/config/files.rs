// SPDX-License-Identifier: GPL-3.0-only
//! Whether a file that a config names can be used.

use std::path::Path;

/// What a file's size must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Any,
    /// A loop device drops a tail of less than 512 bytes.
    WholeSectors,
}

/// Why a file or block device cannot be used.
pub(super) fn check(path: &Path, size: Size) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt as _;
    let shown = path.display();
    let data = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no {shown}"),
        _ => format!("cannot use {shown}: {error}"),
    })?;
    let kind = data.file_type();
    if kind.is_block_device() {
        return Ok(());
    }
    if !kind.is_file() {
        return Err(format!("{shown} is neither a file nor a block device"));
    }
    if data.len() == 0 {
        return Err(format!("{shown} is empty"));
    }
    if size == Size::WholeSectors && data.len() % 512 != 0 {
        let length = data.len();
        return Err(format!("{shown} has {length} bytes, not a multiple of 512: its tail would be lost"));
    }
    Ok(())
}
