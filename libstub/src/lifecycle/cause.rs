// SPDX-License-Identifier: GPL-3.0-only
//! Why a create failed.

use std::path::PathBuf;
use std::time::Duration;

use xen_sys::{DomId, Kib, ShutdownReason};

use crate::code::Code;
use crate::host::{HostError, Unfit};
use crate::image::ImageError;
use crate::journal::JournalError;

/// Why a create failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The config asks for what cannot be.
    #[error("the config cannot be served: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Something is left of an earlier pair of this name, and could not be removed.
    #[error("an earlier pair of this name is not gone")]
    LeftBehind,
    /// A pair of this name is recorded already.
    #[error("a pair of this name is recorded already")]
    PairExists,
    /// The config asks for acts at the pair's end, and nobody is there to do them.
    #[error("no daemon is there to obey {}", .0.join(", "))]
    NobodyActs(Vec<&'static str>),
    /// What was to be created again was ended, or replaced, by somebody else.
    #[error("somebody else ended the pair meanwhile")]
    Superseded,
    /// What was to be created again is of a release that did not record what it was made from.
    #[error("its record does not hold its config")]
    ConfigNotKept,
    /// The host lacks something.
    #[error("this host cannot start a pair: {}", unfit(.0))]
    Unfit(Vec<Unfit>),
    /// There is no usable image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A domain has the name, or the stubdomain's.
    #[error("domain {by} has this name already")]
    NameTaken {
        /// The domain.
        by: DomId,
    },
    /// A domain has the uuid.
    #[error("domain {by} has this uuid already")]
    UuidTaken {
        /// The domain.
        by: DomId,
    },
    /// Xen has not enough free memory.
    #[error("not enough memory: {} MiB needed, {} MiB free", need.get().div_ceil(1024), free.get() / 1024)]
    NotEnoughMemory {
        /// What guest and stubdomain take.
        need: Kib,
        /// What Xen has.
        free: Kib,
    },
    /// A file cannot be served.
    #[error("cannot serve {} as a disk", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: HostError,
    },
    /// QEMU's arguments cannot be passed.
    #[error(transparent)]
    Argv(#[from] proto::argv::ArgvError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The stubdomain reported a failure.
    #[error("the stubdom reports: {report}")]
    StubdomFailed {
        /// Its words, escaped.
        report: String,
    },
    /// The stubdomain, or QEMU in it, ended.
    #[error("the stubdom died{}", death(*reason))]
    StubdomDied {
        /// Its shutdown reason; `None` if it was destroyed.
        reason: Option<ShutdownReason>,
    },
    /// QEMU ended, and the stubdomain has not said more.
    #[error("QEMU in the stubdom ended: {exit}")]
    QemuEnded {
        /// How: `exit N` or `signal N`, escaped.
        exit: String,
    },
    /// The guest ended before it ever ran.
    #[error("the guest died before it was started{}", death(*reason))]
    GuestDied {
        /// Its shutdown reason; `None` if it was destroyed.
        reason: Option<ShutdownReason>,
    },
    /// blkback did not open a disk.
    #[error("dom0's blkback did not open vbd {devid} of domain {domid}")]
    BackendStuck {
        /// The domain that has the disk.
        domid: DomId,
        /// The disk's number.
        devid: u32,
    },
    /// The ready key was not seen in time.
    #[error("the ready key was not seen within {} s", after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The caller asked for it.
    #[error("cancelled")]
    Cancelled,
    /// A defect of this library.
    #[error("the worker of this operation panicked: {0}")]
    Panicked(String),
}

impl Cause {
    /// The cause under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::Config(_) => Code::ConfigValue,
            Self::LeftBehind => Code::LeftBehind,
            Self::PairExists => Code::PairExists,
            Self::NobodyActs(_) => Code::NobodyActs,
            Self::Superseded => Code::NoSuchPair,
            Self::ConfigNotKept => Code::JournalVersion,
            Self::Unfit(_) => Code::HostUnfit,
            Self::Image(error) => error.code(),
            Self::NameTaken { .. } => Code::NameTaken,
            Self::UuidTaken { .. } => Code::UuidTaken,
            Self::NotEnoughMemory { .. } => Code::MemoryShort,
            Self::Disk { source, .. } if source.code() == Code::HostStore => Code::HostStore,
            Self::Disk { .. } => Code::DiskUnusable,
            Self::Argv(_) => Code::ArgvTooLong,
            Self::Host(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::StubdomFailed { .. } => Code::StubdomFailed,
            Self::StubdomDied { .. } => Code::StubdomDied,
            Self::QemuEnded { .. } => Code::QemuEnded,
            Self::GuestDied { .. } => Code::GuestDied,
            Self::BackendStuck { .. } => Code::BackendStuck,
            Self::TimedOut { .. } => Code::TimedOut,
            Self::Cancelled => Code::Cancelled,
            Self::Panicked(_) => Code::Internal,
        }
    }
}

fn unfit(reasons: &[Unfit]) -> String {
    let lines: Vec<String> =
        reasons.iter().map(|unfit| format!("{} ({})", unfit.what, unfit.remedy)).collect();
    lines.join("; ")
}

fn death(reason: Option<ShutdownReason>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}
