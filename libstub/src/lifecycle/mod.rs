// SPDX-License-Identifier: GPL-3.0-only
//! From a config to a running pair, and back to nothing.
//!
//! ```text
//!              preflight   nothing was touched; a refused config ends here
//!                  |
//!               shells     guest and stubdomain exist, paused, with their ids in the journal
//!                  |
//!    +-------------+--------------+
//!    | waits for go               | documented order (images without protocol 1)
//!  stubdom built, tied, rootfs    guest built
//!  stubdom unpaused               stubdom built, tied, rootfs
//!  guest built                    SET_TARGET, disks, argv, go
//!  SET_TARGET, disks, argv, go    stubdom unpaused
//!    +-------------+--------------+
//!                  |
//!             wait: ready         ended by ready, reported failure, either domain's death, deadline, cancel
//!                  |
//!           guest unpaused        the pair runs, its record says so
//! ```
//!
//! Whatever fails after preflight ends in [`teardown`]: everything in the record is removed, and what cannot be
//! removed stays in the record as owed. Destroying a pair is the same teardown.

mod cause;
mod create;
mod creation;
mod destroy;
mod list;
mod observe;
mod operation;
mod orphans;
mod plan;
mod preflight;
mod reap;
mod show;
mod teardown;

pub use cause::Cause;
pub use create::{CreateError, CreateStage, Event, Findings, Milestone, Pair, create};
pub(crate) use create::{create_again, create_supervised};
pub(crate) use creation::seconds_of_boot;
pub(crate) use destroy::end;
pub use destroy::{DestroyError, Destroyed, destroy};
pub use list::{ListError, PairInfo, PairState, list};
pub(crate) use observe::Life;
pub use operation::{Canceller, Operation, Progress};
pub use plan::MemoryNeed;
pub(crate) use plan::paging_pool;
pub use preflight::{Preflight, PreflightDisk, preflight};
pub use reap::{ReapError, ReapOptions, Reaped, ReapedPair, Remains, reap};
pub(crate) use show::domains_of;
pub use show::{DiskDetails, PairDetails, ShowError, StubdomReport, is_alive, show};
pub use teardown::Owed;
