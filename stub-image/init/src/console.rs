// SPDX-License-Identifier: GPL-3.0-only
//! What PID 1 says, and where.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::power;
use crate::report::Reporter;

const DEVICE: &str = "/dev/console";

/// Makes the kernel's console the standard streams, which a kernel without `/dev/console` in its ramdisk did not do.
pub fn open() -> io::Result<()> {
    let console = OpenOptions::new().read(true).write(true).open(DEVICE)?;
    dup2_stdin(&console)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    Ok(())
}

/// Prints a line; a console that cannot be written to is no reason to stop.
pub fn line(prefix: &str, text: &str) {
    // In one write, so that the kernel's and QEMU's lines do not cut it.
    let _ = io::stderr().write_all(format!("{prefix}: {text}\n").as_bytes());
}

/// Prints a line of the stubdomain's PID 1.
pub fn say(text: &str) {
    line("stub-init", text);
}

/// Reports a panic like any other failure, and ends the domain.
pub fn hook_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // The reporter of the main program may be in use further up this stack.
        if Reporter::new().failed_because(&format!("PID 1 panicked: {panic}")) {
            power::off();
        }
    }));
}
