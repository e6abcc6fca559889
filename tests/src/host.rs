// SPDX-License-Identifier: GPL-3.0-only
//! What a test takes from its host for a while.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the host that is away until this is dropped.
#[derive(Debug)]
pub struct Away(&'static str, PathBuf);

impl Away {
    /// Hides it.
    ///
    /// # Panics
    /// When it cannot be renamed.
    pub fn hide(path: &'static str) -> Self {
        let to = PathBuf::from(format!("{path}.away"));
        fs::rename(path, &to).expect("renamed");
        Self(path, to)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let _ = fs::rename(&self.1, self.0);
    }
}

/// A full filesystem over a directory, until this is dropped.
#[derive(Debug)]
pub struct Full(&'static str);

impl Full {
    /// Mounts it.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn over(directory: &'static str) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=4k,mode=700", "full", directory];
        assert!(Command::new("mount").args(mount).status().expect("mount").success());
        let full = Self(directory);
        fs::write(Path::new(directory).join("ballast"), [0; 4096]).expect("ballast");
        full
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}
