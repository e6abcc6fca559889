// SPDX-License-Identifier: GPL-3.0-only
//! What tests do to the lab's xenstored.

use std::fs;
use std::process::Command;

/// Its process id, as the lab's init has it written down.
///
/// # Panics
/// When it is not written down.
pub fn pid() -> u32 {
    let text = fs::read_to_string("/run/xenstored.pid").expect("xenstored's pid");
    text.trim().parse().expect("a number")
}

/// Sends it a signal, by its name.
///
/// # Panics
/// When it cannot be sent.
pub fn signal(signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &pid().to_string()]).status();
    assert!(sent.expect("kill in PATH").success(), "no SIG{signal} for xenstored");
}

/// It answers nothing as long as this lives.
#[derive(Debug)]
pub struct Stopped(());

impl Stopped {
    /// Stops it.
    pub fn now() -> Self {
        signal("STOP");
        Self(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT");
    }
}
