// SPDX-License-Identifier: GPL-3.0-only
//! Waiting for the nodes of devices, which appear when their backend is ready and not when the driver is loaded.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::InitError;

/// How long a device may take: a busy dom0 needs a few seconds, and the report must come before the toolstack gives up
/// on the stubdomain, after 30 seconds for libxl.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Returns once `path` exists.
///
/// # Errors
/// When it does not within `deadline`, or its directory cannot be watched.
pub fn wait(path: &Path, deadline: Duration) -> Result<(), InitError> {
    let end = Instant::now() + deadline;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let watch = || -> nix::Result<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(directory, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        Ok(inotify)
    };
    let failed = |source: Errno| InitError::File {
        operation: "watching",
        path: directory.to_owned(),
        source: source.into(),
    };
    let inotify = watch().map_err(failed)?;
    // Looked for only now: what appeared before the watch existed makes no event.
    while !path.exists() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(InitError::NoDevice { path: path.to_owned(), deadline });
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => return Err(failed(source)),
        }
        match inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_appears_later_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let node = directory.path().join("xvdz");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::fs::write(directory.path().join("other"), "").unwrap();
                std::fs::write(&node, "").unwrap();
            });
            wait(&node, DEADLINE).unwrap();
        });
        wait(&node, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_node_that_stays_away_is_named_with_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let error = wait(&directory.path().join("xvdz"), Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("xvdz did not appear within 20ms"), "{error}");
    }
}
