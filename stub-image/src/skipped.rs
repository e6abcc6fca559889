// SPDX-License-Identifier: GPL-3.0-only
//! Tests that need what a machine may not have: they say so where it is seen.

use std::fs;
use std::io::{Write as _, stderr};
use std::path::PathBuf;

/// Says why the calling test did nothing, past the test runner, which shows the words of failures only.
pub(crate) fn ignored(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(stderr(), "ignored: {test}: {why}");
}

/// The root of the lab's dom0: the one that `cargo xtask test` names, else one that the lab has built on this machine.
pub(crate) fn labs_root() -> Option<PathBuf> {
    if let Some(root) = std::env::var_os("STUBCTL_LAB_ROOT") {
        return Some(root.into());
    }
    let cache = std::env::home_dir().unwrap_or_default().join(".cache/stubctl-lab");
    let roots = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path().join("root"));
    roots.filter(|root| root.is_dir()).find(|root| root.to_string_lossy().contains("dom0-"))
}
