// SPDX-License-Identifier: GPL-3.0-only
//! The end of the domain.

use nix::sys::reboot::{RebootMode, reboot};

use crate::{console, sys};

/// How the domain ends, which is all that a toolstack without xenstore learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// QEMU ended by itself.
    PowerOff,
    /// QEMU was killed, or PID 1 could not do its work.
    Crash,
}

impl End {
    /// Ends the domain; returns only if both the kernel and Xen refuse.
    pub fn run(self) {
        if self == Self::Crash {
            // By Xen itself: a panic of the kernel would push the last words off the console.
            console::say(&format!("Xen did not end the domain: {}", sys::crash()));
        }
        off();
    }
}

/// Powers the domain off; returns only if the kernel refuses.
pub fn off() {
    nix::unistd::sync();
    let Err(errno) = reboot(RebootMode::RB_POWER_OFF);
    console::say(&format!("power-off was refused: {errno}"));
}

/// Reboots the domain; returns only if the kernel refuses.
pub fn restart() {
    nix::unistd::sync();
    let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
    console::say(&format!("reboot was refused: {errno}"));
}
