// SPDX-License-Identifier: GPL-3.0-only
//! What PID 1 says, and where.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::power::End;
use crate::report::Reporter;

const DEVICE: &str = "/dev/console";
/// How long a full console is waited for: xenconsoled rations the domains it serves.
const PATIENCE: Duration = Duration::from_secs(2);

/// The console was full for too long; until it takes something again, nobody waits for it.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Makes the kernel's console the standard streams, which a kernel without `/dev/console` in its ramdisk did not do.
pub fn open() -> io::Result<()> {
    // A console that nobody reads would block its writer for good.
    let flags = OFlag::O_NONBLOCK.bits();
    let console = OpenOptions::new().read(true).write(true).custom_flags(flags).open(DEVICE)?;
    dup2_stdin(&console)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    Ok(())
}

/// Prints a line; a console that cannot be written to is no reason to stop.
pub fn line(prefix: &str, text: &str) {
    // In one write where it fits, so that the kernel's lines do not cut it.
    let text = format!("{prefix}: {text}\n");
    let patience = if STUCK.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
    let written = write(text.as_bytes(), Instant::now() + patience);
    STUCK.store(!written, Ordering::Relaxed);
}

fn write(mut text: &[u8], end: Instant) -> bool {
    let mut stderr = io::stderr();
    while !text.is_empty() {
        match stderr.write(text) {
            Ok(0) => return false,
            Ok(count) => text = &text[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                let _ = poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], timeout);
            }
            Err(_) => return false,
        }
    }
    true
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
            End::Crash.run();
        }
    }));
}
