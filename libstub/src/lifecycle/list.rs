// SPDX-License-Identifier: GPL-3.0-only
//! The pairs of this host, as the journal and Xen together know them.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;
use xen_sys::{DomId, DomainInfo, Kib, ShutdownReason};

use super::observe::Life;
use crate::code::Code;
use crate::config::Name;
use crate::host::{Host, HostError};
use crate::journal::{DomainMark, Journal, JournalError, Record};

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairInfo {
    /// Its name.
    pub name: Name,
    /// The guest's uuid.
    pub uuid: Uuid,
    /// The guest, while it exists.
    pub guest: Option<DomId>,
    /// The stubdomain, while it exists.
    pub stubdom: Option<DomId>,
    /// How it is.
    pub state: PairState,
    /// Whether somebody looks after it: a daemon, or a `stubctl run`.
    pub supervised: bool,
    /// The guest's memory in KiB.
    pub memory_kib: u64,
    /// What the stubdomain takes of Xen's memory, in KiB.
    pub stubdom_memory_kib: u64,
    /// The guest's virtual CPUs.
    pub vcpus: u32,
    /// The guest's CPU time in milliseconds.
    pub cpu_ms: u64,
    /// The stubdomain's CPU time in milliseconds.
    pub stubdom_cpu_ms: u64,
}

/// How a pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairState {
    /// Its create is under way, or was ended before it was complete.
    Incomplete,
    /// The guest runs.
    Running,
    /// The guest is paused.
    Paused,
    /// The guest shut down and waits to be destroyed.
    ShutDown,
    /// The guest crashed and waits to be destroyed.
    Crashed,
    /// It was taken down to be created again.
    Restarting,
    /// The stubdomain is gone: the guest has no devices any more.
    StubdomDead,
    /// Its domains are gone, its record is left.
    Gone,
}

impl PairState {
    /// The state as scripts read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ShutDown => "shut-down",
            Self::Crashed => "crashed",
            Self::Restarting => "restarting",
            Self::StubdomDead => "stubdom-dead",
            Self::Gone => "gone",
        }
    }

    /// The state as people read it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ShutDown => "shut down",
            Self::Crashed => "crashed",
            Self::Restarting => "restarting",
            Self::StubdomDead => "stubdom dead",
            Self::Gone => "gone",
        }
    }
}

/// Why pairs cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Xen cannot be asked.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ListError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::Journal(error) => error.code(),
            Self::Host(error) => error.code(),
        }
    }
}

/// All pairs by name, and the records that could not be read.
///
/// # Errors
/// When the journal's directory or Xen cannot be asked.
pub fn list(host: &dyn Host, journal: &Journal) -> Result<(Vec<PairInfo>, Vec<JournalError>), ListError> {
    let (records, unreadable) = journal.all()?;
    let (domains, boot_id) = (host.domains()?, host.boot_id()?);
    let pairs = records.iter().map(|record| describe(journal, record, &domains, &boot_id));
    Ok((pairs.collect::<Result<_, _>>()?, unreadable))
}

pub(super) fn describe(
    journal: &Journal,
    record: &Record,
    domains: &[DomainInfo],
    boot_id: &str,
) -> Result<PairInfo, JournalError> {
    let find = |mark: &DomainMark| {
        domains.iter().filter(|_| record.boot_id == boot_id).find(|info| info.uuid == mark.uuid)
    };
    let (guest, stubdom) = (find(&record.guest), find(&record.stubdom));
    let cpu = |info: Option<&DomainInfo>| info.map_or(Duration::ZERO, |info| info.cpu_time).as_millis();
    Ok(PairInfo {
        name: record.name.clone(),
        supervised: journal.is_supervised(&record.name)?,
        uuid: record.guest.uuid,
        guest: guest.map(|info| info.domid),
        stubdom: stubdom.map(|info| info.domid),
        state: state(record, guest, stubdom),
        memory_kib: record.memory.get(),
        stubdom_memory_kib: stubdom.map_or(Kib::new(0), |info| Kib::new(info.pages * 4)).get(),
        vcpus: record.vcpus,
        cpu_ms: u64::try_from(cpu(guest)).unwrap_or(u64::MAX),
        stubdom_cpu_ms: u64::try_from(cpu(stubdom)).unwrap_or(u64::MAX),
    })
}

fn state(record: &Record, guest: Option<&DomainInfo>, stubdom: Option<&DomainInfo>) -> PairState {
    let (guest_life, stubdom_life) = (Life::of(guest, &record.guest), Life::of(stubdom, &record.stubdom));
    match (guest_life, stubdom_life) {
        _ if record.again && (record.ending || !record.complete) => PairState::Restarting,
        (Life::Gone, Life::Gone) => PairState::Gone,
        _ if !record.complete || record.ending => PairState::Incomplete,
        (Life::Shutdown(ShutdownReason::Crash | ShutdownReason::Watchdog), _) => PairState::Crashed,
        (Life::Shutdown(_) | Life::Gone, _) => PairState::ShutDown,
        (Life::Alive, Life::Shutdown(_) | Life::Gone) => PairState::StubdomDead,
        (Life::Alive, Life::Alive) if guest.is_some_and(|info| info.paused) => PairState::Paused,
        (Life::Alive, Life::Alive) => PairState::Running,
    }
}
