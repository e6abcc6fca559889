// SPDX-License-Identifier: GPL-3.0-only
//! Waiting for a xenstored that is started late: woken by inotify, ended by a deadline.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// Between its bind and its listen a daemon's socket refuses connections, and listening wakes nobody: as long as
/// a socket is there and refuses, it is tried this often.
const REFUSED: Duration = Duration::from_millis(50);

/// Where libxenstore finds xenstored's socket.
pub(crate) fn socket() -> PathBuf {
    socket_from(|name| env::var_os(name))
}

fn socket_from(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    variable("XENSTORED_PATH").map(PathBuf::from).unwrap_or_else(|| {
        let directory = variable("XENSTORED_RUNDIR").unwrap_or_else(|| "/var/run/xenstored".into());
        Path::new(&directory).join("socket")
    })
}

/// Waits until somebody listens on `socket`, whose directory need not exist yet.
pub(crate) fn wait(socket: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        // Watched before it is looked at: what appears in between is an event.
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let directory = nearest_directory(socket);
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        match inotify::add_watch(&inotify, directory, events | WatchFlags::ONLYDIR) {
            // It went away meanwhile: then another is the nearest.
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            result => result?,
        };
        let refused = match UnixStream::connect(socket) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if nearest_directory(socket) != directory {
            continue;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(refused);
        }
        let there = refused.kind() == io::ErrorKind::ConnectionRefused;
        let timeout = Timespec::try_from(if there { left.min(REFUSED) } else { left });
        let mut descriptors = [PollFd::new(&inotify, PollFlags::IN)];
        match poll(&mut descriptors, timeout.ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The lowest directory on the way to `path` that exists.
fn nearest_directory(path: &Path) -> &Path {
    path.ancestors().skip(1).find(|directory| directory.is_dir()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_socket_is_where_libxenstore_looks() {
        let set = |pairs: &'static [(&str, &str)]| {
            socket_from(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        assert_eq!(set(&[]), Path::new("/var/run/xenstored/socket"));
        assert_eq!(set(&[("XENSTORED_RUNDIR", "/a")]), Path::new("/a/socket"));
        assert_eq!(set(&[("XENSTORED_RUNDIR", "/a"), ("XENSTORED_PATH", "/b")]), Path::new("/b"));
    }

    #[test]
    fn a_socket_that_is_there_ends_the_wait_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("bound");
        wait(&socket, Instant::now()).expect("it is there");
    }

    #[test]
    fn a_directory_and_a_socket_that_appear_later_are_seen_when_they_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("run/xenstored/socket");
        let late = socket.clone();
        let began = Instant::now();
        let daemon = thread::spawn(move || {
            let parent = late.parent().expect("a parent");
            // Slowly, so that the wait goes through each state; how long does not matter to the claim.
            thread::sleep(Duration::from_millis(30));
            fs::create_dir(parent.parent().expect("a parent")).expect("made");
            thread::sleep(Duration::from_millis(30));
            fs::create_dir(parent).expect("made");
            thread::sleep(Duration::from_millis(30));
            UnixListener::bind(&late).expect("bound")
        });
        wait(&socket, began + LONG).expect("it appeared");
        assert!(began.elapsed() >= Duration::from_millis(80), "it was not there yet");
        assert!(began.elapsed() < LONG / 2, "it was seen at the deadline only");
        daemon.join().expect("no panic");
    }

    #[test]
    fn a_dead_daemons_socket_is_waited_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        drop(UnixListener::bind(&socket).expect("bound"));
        let error = wait(&socket, Instant::now() + Duration::from_millis(120)).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let late = socket.clone();
        let daemon = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            fs::remove_file(&late).expect("removed");
            UnixListener::bind(&late).expect("bound")
        });
        wait(&socket, Instant::now() + LONG).expect("the new one listens");
        daemon.join().expect("no panic");
    }

    #[test]
    fn the_deadline_ends_a_wait_for_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("never/socket");
        let began = Instant::now();
        let error = wait(&socket, began + Duration::from_millis(50)).expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
