// SPDX-License-Identifier: GPL-3.0-only
//! The connection to xenstored, with time limits that libxenstore does not have.
//!
//! libxenstore waits for a reply for ever and holds a lock meanwhile, so requests are made by a thread of its
//! own. When a reply is late or the connection broke, the handle is closed for good: what comes after would
//! wait behind what is stuck.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use xen_sys::Store;

use super::{FailureKind, HostError};

/// How long one request may take: xenstored answers in less than a millisecond, but may be updated live.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

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
    #[error("xenstored did not answer within {} s", REPLY_TIMEOUT.as_secs())]
    Late,
    #[error("the connection to xenstored was lost before")]
    Before,
}

#[derive(Debug)]
pub(super) struct StoreThread {
    requests: Sender<Request>,
    store: Arc<Store>,
    lost: Cell<bool>,
}

impl StoreThread {
    pub(super) fn open() -> Result<Self, HostError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| HostError {
            call: "connect to xenstored".to_owned(),
            kind: FailureKind::StoreLost,
            source,
        };
        let store = Arc::new(Store::open().map_err(|error| failed(error.into()))?);
        let (requests, queue) = channel::<Request>();
        let served = Arc::clone(&store);
        std::thread::Builder::new()
            .name("stub-store".to_owned())
            .spawn(move || queue.into_iter().for_each(|request| request(&served)))
            .map_err(|error| failed(error.into()))?;
        Ok(Self { requests, store, lost: Cell::new(false) })
    }

    /// Makes a request; `call` says what and on what.
    pub(super) fn request<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> String,
        request: impl FnOnce(&Store) -> xen_sys::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        let lost = |lost: Lost, call: String| {
            Err(HostError { call, kind: FailureKind::StoreLost, source: lost.into() })
        };
        if self.lost.get() {
            return lost(Lost::Before, call());
        }
        let (reply, answer) = channel();
        // The receiver is gone only if this call gave up on it.
        let sent = self.requests.send(Box::new(move |store| drop(reply.send(request(store)))));
        let answer = sent.map_err(|_| RecvTimeoutError::Disconnected).and_then(|()| answer.recv_timeout(REPLY_TIMEOUT));
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let broken = error.errno().is_some_and(|errno| BROKEN.contains(&errno));
                self.lost.set(broken);
                let kind = if broken { FailureKind::StoreLost } else { FailureKind::Other };
                Err(HostError { call: call(), kind, source: error.into() })
            }
            Err(_) => {
                self.lost.set(true);
                lost(Lost::Late, call())
            }
        }
    }

    /// Readable while watch events are queued.
    pub(super) fn watch_fd(&self) -> RawFd {
        self.store.as_fd().as_raw_fd()
    }
}
