// SPDX-License-Identifier: GPL-3.0-only
//! What the toolstack and the stubdomain agree on: key names, stages, argv and the image manifest.
//!
//! Protocol 1 is a superset of Xen's `docs/misc/stubdom.txt`, written down in `stub-image/PROTOCOL.md`. The toolstack
//! writes `target`, `dm-argv` and `stub/go`; PID 1 of the stubdomain writes the other `stub/` keys and `qmp-vchan`; QEMU
//! itself writes `state`.
//! Everything that comes from the stubdomain is hostile: read it with the parsers here, which are total.
#![forbid(unsafe_code)]

pub mod argv;
pub mod keys;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod places;
pub mod ramdisk;
pub mod stage;
#[cfg(feature = "verify")]
pub mod verify;

pub use stage::Stage;

/// The version of the protocol that this crate speaks, as written in `stub/protocol`.
pub const PROTOCOL: u32 = 1;

/// No value in xenstore may be longer: oxenstored refuses it even from dom0.
pub const MAX_VALUE: usize = 2048;

/// What `stub/failed` may hold; the rest of the story is on the console.
pub const MAX_FAILED: usize = 1500;
