// SPDX-License-Identifier: GPL-3.0-only
//! The connection to xenstored, with time limits that libxenstore does not have.
//!
//! libxenstore waits for a reply for ever and holds a lock meanwhile, so requests are made by a thread of its
//! own. When a reply is late or the connection broke, no further request is made: it would wait behind what is
//! stuck. Then the connection is hung up, which ends the thread: a daemon that tries again and again while xenstored
//! hangs must not gather threads.

use std::cell::{Cell, OnceCell};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use xen_sys::{Access as _, Store};

use super::{FailureKind, HostError, late_store};

/// How long one request may take: xenstored answers in less than a millisecond, but may be updated live.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a place in the queue of a daemon is tried for: the kernel does not tell when there is one.
const QUEUE_LOOK: Duration = Duration::from_millis(20);

/// The errno with which libxenstore tells that its connection ended under a request, and also of bad requests.
const EINVAL: i32 = 22;

/// errno of a connection that is no more.
const BROKEN: [i32; 6] = [
    9,   // EBADF: libxenstore has closed its descriptor
    5,   // EIO
    32,  // EPIPE
    104, // ECONNRESET
    107, // ENOTCONN
    111, // ECONNREFUSED
];

type Request = Box<dyn FnOnce(&Store) + Send>;

/// xenstored does not answer, or no more.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("xenstored did not answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("the connection to xenstored was lost before")]
    Before,
    #[error("the thread that talks to xenstored is gone")]
    Thread,
}

/// A connection that is made at the first request.
#[derive(Debug, Default)]
pub(super) struct StoreThread {
    open: OnceCell<Open>,
    lost: Cell<bool>,
}

#[derive(Debug)]
struct Open {
    requests: Sender<Request>,
    store: Arc<Store>,
}

impl StoreThread {
    /// Makes a request; `call` says what and on what.
    pub(super) fn request<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> String,
        request: impl FnOnce(&Store) -> xen_sys::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        self.request_within(REPLY_TIMEOUT, call, request)
    }

    /// The same with a time limit of the caller's.
    pub(super) fn request_within<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce() -> String,
        request: impl FnOnce(&Store) -> xen_sys::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        match self.try_request(limit, request) {
            Ok(value) => Ok(value),
            Err((kind, source)) => {
                self.lost.set(kind == FailureKind::StoreLost);
                Err(HostError { call: call(), kind, source })
            }
        }
    }

    fn try_request<T: Send + 'static>(
        &self,
        limit: Duration,
        request: impl FnOnce(&Store) -> xen_sys::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        if self.lost.get() {
            return Err(Lost::Before.into());
        }
        let (reply, answer) = channel();
        let made = move |store: &Store| {
            let result = request(store);
            let broken = result.as_ref().is_err_and(|error| is_broken(store, error));
            // The receiver is gone only if its side gave up on this request.
            drop(reply.send((result, broken)));
        };
        self.open(limit)?.requests.send(Box::new(made)).map_err(|_| Lost::Thread)?;
        match answer.recv_timeout(limit) {
            Ok((Ok(value), _)) => Ok(value),
            Ok((Err(error), true)) => Err((FailureKind::StoreLost, error.into())),
            Ok((Err(error), false)) => Err((FailureKind::Other, error.into())),
            Err(RecvTimeoutError::Timeout) => {
                self.hang_up();
                Err(Lost::Late(limit).into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(Lost::Thread.into()),
        }
    }

    /// Lets whoever waits for a reply see the connection's end.
    fn hang_up(&self) {
        if let Some(open) = self.open.get() {
            // The kernel's way to xenstored is no socket, and its reader waits as long as it must.
            let _ = rustix::net::shutdown(open.store.as_fd(), Shutdown::Both);
        }
    }

    fn open(&self, limit: Duration) -> Result<&Open, Failure> {
        if let Some(open) = self.open.get() {
            return Ok(open);
        }
        let (requests, queue) = channel::<Request>();
        let (opened, answer) = channel();
        // A stopped daemon accepts nobody: to connect may take for ever as well.
        let deadline = Instant::now() + limit;
        let serve = move || match connect(deadline) {
            Ok(store) => {
                if opened.send(Ok(Arc::clone(&store))).is_ok() {
                    queue.into_iter().for_each(|request| request(&store));
                }
            }
            Err(failure) => drop(opened.send(Err(failure))),
        };
        std::thread::Builder::new()
            .name("stub-store".to_owned())
            .spawn(serve)
            .map_err(|error| (FailureKind::StoreLost, error.into()))?;
        let store = answer.recv_timeout(limit).map_err(|late| match late {
            RecvTimeoutError::Timeout => Lost::Late(limit),
            RecvTimeoutError::Disconnected => Lost::Thread,
        })??;
        Ok(self.open.get_or_init(|| Open { requests, store }))
    }

    /// Readable while watch events are queued.
    pub(super) fn watch_fd(&self) -> Option<RawFd> {
        self.open.get().map(|open| open.store.as_fd().as_raw_fd())
    }
}

fn connect(deadline: Instant) -> Result<Arc<Store>, Failure> {
    // libxenstore would wait for a place in the queue of a daemon that hangs, or go on to the kernel's way to a dead one,
    // and wait there for ever.
    match reach(&late_store::socket(), deadline) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut) => {
            Err((FailureKind::StoreLost, error.into()))
        }
        // Without a socket xenstored may be another domain.
        _ => Store::open().map(Arc::new).map_err(|error| (FailureKind::StoreLost, error.into())),
    }
}

/// Finds out whether somebody listens on a socket, and waits for a place in his queue.
fn reach(socket: &Path, deadline: Instant) -> io::Result<()> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match rustix::net::connect(&probe, &address) {
            Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(QUEUE_LOOK),
            Err(Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
            result => return Ok(result?),
        }
    }
}

type Failure = (FailureKind, Box<dyn std::error::Error + Send + Sync>);

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        (FailureKind::StoreLost, lost.into())
    }
}

/// Whether the connection is what failed; where errno does not tell, another request does.
fn is_broken(store: &Store, error: &xen_sys::Error) -> bool {
    let broken = |error: &xen_sys::Error| error.errno().is_some_and(|errno| BROKEN.contains(&errno));
    broken(error) || (error.errno() == Some(EINVAL) && store.read("/").is_err())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    #[test]
    fn a_dead_daemons_socket_is_told_from_none_and_from_a_live_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let kind = || reach(&socket, soon()).map_err(|error| error.kind());
        assert_eq!(kind(), Err(ErrorKind::NotFound));
        let listener = UnixListener::bind(&socket).expect("bound");
        assert_eq!(kind(), Ok(()));
        drop(listener);
        assert_eq!(kind(), Err(ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_daemon_that_accepts_nobody_is_waited_for_and_given_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("bound");
        // One place in its queue.
        rustix::net::listen(&listener, 0).expect("listening");
        reach(&socket, soon()).expect("the place");
        let error = reach(&socket, soon()).expect_err("no place");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let accepting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            listener.accept().map(|_| listener)
        });
        reach(&socket, Instant::now() + Duration::from_secs(60)).expect("a place again");
        accepting.join().expect("no panic").expect("accepted");
    }
}
