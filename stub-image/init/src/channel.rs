// SPDX-License-Identifier: GPL-3.0-only
//! A vchan that this domain offers: one granted page and one event channel, for one client in their life.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use vchan::{Endpoint, Layout, Moved, Order, Peer};

use crate::sys::{Events, GrantedPage};

/// The server's end.
#[derive(Debug)]
pub struct Channel {
    endpoint: Endpoint<GrantedPage>,
    events: Events,
    offer: Offer,
}

/// What a client must know, as it stands in xenstore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// `ring-ref`
    pub ring_ref: u32,
    /// `event-channel`
    pub event_channel: u32,
}

impl Channel {
    /// A channel that waits for a client in `domid`: 1 KiB to here, 2 KiB from here.
    pub fn offer(domid: u16) -> io::Result<Self> {
        let page = GrantedPage::new(domid)?;
        let events = Events::open()?;
        let offer = Offer { ring_ref: page.grant(), event_channel: events.offer(domid)? };
        let layout = Layout::new(Order::SMALL, Order::LARGE).map_err(io::Error::other)?;
        let endpoint = Endpoint::serve(page, layout, None, None).map_err(io::Error::other)?;
        Ok(Self { endpoint, events, offer })
    }

    /// What a client must know.
    pub fn numbers(&self) -> Offer {
        self.offer
    }

    /// Whether the client is there.
    pub fn peer(&self) -> Peer {
        self.endpoint.peer()
    }

    /// Takes the event that made the descriptor readable. First of all: what comes later makes another.
    pub fn acknowledge(&self) -> io::Result<()> {
        self.events.acknowledge()
    }

    /// Reads what is there; nothing means that there will be an event.
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let moved = self.endpoint.read(to).map_err(io::Error::other)?;
        self.moved(moved)
    }

    /// Writes what there is room for; nothing means that there will be an event.
    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let moved = self.endpoint.write(from).map_err(io::Error::other)?;
        self.moved(moved)
    }

    fn moved(&self, moved: Moved) -> io::Result<usize> {
        if moved.ring {
            self.events.ring(self.offer.event_channel)?;
        }
        Ok(moved.bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.endpoint.close();
        // A client that is gone cannot be rung.
        let _ = self.events.ring(self.offer.event_channel);
    }
}
