// SPDX-License-Identifier: GPL-3.0-only
//! The end of the domain.

use nix::sys::reboot::{RebootMode, reboot};

use crate::console;

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
