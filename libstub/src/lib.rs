// SPDX-License-Identifier: GPL-3.0-only
//! The lifecycle of Xen HVM guests whose QEMU runs in a Linux stubdomain of its own.
//!
//! [`create`] makes guest and stubdomain, waits for the key that QEMU writes when it is ready, and unpauses the
//! guest; [`destroy`] removes both without a trace; [`list`] tells what there is. An [`Operation`] never blocks
//! its caller's event loop; this program lets it run its own:
//!
//! ```no_run
//! use std::path::Path;
//! use libstub::{GuestConfig, Journal, XenHost};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = GuestConfig::read(Path::new("/etc/xen/guest.cfg"))?;
//! let journal = Journal::new(libstub::DIRECTORY);
//! let operation = libstub::create(Box::new(XenHost::open()?), journal, config)?;
//! let pair = operation.wait(|event| println!("{:?} {}", event.at, event.milestone))??;
//! println!("{} runs as domain {}", pair.name, pair.guest);
//! # Ok(())
//! # }
//! ```
//!
//! The library installs no signal handler, starts no process and prints nothing.
#![forbid(unsafe_code)]

mod code;
pub mod config;
mod console;
pub mod host;
mod image;
mod journal;
mod lifecycle;
mod qemu_args;
pub mod qmp;
pub mod xenbus;

pub use code::Code;
pub use config::{ConfigError, GuestConfig, Name};
pub use host::{HostError, XenHost};
pub use image::{Image, ImageError};
pub use journal::{DIRECTORY, Journal, JournalError};
pub use lifecycle::{
    Canceller, Cause, CreateError, CreateStage, DestroyError, Destroyed, Event, ListError, Milestone,
    Operation, Owed, Pair, PairInfo, PairState, Progress, create, destroy, list,
};
pub use proto::Stage;
pub use qmp::{Qmp, QmpError};
pub use xen_sys::{DomId, Kib, ShutdownReason};
