// SPDX-License-Identifier: GPL-3.0-only
//! The shared page of a vchan, at either end: two byte rings between domains that do not trust each other.
//!
//! The layout is that of Xen's `public/io/libxenvchan.h`, so libxenvchan can be the peer. This crate only knows the
//! memory: who owns it maps it and gives it as words, rings the peer's event channel when a method says so, and
//! calls again when its own was rung.
//!
//! The peer may write anything anywhere at any time. So each of its indices is read once a call and compared with
//! our own, of which the page has a copy that is never read back; the worst a peer can do is to get
//! [`Error::Indices`], or to send bytes that make no sense.
#![forbid(unsafe_code)]

mod bytes;
mod endpoint;
mod layout;
mod ring;

pub use endpoint::{Endpoint, Moved, Peer, Role};
pub use layout::{Layout, Order, PAGE_BYTES, Side};

/// Where the byte is, in the shared page, that says whether the client is there; to be cleared when it is unmapped.
pub const CLIENT_LIVE: usize = layout::STATE * 4;
/// The same for the server.
pub const SERVER_LIVE: usize = CLIENT_LIVE + 1;

/// What a peer, or the memory that was given, has wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The memory is not as large as the layout says.
    #[error("{have} bytes of memory where {want} belong")]
    Memory {
        /// What was given.
        have: usize,
        /// What the layout says.
        want: usize,
    },
    /// The orders of the rings are none, or do not fit into one page together.
    #[error("rings of order {left} and {right} do not fit together")]
    Layout {
        /// The order of the left ring.
        left: u16,
        /// The order of the right ring.
        right: u16,
    },
    /// The peer moved an index past what is in the ring.
    #[error("the peer's index is out of the ring")]
    Indices,
}
