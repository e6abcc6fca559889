// SPDX-License-Identifier: GPL-3.0-only
//! One ring, seen from one end: free-running indices, of which one is ours.

use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::layout::{Layout, PAGE_BYTES, PAGE_WORDS, Side};
use crate::{Error, bytes, layout};

/// Where a ring's bytes are, and how far this end is with them.
#[derive(Debug)]
pub(crate) struct Ring<M> {
    memory: Option<M>,
    in_page: Range<usize>,
    len: u32,
    consumer: usize,
    producer: usize,
    /// Our own index; the page has a copy for the peer.
    index: u32,
}

/// Which of the two indices is ours.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Reader,
    Writer,
}

impl<M: AsRef<[AtomicU32]>> Ring<M> {
    /// A ring of the page; `memory` are its own pages, if the layout gives it some.
    pub(crate) fn new(
        page: &[AtomicU32],
        layout: Layout,
        side: Side,
        end: End,
        memory: Option<M>,
    ) -> Result<Self, Error> {
        let want = layout.order(side).pages() * PAGE_BYTES;
        let have = memory.as_ref().map_or(0, |memory| memory.as_ref().len() * 4);
        if have != want {
            return Err(Error::Memory { have, want });
        }
        let consumer = match side {
            Side::Left => layout::LEFT,
            Side::Right => layout::RIGHT,
        };
        let producer = consumer + 1;
        // A page may have been in use before; wherever that ended is as good a place to start as any.
        let index = page[match end {
            End::Reader => consumer,
            End::Writer => producer,
        }]
        .load(Acquire);
        let len = u32::try_from(layout.order(side).bytes()).map_err(|_| Error::Indices)?;
        let in_page = layout.in_page(side).unwrap_or(0..PAGE_WORDS);
        Ok(Self { memory, in_page, len, consumer, producer, index })
    }

    /// How many bytes wait for us as the reader.
    pub(crate) fn ready(&self, page: &[AtomicU32]) -> Result<u32, Error> {
        self.checked(page[self.producer].load(Acquire).wrapping_sub(self.index))
    }

    /// How many bytes there is room for, for us as the writer.
    pub(crate) fn room(&self, page: &[AtomicU32]) -> Result<u32, Error> {
        let used = self.checked(self.index.wrapping_sub(page[self.consumer].load(Acquire)))?;
        Ok(self.len - used)
    }

    fn checked(&self, used: u32) -> Result<u32, Error> {
        if used > self.len { Err(Error::Indices) } else { Ok(used) }
    }

    /// Takes as many bytes as `to` is long; no more than are ready.
    pub(crate) fn take(&mut self, page: &[AtomicU32], to: &mut [u8]) {
        let (at, before_end) = self.place(to.len());
        let (first, second) = to.split_at_mut(before_end);
        bytes::load(self.words(page), at, first);
        bytes::load(self.words(page), 0, second);
        page[self.consumer].store(self.advance(to.len()), Release);
    }

    /// Gives all of `from`; no more than there is room for.
    pub(crate) fn give(&mut self, page: &[AtomicU32], from: &[u8]) {
        let (at, before_end) = self.place(from.len());
        let (first, second) = from.split_at(before_end);
        bytes::store(self.words(page), at, first);
        bytes::store(self.words(page), 0, second);
        page[self.producer].store(self.advance(from.len()), Release);
    }

    /// Where we are in the ring, and how many of `len` bytes come before its end.
    fn place(&self, len: usize) -> (usize, usize) {
        let at = self.index % self.len;
        let before_end = usize::try_from(self.len - at).unwrap_or(len);
        (usize::try_from(at).unwrap_or(0), len.min(before_end))
    }

    fn advance(&mut self, len: usize) -> u32 {
        self.index = self.index.wrapping_add(u32::try_from(len).unwrap_or(0));
        self.index
    }

    fn words<'a>(&'a self, page: &'a [AtomicU32]) -> &'a [AtomicU32] {
        match &self.memory {
            Some(memory) => memory.as_ref(),
            None => &page[self.in_page.clone()],
        }
    }
}
