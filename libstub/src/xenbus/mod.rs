// SPDX-License-Identifier: GPL-3.0-only
//! What goes into xenstore: all paths, permissions and states that the toolstack writes.
//!
//! A [`Batch`] is a transaction as data: what a create writes can be looked at and compared before it is done.

mod batch;
mod nodes;
mod vbd;

pub use batch::{Batch, Op};
pub(crate) use nodes::{Stubdom, connect, qemu_release, shell, target};
pub(crate) use vbd::{Vbd, VbdMark};
