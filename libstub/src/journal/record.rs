// SPDX-License-Identifier: GPL-3.0-only
//! What a record says, and its form on disk.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use xen_sys::{DomId, DomainInfo, Kib};

use super::{JournalError, Origin};
use crate::config::{GuestConfig, Name};
use crate::host::LoopFile;
use crate::xenbus::VbdMark;

/// The version of [`Record`] that this library writes and reads.
pub(super) const VERSION: u32 = 1;

/// Everything there is to know about a pair that was or is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// dom0's boot in which it was made: domain ids mean nothing in another.
    pub(crate) boot_id: String,
    pub(crate) name: Name,
    pub(crate) guest: DomainMark,
    pub(crate) stubdom: DomainMark,
    pub(crate) memory: Kib,
    pub(crate) vcpus: u32,
    pub(crate) vbds: Vec<VbdMark>,
    /// The files behind them that nobody else has: blkback has them open, or is about to.
    #[serde(default)]
    pub(crate) loops: Vec<LoopFile>,
    /// All that was left to do was to unpause the guest.
    pub(crate) complete: bool,
    /// Its removal has begun.
    #[serde(default)]
    pub(crate) ending: bool,
    /// If it is found unfinished, it is not to be removed only but created again.
    #[serde(default)]
    pub(crate) again: bool,
    /// When it was restarted, in seconds of this boot; the latest last.
    #[serde(default)]
    pub(crate) restarts: Vec<u64>,
    /// What it is created from, again if need be: what its file says by now does not matter.
    #[serde(default)]
    config: Option<Value>,
    #[serde(default)]
    pub(crate) origin: Origin,
}

/// A domain as a record knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainMark {
    /// Chosen before the domain is created: it is what the domain is found by when its id was never recorded.
    pub(crate) uuid: Uuid,
    pub(crate) domid: Option<DomId>,
}

impl DomainMark {
    pub(crate) fn new(uuid: Uuid) -> Self {
        Self { uuid, domid: None }
    }

    /// Whether it is this domain. One whose id was never recorded has not run.
    pub(crate) fn is_of(&self, info: &DomainInfo) -> bool {
        info.uuid == self.uuid && self.domid.map_or_else(|| is_unstarted(info), |domid| domid == info.domid)
    }
}

/// Whether a domain has never run.
pub(crate) fn is_unstarted(info: &DomainInfo) -> bool {
    info.paused && info.cpu_time.is_zero()
}

impl Record {
    /// A record of a pair of which nothing was made yet.
    pub(crate) fn new(name: &Name, guest: Uuid, memory: Kib, vcpus: u32, boot_id: String) -> Self {
        Self {
            version: VERSION,
            boot_id,
            name: name.clone(),
            guest: DomainMark::new(guest),
            stubdom: DomainMark::new(Uuid::new_v4()),
            memory,
            vcpus,
            vbds: Vec::new(),
            loops: Vec::new(),
            complete: false,
            ending: false,
            again: false,
            restarts: Vec::new(),
            config: None,
            origin: Origin::default(),
        }
    }

    /// Keeps the config, with all that was set on top of its file.
    pub(crate) fn keep_config(&mut self, config: &GuestConfig) {
        self.config = serde_json::to_value(config).ok();
    }

    /// The config that was kept; none in a record of a release that kept none, or another kind.
    pub(crate) fn config(&self) -> Option<GuestConfig> {
        let config = GuestConfig::deserialize(self.config.as_ref()?).ok()?;
        Some(GuestConfig { uuid: Some(self.guest.uuid), ..config })
    }

    /// Whether this record is of the same making of the pair: a stubdomain's uuid is new each time.
    pub(crate) fn is_of(&self, stubdom: Uuid) -> bool {
        self.stubdom.uuid == stubdom
    }
}

/// Reads the text of a record's file.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Record, JournalError> {
    let unreadable = |reason: String| JournalError::Unreadable { path: path.to_owned(), reason };
    let value: Value = serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
    match value["version"].as_u64() {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => return Err(JournalError::OtherVersion { path: path.to_owned(), version }),
        None => return Err(unreadable("it has no version".to_owned())),
    }
    serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))
}
