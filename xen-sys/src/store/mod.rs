// SPDX-License-Identifier: GPL-3.0-only
//! The owner of a libxenstore handle, and what can be done with it outside of a transaction only.
//!
//! libxenstore has no timeouts: each call waits for the daemon's answer, and other threads' calls wait behind it.

mod access;
mod perms;
mod transaction;
mod watch;

use std::os::fd::RawFd;
use std::ptr::NonNull;

use crate::call;
use crate::error::Result;
use crate::raw::libs::{self, xs_handle};
use crate::types::{DomId, EvtchnPort, Gfn};

pub use access::Access;
pub use perms::{Permission, PermissionAccess};
pub use transaction::{Commit, Transaction};
pub use watch::WatchEvent;

/// A connection to the xenstore daemon. Do not fork with it open.
#[derive(Debug)]
pub struct Store {
    raw: NonNull<xs_handle>,
    /// The pipe that is readable while watch events wait.
    events: RawFd,
}

// SAFETY: libxenstore guards each handle with locks of its own, and runs a thread on it itself.
unsafe impl Send for Store {}
// SAFETY: as above; closing needs the only owner.
unsafe impl Sync for Store {}

impl Store {
    /// Connects to the daemon.
    pub fn open() -> Result<Self> {
        // After unwatch no event of that watch may arrive any more.
        let flags = libs::XS_UNWATCH_FILTER.into();
        // SAFETY: only a flag is passed.
        let raw = call::pointer("xs_open", || unsafe { libs::xs_open(flags) })?;
        let mut this = Self { raw, events: -1 };
        // SAFETY: the handle is open; the pipe stays until it is closed.
        call::status("xs_fileno", || unsafe {
            this.events = libs::xs_fileno(raw.as_ptr());
            this.events
        })?;
        Ok(this)
    }

    /// Tells the daemon of a new domain and its ring.
    pub fn introduce(&self, domid: DomId, ring: Gfn, port: EvtchnPort) -> Result<()> {
        // SAFETY: the handle is open, and the arguments are plain numbers.
        call::truth("xs_introduce_domain", || unsafe {
            libs::xs_introduce_domain(self.as_ptr(), domid.wide(), ring.get(), port.get())
        })
    }

    /// Gives `stubdom` the rights of `guest`; both have to be introduced.
    pub fn set_target(&self, stubdom: DomId, guest: DomId) -> Result<()> {
        // SAFETY: the handle is open, and the arguments are plain numbers.
        call::truth("xs_set_target", || unsafe {
            libs::xs_set_target(self.as_ptr(), stubdom.wide(), guest.wide())
        })
    }

    /// Makes the daemon forget a domain.
    pub fn release(&self, domid: DomId) -> Result<()> {
        // SAFETY: the handle is open, and the argument is a plain number.
        call::truth("xs_release_domain", || unsafe { libs::xs_release_domain(self.as_ptr(), domid.wide()) })
    }

    /// Whether the daemon knows a domain.
    pub fn is_introduced(&self, domid: DomId) -> Result<bool> {
        // SAFETY: the handle is open, and the argument is a plain number.
        call::answer("xs_is_domain_introduced", || unsafe {
            libs::xs_is_domain_introduced(self.as_ptr(), domid.wide())
        })
    }

    fn as_ptr(&self) -> *mut xs_handle {
        self.raw.as_ptr()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; the library ends its thread first.
        unsafe { libs::xs_close(self.as_ptr()) };
    }
}

/// Something that the library has allocated in one piece and left to its caller to free.
struct Allocated<T>(NonNull<T>);

impl<T> Allocated<T> {
    fn as_ptr(&self) -> *const T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Allocated<T> {
    fn drop(&mut self) {
        // SAFETY: from malloc, by the library's contract, and owned by this only.
        unsafe { libc::free(self.0.as_ptr().cast()) };
    }
}
