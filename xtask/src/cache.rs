// SPDX-License-Identifier: GPL-3.0-only
//! Things that take long to make, kept outside the checkout and found again by what went into them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// `$XDG_CACHE_HOME/stubctl-lab`, or `~/.cache/stubctl-lab`.
fn home() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache")
    });
    base.join("stubctl-lab")
}

/// A short name for `inputs`: the same inputs give the same name.
pub(crate) fn key(inputs: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update(input.len().to_le_bytes());
        hash.update(input);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn place(name: &str, inputs: &[&[u8]]) -> PathBuf {
    home().join(format!("{name}-{}", key(inputs)))
}

/// The directory `<name>-<key of inputs>`, if it was made before.
pub(crate) fn find(name: &str, inputs: &[&[u8]]) -> Option<PathBuf> {
    Some(place(name, inputs)).filter(|dir| dir.is_dir())
}

/// The directory `<name>-<key of inputs>`, made by `make` if it is not there; a half-made one is never seen.
pub(crate) fn dir(name: &str, inputs: &[&[u8]], make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let home = home();
    let dir = place(name, inputs);
    if dir.is_dir() {
        return Ok(dir);
    }
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let unfinished = tempfile::Builder::new().prefix(&format!(".{name}-")).tempdir_in(&home)?;
    // A root filesystem lives below: its own modes count, not the temporary directory's.
    set_mode(unfinished.path(), 0o755)?;
    make(unfinished.path())?;
    match fs::rename(unfinished.path(), &dir) {
        Ok(()) => {
            let _ = unfinished.keep();
        }
        Err(_) if dir.is_dir() => {}
        Err(error) => return Err(error).with_context(|| format!("cannot create {}", dir.display())),
    }
    Ok(dir)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}
