// SPDX-License-Identifier: GPL-3.0-only
//! The FFI ring of the toolstack: the raw bindings to Xen's C libraries, and a safe owner for every handle.
//!
//! What is here calls one C function, or one fixed sequence of them, and reports what came of it. There is no policy,
//! no configuration, no xenstore layout and no waiting; those live in `libstub`.
//!
//! Nothing unwinds into C, no integer that C provides becomes a Rust enum unchecked, and errno is read in one place per
//! return convention (`call.rs`). What the libraries log goes to `tracing` under the target `xen`, and the errors among
//! it into the [`Error`] of the call that logged them.

mod call;
mod ctrl;
mod error;
mod evtchn;
mod foreign;
mod gnttab;
mod guest;
mod log;
mod loopdev;
mod shared;
mod store;
mod types;
mod version;

#[doc(hidden)]
pub mod raw;

pub use ctrl::{
    CpuidPolicy, CreateDomain, Ctrl, DomainInfo, DomainKind, E820Entry, E820Kind, EvtchnState, HvmParam,
    PhysInfo, ShutdownReason,
};
pub use error::{Error, Result};
pub use evtchn::Evtchn;
pub use foreign::ForeignMemory;
pub use gnttab::{Gnttab, GrantAccess, GrantPage};
pub use guest::{BuiltPages, Channel, HvmBuild, PvBuild, build_hvm, build_pv};
pub use loopdev::{LoopDevice, LoopOptions, LoopStatus};
pub use shared::{Notice, SharedPages};
pub use store::{Access, Commit, Permission, PermissionAccess, Store, Transaction, WatchEvent};
pub use types::{DomId, EvtchnPort, Gfn, GrantRef, Kib};
pub use version::{BUILT_FOR, Version};
