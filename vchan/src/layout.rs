// SPDX-License-Identifier: GPL-3.0-only
//! Where everything is in the shared page, in words of four bytes.

use std::ops::Range;

use crate::Error;

/// A page.
pub const PAGE_BYTES: usize = 4096;
pub(crate) const PAGE_WORDS: usize = PAGE_BYTES / 4;

/// Index pairs: consumer, producer.
pub(crate) const LEFT: usize = 0;
pub(crate) const RIGHT: usize = 2;
/// Both orders.
pub(crate) const ORDERS: usize = 4;
/// Who is there, and who wants to be notified of what; one byte each.
pub(crate) const STATE: usize = 5;
/// The grants of rings that have pages of their own.
const GRANTS: usize = 6;

/// One of the two rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From client to server.
    Left,
    /// From server to client.
    Right,
}

/// The size of a ring as a power of two: 10 and 11 lie in the shared page, 12 to 20 have pages of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order(u16);

impl Order {
    /// The smaller ring that the shared page has room for.
    pub const SMALL: Self = Self(10);
    /// The larger one.
    pub const LARGE: Self = Self(11);

    /// An order; nothing for what is none.
    pub fn new(order: u16) -> Option<Self> {
        (10..=20).contains(&order).then_some(Self(order))
    }

    /// The ring's size.
    pub fn bytes(self) -> usize {
        1 << self.0
    }

    /// How many pages of its own the ring has.
    pub fn pages(self) -> usize {
        self.bytes() / PAGE_BYTES
    }
}

/// The orders of both rings, which fit into one shared page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    left: Order,
    right: Order,
}

impl Layout {
    /// Two rings; only one can have a given place in the shared page, and the grants of the other end before it.
    pub fn new(left: Order, right: Order) -> Result<Self, Error> {
        let layout = Self { left, right };
        let grants = GRANTS + left.pages() + right.pages();
        let in_page = [left, right].into_iter().filter(|order| order.pages() == 0);
        let first = in_page.map(|order| order.bytes() / 4).min().unwrap_or(PAGE_WORDS);
        if (left == right && left.pages() == 0) || grants > first {
            return Err(Error::Layout { left: left.0, right: right.0 });
        }
        Ok(layout)
    }

    /// What a page claims to be.
    pub(crate) fn decode(word: u32) -> Result<Self, Error> {
        let [left, right] = halves(word);
        let orders = Order::new(left).zip(Order::new(right));
        let (left, right) = orders.ok_or(Error::Layout { left, right })?;
        Self::new(left, right)
    }

    pub(crate) fn encode(self) -> u32 {
        u32::from(self.left.0) | u32::from(self.right.0) << 16
    }

    /// The order of one ring.
    pub fn order(self, side: Side) -> Order {
        match side {
            Side::Left => self.left,
            Side::Right => self.right,
        }
    }

    /// The words in the shared page that are this ring; they start at its size. Nothing if it has pages of its own.
    pub(crate) fn in_page(self, side: Side) -> Option<Range<usize>> {
        let order = self.order(side);
        (order.pages() == 0).then(|| order.bytes() / 4..order.bytes() / 2)
    }

    /// The words in the shared page that are this ring's grants.
    pub(crate) fn grants(self, side: Side) -> Range<usize> {
        let end_of_left = GRANTS + self.left.pages();
        match side {
            Side::Left => GRANTS..end_of_left,
            Side::Right => end_of_left..end_of_left + self.right.pages(),
        }
    }
}

fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_page_rings_lie_where_the_header_says() {
        let layout = Layout::new(Order::SMALL, Order::LARGE).unwrap();
        assert_eq!(layout.in_page(Side::Left), Some(256..512));
        assert_eq!(layout.in_page(Side::Right), Some(512..1024));
        assert_eq!(Layout::decode(layout.encode()), Ok(layout));
    }

    #[test]
    fn no_two_orders_overlap_in_the_page() {
        for (left, right) in (0..40_u16).flat_map(|left| (0..40_u16).map(move |right| (left, right))) {
            let Ok(layout) = Layout::decode(u32::from(left) | u32::from(right) << 16) else { continue };
            let mut taken = [false; PAGE_WORDS];
            let rings = [Side::Left, Side::Right].map(|side| layout.in_page(side).unwrap_or(0..0));
            let grants = [Side::Left, Side::Right].map(|side| layout.grants(side));
            for word in (0..GRANTS).chain(rings.into_iter().flatten()).chain(grants.into_iter().flatten()) {
                assert!(!std::mem::replace(&mut taken[word], true), "{layout:?}");
            }
        }
        assert!(Layout::decode(10 | 10 << 16).is_err() && Layout::decode(10 | 20 << 16).is_err());
        assert!(Layout::decode(20 | 20 << 16).is_ok() && Layout::decode(12 | 12 << 16).is_ok());
    }
}
