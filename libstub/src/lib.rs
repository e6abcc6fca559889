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

mod check;
mod code;
pub mod config;
mod console;
pub mod host;
mod image;
mod journal;
mod lifecycle;
mod logs;
mod qemu_args;
pub mod qmp;
mod supervisor;
pub mod xenbus;

pub use check::{CheckOptions, CheckReport, Finding, FindingStatus, check};
pub use code::Code;
pub use config::{ConfigError, GuestConfig, Name};
pub use host::{Host, HostError, XenHost};
pub use image::{Image, ImageError};
pub use journal::{DIRECTORY, ImageOrigin, Journal, JournalError};
pub use lifecycle::{
    Canceller, Cause, CreateError, CreateStage, DestroyError, Destroyed, DiskDetails, Event, Findings,
    ListError, MemoryNeed, Milestone, Operation, Owed, Pair, PairDetails, PairInfo, PairState, Preflight,
    PreflightDisk, Progress, ReapError, ReapOptions, Reaped, ReapedPair, Remains, ShowError, StubdomReport,
    create, destroy, is_alive, list, preflight, reap, show,
};
pub use logs::{ConsoleLogs, LogLine, LogSource, last_words};
pub use proto::Stage;
pub use proto::argv::ArgvError;
pub use proto::manifest::Arguments;
pub use qmp::{Qmp, QmpError};
pub use supervisor::{
    End, Happening, OpenHost, Report, RestartLimit, Stopper, Supervisor, SupervisorError, SupervisorOptions,
};
pub use xen_sys::{DomId, Kib, ShutdownReason};
