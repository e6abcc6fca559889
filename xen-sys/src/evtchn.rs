// SPDX-License-Identifier: GPL-3.0-only
//! Event channels of this domain.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;

use crate::call;
use crate::error::Result;
use crate::log;
use crate::raw::libs::{self, xenevtchn_handle};
use crate::types::{DomId, EvtchnPort};

/// A set of bound ports behind one descriptor, which is readable while one of them is pending.
#[derive(Debug)]
pub struct Evtchn {
    raw: NonNull<xenevtchn_handle>,
    fd: RawFd,
}

// SAFETY: after open the handle only holds a descriptor and a logger without state; each call is a system call of its own.
unsafe impl Send for Evtchn {}
// SAFETY: as above.
unsafe impl Sync for Evtchn {}

impl Evtchn {
    /// Opens the interface; its descriptor does not block.
    pub fn open() -> Result<Self> {
        // SAFETY: the logger is a static.
        let raw = call::pointer("xenevtchn_open", || unsafe { libs::xenevtchn_open(log::logger(), 0) })?;
        let mut this = Self { raw, fd: -1 };
        // SAFETY: the handle is open.
        call::status("xenevtchn_fd", || unsafe {
            this.fd = libs::xenevtchn_fd(raw.as_ptr());
            this.fd
        })?;
        // SAFETY: the descriptor is open as long as the handle is; only a flag changes.
        let flags = call::number("fcntl", || unsafe { libc::fcntl(this.fd, libc::F_GETFL) })?;
        // SAFETY: as above.
        call::status("fcntl", || unsafe {
            libc::fcntl(this.fd, libc::F_SETFL, flags.cast_signed() | libc::O_NONBLOCK)
        })?;
        Ok(this)
    }

    /// Binds to a port that another domain has offered to this one.
    pub fn bind_interdomain(&self, domid: DomId, remote: EvtchnPort) -> Result<EvtchnPort> {
        // SAFETY: the handle is open, and the arguments are plain numbers.
        let port = call::number("xenevtchn_bind_interdomain", || unsafe {
            libs::xenevtchn_bind_interdomain(self.raw.as_ptr(), domid.wide(), remote.get())
        })?;
        Ok(EvtchnPort::new(port))
    }

    /// Offers a port to another domain.
    pub fn bind_unbound(&self, domid: DomId) -> Result<EvtchnPort> {
        // SAFETY: the handle is open, and the argument is a plain number.
        let port = call::number("xenevtchn_bind_unbound_port", || unsafe {
            libs::xenevtchn_bind_unbound_port(self.raw.as_ptr(), domid.wide())
        })?;
        Ok(EvtchnPort::new(port))
    }

    /// Makes a bound port pending at its other end.
    pub fn notify(&self, port: EvtchnPort) -> Result<()> {
        // SAFETY: the handle is open, and the argument is a plain number.
        call::status("xenevtchn_notify", || unsafe { libs::xenevtchn_notify(self.raw.as_ptr(), port.get()) })
    }

    /// Takes the next pending port, which stays masked until [`Self::unmask`].
    pub fn pending(&self) -> Result<Option<EvtchnPort>> {
        // SAFETY: the handle is open.
        match call::number("xenevtchn_pending", || unsafe { libs::xenevtchn_pending(self.raw.as_ptr()) }) {
            Ok(port) => Ok(Some(EvtchnPort::new(port))),
            Err(error) if error.errno() == Some(libc::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets a port become pending again.
    pub fn unmask(&self, port: EvtchnPort) -> Result<()> {
        // SAFETY: the handle is open, and the argument is a plain number.
        call::status("xenevtchn_unmask", || unsafe { libs::xenevtchn_unmask(self.raw.as_ptr(), port.get()) })
    }

    /// Closes a bound port.
    pub fn unbind(&self, port: EvtchnPort) -> Result<()> {
        // SAFETY: the handle is open, and the argument is a plain number.
        call::status("xenevtchn_unbind", || unsafe { libs::xenevtchn_unbind(self.raw.as_ptr(), port.get()) })
    }
}

impl AsFd for Evtchn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open as long as the handle, which the borrow keeps.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl AsRawFd for Evtchn {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Evtchn {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; ports still bound are closed with it.
        if unsafe { libs::xenevtchn_close(self.raw.as_ptr()) } < 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "event channel handle did not close");
        }
    }
}
