// SPDX-License-Identifier: GPL-3.0-only
//! The client's end of a vchan that another domain offers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use vchan::{CLIENT_LIVE, Endpoint, Moved, Peer};
use xen_sys::{DomId, Evtchn, EvtchnPort, Gnttab, GrantRef, Notice, SharedPages};

/// A connection; dropped, or with the death of this process, its server is told.
#[derive(Debug)]
pub struct Vchan {
    endpoint: Endpoint<SharedPages>,
    events: Evtchn,
    port: EvtchnPort,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VchanError {
    /// Somebody else has it, or had it: its server will offer another.
    #[error("the channel has, or had, another client")]
    Taken,
    /// Xen or the kernel refused.
    #[error(transparent)]
    Xen(#[from] xen_sys::Error),
    /// The page is none of a vchan.
    #[error(transparent)]
    Page(#[from] vchan::Error),
}

impl Vchan {
    /// Takes what `domid` offers; both numbers are the other domain's words.
    ///
    /// # Errors
    /// When another client has it, it is no vchan, or Xen refuses.
    pub fn open(domid: DomId, ring: GrantRef, remote: EvtchnPort) -> Result<Self, VchanError> {
        const EINVAL: i32 = 22;
        let events = Evtchn::open()?;
        // First of all: of two clients only one gets the port.
        let port = match events.bind_interdomain(domid, remote) {
            Err(error) if error.errno() == Some(EINVAL) => return Err(VchanError::Taken),
            port => port?,
        };
        let page =
            SharedPages::map_one(Gnttab::open()?, domid, ring, Notice { clear: CLIENT_LIVE, ring: port })?;
        let map = |_, grants: &[u32]| {
            let grants: Vec<GrantRef> = grants.iter().copied().map(GrantRef::new).collect();
            Ok::<_, VchanError>(SharedPages::map(Gnttab::open()?, domid, &grants)?)
        };
        let mut endpoint = Endpoint::attach(page, map)?;
        if !endpoint.connect() {
            return Err(VchanError::Taken);
        }
        events.notify(port)?;
        Ok(Self { endpoint, events, port })
    }

    /// Takes the event that made the descriptor readable. First of all: what comes later makes another.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn acknowledge(&self) -> io::Result<()> {
        while let Some(port) = self.events.pending().map_err(io::Error::other)? {
            self.events.unmask(port).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Reads what is there; nothing means that there will be an event.
    ///
    /// # Errors
    /// When the server is gone and all it wrote was read, or broke the ring.
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        // Before the ring: what a server wrote before it left is read to the end.
        let gone = self.endpoint.peer() == Peer::Gone;
        let moved = self.endpoint.read(to).map_err(io::Error::other)?;
        match self.moved(moved)? {
            0 if gone && !to.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }

    /// Writes what there is room for; nothing means that there will be an event.
    ///
    /// # Errors
    /// When the server is gone, or broke the ring.
    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.endpoint.peer() == Peer::Gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let moved = self.endpoint.write(from).map_err(io::Error::other)?;
        self.moved(moved)
    }

    fn moved(&self, moved: Moved) -> io::Result<usize> {
        if moved.ring {
            self.events.notify(self.port).map_err(io::Error::other)?;
        }
        Ok(moved.bytes)
    }
}

impl AsFd for Vchan {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl Drop for Vchan {
    fn drop(&mut self) {
        self.endpoint.close();
        // A server that is gone cannot be rung; when the page is unmapped the kernel rings once more.
        let _ = self.events.notify(self.port);
    }
}
