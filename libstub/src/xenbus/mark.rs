// SPDX-License-Identifier: GPL-3.0-only
//! The mark on each domain of ours: whose pair it is, so that it is known as ours when its record is lost.
//!
//! It lies in the domain's home, which belongs to dom0: a domain reads it at most.

use std::path::Path;

use proto::keys;
use xen_sys::DomId;

use super::batch::Batch;
use crate::config::Name;
use crate::host::{Host, HostError};

/// What a domain is in its pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Guest,
    Stubdom,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Stubdom => "stubdom",
        }
    }
}

/// A domain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pair: Name,
    pub(crate) role: Role,
    /// The directory of the pair's record: toolstacks with journals of their own leave each other's pairs alone.
    pub(crate) journal: String,
}

impl Mark {
    pub(crate) fn new(pair: &Name, role: Role, journal: &Path) -> Self {
        Self { pair: pair.clone(), role, journal: journal.to_string_lossy().into_owned() }
    }

    pub(super) fn write(&self, domid: DomId, batch: &mut Batch) {
        let mark = directory(domid);
        batch.write(format!("{mark}/pair"), self.pair.as_str());
        batch.write(format!("{mark}/role"), self.role.as_str());
        batch.write(format!("{mark}/journal"), &self.journal);
    }

    /// The mark of a domain; none if it is not ours.
    pub(crate) fn read(host: &dyn Host, domid: DomId) -> Result<Option<Self>, HostError> {
        let mark = directory(domid);
        let read = |name: &str| {
            let value = host.read(&format!("{mark}/{name}"))?;
            Ok(value.and_then(|value| String::from_utf8(value).ok()))
        };
        let (Some(pair), Some(role), Some(journal)) = (read("pair")?, read("role")?, read("journal")?) else {
            return Ok(None);
        };
        let role = [Role::Guest, Role::Stubdom].into_iter().find(|known| known.as_str() == role);
        let (Ok(pair), Some(role)) = (Name::new(&pair), role) else { return Ok(None) };
        Ok(Some(Self { pair, role, journal }))
    }
}

fn directory(domid: DomId) -> String {
    format!("{}/stubctl", keys::home(domid.get()))
}
