// SPDX-License-Identifier: GPL-3.0-only
//! What the tests of the dom0 ring share: guests to start, `stubctl` to start them with, the leak probe.
#![forbid(unsafe_code)]

pub mod guest;
pub mod host;
pub mod keeper;
pub mod kernel;
pub mod probe;
pub mod program;
pub mod report;
pub mod shell;
pub mod stamps;
pub mod stepper;
pub mod stubctl;
pub mod tools;
pub mod xenstored;

use std::time::{Duration, Instant};

/// How long anything in the lab may take before a test calls it hung: emulation is slow and noisy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `done` gives something, and gives up loudly after [`PATIENCE`].
///
/// # Panics
/// When `what` does not happen.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
