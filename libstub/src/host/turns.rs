// SPDX-License-Identifier: GPL-3.0-only
//! Turns at xenstored. Every new domain's home changes a directory that all domains share, so that of the transactions
//! of twenty creates one succeeds and nineteen are done over; one after the other, each is done once.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

/// What is locked: it is there whenever xenstored is, and nobody else locks it.
const DIRECTORY: &str = "/run/xenstored";

/// How long a turn is waited for. Without one all is right as well, and only slower.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// Waits for a turn, which lasts until the file is dropped.
pub(super) fn wait() -> Option<File> {
    let directory = File::open(DIRECTORY).ok()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(_) => return None,
        }
    }
}
