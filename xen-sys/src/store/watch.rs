// SPDX-License-Identifier: GPL-3.0-only
//! Being told of changes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::access::{c_path, text};
use super::{Allocated, Store};
use crate::call;
use crate::error::Result;
use crate::raw::libs;

/// A change at or below a watched path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What changed.
    pub path: String,
    /// The token of the watch.
    pub token: String,
}

impl Store {
    /// Watches a path; the first event comes at once, whether something changed or not.
    pub fn watch(&self, path: &str, token: &str) -> Result<()> {
        let (path, token) = (c_path(path)?, c_token(token)?);
        // SAFETY: the handle is open, and both strings live through the call.
        call::truth("xs_watch", || unsafe { libs::xs_watch(self.as_ptr(), path.as_ptr(), token.as_ptr()) })
    }

    /// Ends a watch, together with those of its events that nobody has taken yet.
    pub fn unwatch(&self, path: &str, token: &str) -> Result<()> {
        let (path, token) = (c_path(path)?, c_token(token)?);
        // SAFETY: the handle is open, and both strings live through the call.
        call::truth("xs_unwatch", || unsafe {
            libs::xs_unwatch(self.as_ptr(), path.as_ptr(), token.as_ptr())
        })
    }

    /// Takes the next event, `None` when there is none now. It fails when the daemon is gone.
    pub fn check_watch(&self) -> Result<Option<WatchEvent>> {
        const PATH: usize = 0;
        const TOKEN: usize = 1;
        // SAFETY: the handle is open.
        let event = match call::pointer("xs_check_watch", || unsafe { libs::xs_check_watch(self.as_ptr()) }) {
            Ok(event) => Allocated(event),
            Err(error) if error.errno() == Some(libc::EAGAIN) => return Ok(None),
            Err(error) => return Err(error),
        };
        // SAFETY: the library has made sure that there are two strings at least.
        let (path, token) =
            unsafe { (text(event.as_ptr().add(PATH).read()), text(event.as_ptr().add(TOKEN).read())) };
        Ok(Some(WatchEvent { path, token }))
    }
}

/// Readable while events wait for [`Store::check_watch`]; it does not become so when the daemon goes away.
impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the pipe stays open as long as the handle, which the borrow keeps.
        unsafe { BorrowedFd::borrow_raw(self.events) }
    }
}

impl AsRawFd for Store {
    fn as_raw_fd(&self) -> RawFd {
        self.events
    }
}

fn c_token(token: &str) -> Result<std::ffi::CString> {
    call::c_string(token, "watch token contains a NUL")
}
