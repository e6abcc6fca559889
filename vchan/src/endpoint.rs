// SPDX-License-Identifier: GPL-3.0-only
//! One end of a vchan: both rings, who is there, and who wants to be woken.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crate::Error;
use crate::layout::{self, Layout, PAGE_BYTES, PAGE_WORDS, Side};
use crate::ring::{End, Ring};

/// Bits in a notify byte: its reader is to ring when it wrote, or when it read.
const ON_WRITE: u32 = 1;
const ON_READ: u32 = 2;

/// The bytes of the state word.
const CLIENT_LIVE: u32 = 0;
const SERVER_LIVE: u32 = 8;
const CLIENT_NOTIFY: u32 = 16;
const SERVER_NOTIFY: u32 = 24;

const OPEN: u32 = 1;
const NOT_YET: u32 = 2;

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Grants the page.
    Server,
    /// Maps it.
    Client,
}

/// The other end, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// No client has come yet.
    Awaited,
    /// It is there.
    Here,
    /// It left.
    Gone,
}

/// What a transfer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Moved {
    /// So many bytes; none means that the peer will ring when there is more to do.
    pub bytes: usize,
    /// The peer asked to be rung for it.
    pub ring: bool,
}

/// One end of a vchan over memory `M`: the shared page, and the pages of larger rings.
#[derive(Debug)]
pub struct Endpoint<M> {
    role: Role,
    page: M,
    read: Ring<M>,
    write: Ring<M>,
}

impl<M: AsRef<[AtomicU32]>> Endpoint<M> {
    /// Makes a page a vchan that waits for its client. Rings with pages of their own come with those and their grants.
    pub fn serve(
        page: M,
        layout: Layout,
        left: Option<(M, &[u32])>,
        right: Option<(M, &[u32])>,
    ) -> Result<Self, Error> {
        let words = whole_page(&page)?;
        for word in words {
            word.store(0, Relaxed);
        }
        for (side, own) in [(Side::Left, &left), (Side::Right, &right)] {
            let grants = own.as_ref().map_or(&[][..], |(_, grants)| grants);
            let places = &words[layout.grants(side)];
            if grants.len() != places.len() {
                let (have, want) = (grants.len() * PAGE_BYTES, places.len() * PAGE_BYTES);
                return Err(Error::Memory { have, want });
            }
            places.iter().zip(grants).for_each(|(place, grant)| place.store(*grant, Relaxed));
        }
        let read = Ring::new(words, layout, Side::Left, End::Reader, left.map(|(memory, _)| memory))?;
        let write = Ring::new(words, layout, Side::Right, End::Writer, right.map(|(memory, _)| memory))?;
        words[layout::ORDERS].store(layout.encode(), Relaxed);
        // Last: from here on it can be used.
        let state = NOT_YET << CLIENT_LIVE | OPEN << SERVER_LIVE | ON_WRITE << CLIENT_NOTIFY;
        words[layout::STATE].store(state, SeqCst);
        Ok(Self { role: Role::Server, page, read, write })
    }

    /// Looks at a server's page. `map` maps the grants of a ring that has pages of its own.
    pub fn attach<E: From<Error>>(
        page: M,
        mut map: impl FnMut(Side, &[u32]) -> Result<M, E>,
    ) -> Result<Self, E> {
        let words = whole_page(&page)?;
        let layout = Layout::decode(words[layout::ORDERS].load(Acquire))?;
        let mut own = |side| -> Result<Option<M>, E> {
            let grants: Vec<u32> = words[layout.grants(side)].iter().map(|word| word.load(Relaxed)).collect();
            if grants.is_empty() { Ok(None) } else { map(side, &grants).map(Some) }
        };
        let (left, right) = (own(Side::Left)?, own(Side::Right)?);
        let write = Ring::new(words, layout, Side::Left, End::Writer, left)?;
        let read = Ring::new(words, layout, Side::Right, End::Reader, right)?;
        Ok(Self { role: Role::Client, page, read, write })
    }

    /// Takes the server's place for a client, if it was not taken before; the server is to be rung then.
    ///
    /// A page whose client left is not taken again: its server makes a new one, so that no client meets another's bytes.
    pub fn connect(&mut self) -> bool {
        if self.state() >> CLIENT_LIVE & 0xff != NOT_YET || self.peer() != Peer::Here {
            return false;
        }
        // One step, 2 to 1, so that the server never sees anything else.
        self.word().fetch_xor((NOT_YET ^ OPEN) << CLIENT_LIVE, AcqRel);
        self.ask(ON_WRITE);
        true
    }

    /// Whether the other end is there.
    pub fn peer(&self) -> Peer {
        match (self.role, self.state() >> self.peer_live() & 0xff) {
            (_, OPEN) => Peer::Here,
            (Role::Server, NOT_YET) => Peer::Awaited,
            _ => Peer::Gone,
        }
    }

    /// Says that this end leaves; the peer is to be rung.
    pub fn close(&self) {
        let live = match self.role {
            Role::Server => SERVER_LIVE,
            Role::Client => CLIENT_LIVE,
        };
        // Zero is "closed".
        self.word().fetch_and(!(0xff << live), AcqRel);
    }

    /// Reads what is there, as much as fits.
    ///
    /// # Errors
    /// When the peer broke the ring; there is no use in going on.
    pub fn read(&mut self, to: &mut [u8]) -> Result<Moved, Error> {
        let mut ready = self.read.ready(self.page.as_ref())?;
        if usize::try_from(ready).is_ok_and(|ready| ready < to.len()) {
            self.ask(ON_WRITE);
            // The peer may have written before it could see the wish.
            ready = self.read.ready(self.page.as_ref())?;
        }
        let bytes = to.len().min(usize::try_from(ready).unwrap_or(usize::MAX));
        if bytes == 0 {
            return Ok(Moved { bytes, ring: false });
        }
        self.read.take(self.page.as_ref(), &mut to[..bytes]);
        Ok(Moved { bytes, ring: self.asked(ON_READ) })
    }

    /// Writes as much of `from` as there is room for.
    ///
    /// # Errors
    /// When the peer broke the ring; there is no use in going on.
    pub fn write(&mut self, from: &[u8]) -> Result<Moved, Error> {
        let mut room = self.write.room(self.page.as_ref())?;
        if usize::try_from(room).is_ok_and(|room| room < from.len()) {
            self.ask(ON_READ);
            // The peer may have read before it could see the wish.
            room = self.write.room(self.page.as_ref())?;
        }
        let bytes = from.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if bytes == 0 {
            return Ok(Moved { bytes, ring: false });
        }
        self.write.give(self.page.as_ref(), &from[..bytes]);
        Ok(Moved { bytes, ring: self.asked(ON_WRITE) })
    }

    /// Asks the peer to ring after it did this.
    fn ask(&self, what: u32) {
        let byte = match self.role {
            Role::Server => CLIENT_NOTIFY,
            Role::Client => SERVER_NOTIFY,
        };
        self.word().fetch_or(what << byte, SeqCst);
    }

    /// Whether the peer asked to be rung after this; it has to ask anew each time.
    fn asked(&self, what: u32) -> bool {
        let byte = match self.role {
            Role::Server => SERVER_NOTIFY,
            Role::Client => CLIENT_NOTIFY,
        };
        self.word().fetch_and(!(what << byte), SeqCst) & what << byte != 0
    }

    fn peer_live(&self) -> u32 {
        match self.role {
            Role::Server => CLIENT_LIVE,
            Role::Client => SERVER_LIVE,
        }
    }

    fn state(&self) -> u32 {
        self.word().load(Acquire)
    }

    /// One word for four bytes that libxenvchan changes one by one: x86 makes a locked access to either exclude the other.
    fn word(&self) -> &AtomicU32 {
        &self.page.as_ref()[layout::STATE]
    }
}

fn whole_page<M: AsRef<[AtomicU32]>>(page: &M) -> Result<&[AtomicU32], Error> {
    let words = page.as_ref();
    if words.len() == PAGE_WORDS {
        Ok(words)
    } else {
        Err(Error::Memory { have: words.len() * 4, want: PAGE_BYTES })
    }
}
