// SPDX-License-Identifier: GPL-3.0-only
//! One look at all pairs: the records that changed, and all domains in one call, however many pairs there are.

use uuid::Uuid;
use xen_sys::DomainInfo;

use super::inbox::Changed;
use crate::config::{Name, Policy};
use crate::host::{Host, HostError};
use crate::journal::{DomainMark, Journal, JournalError, Record};

/// What is kept of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brief {
    pub(super) name: Name,
    pub(super) guest: DomainMark,
    pub(super) stubdom: DomainMark,
    pub(super) policy: Policy,
    pub(super) restarts: Vec<u64>,
    pub(super) complete: bool,
    pub(super) ending: bool,
    pub(super) again: bool,
    /// Somebody works on it right now.
    pub(super) claimed: bool,
    /// Of this boot of the host: another's domain ids mean nothing.
    pub(super) current: bool,
}

impl Brief {
    fn new(record: Record, boot_id: &str, claimed: bool) -> Self {
        let policy = record.config().map(|config| config.policy).unwrap_or_default();
        Self {
            current: record.boot_id == boot_id,
            policy,
            name: record.name,
            guest: record.guest,
            stubdom: record.stubdom,
            restarts: record.restarts,
            complete: record.complete,
            ending: record.ending,
            again: record.again,
            claimed,
        }
    }

    /// What tells this making of the pair from others of its name.
    pub(super) fn making(&self) -> Uuid {
        self.stubdom.uuid
    }
}

/// What a look showed.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) domains: Result<Vec<DomainInfo>, HostError>,
    /// A record that is not there is none.
    pub(super) records: Vec<(Name, Option<Brief>)>,
    /// These are all records.
    pub(super) all: bool,
    /// What is wrong with records that cannot be read.
    pub(super) unreadable: Vec<String>,
}

/// Looks. The records come first: a domain that is in one and not on the list after it is gone.
pub(super) fn look(host: &dyn Host, journal: &Journal, changed: Changed) -> Sight {
    let mut sight =
        Sight { domains: Ok(Vec::new()), records: Vec::new(), all: changed.all, unreadable: Vec::new() };
    let records = records(host, journal, changed, &mut sight);
    sight.domains = records.and_then(|()| host.domains());
    sight
}

fn records(host: &dyn Host, journal: &Journal, changed: Changed, sight: &mut Sight) -> Result<(), HostError> {
    if !changed.all && changed.names.is_empty() {
        return Ok(());
    }
    let boot_id = host.boot_id()?;
    let claimed = |name: &Name| journal.is_claimed(name).unwrap_or(true);
    if changed.all {
        match journal.all() {
            Ok((records, unreadable)) => {
                for record in records {
                    // Of a pair that runs it does not matter yet, and there may be many.
                    let whole = record.complete && !record.ending && !changed.names.contains(&record.name);
                    let claimed = !whole && claimed(&record.name);
                    sight.records.push((record.name.clone(), Some(Brief::new(record, &boot_id, claimed))));
                }
                sight.unreadable.extend(unreadable.iter().map(ToString::to_string));
            }
            Err(error) => {
                sight.all = false;
                sight.unreadable.push(error.to_string());
            }
        }
        return Ok(());
    }
    for name in changed.names {
        // Before the record: who has given the name back has written it.
        let claimed = claimed(&name);
        match journal.find(&name) {
            Ok(record) => {
                sight.records.push((name, record.map(|record| Brief::new(record, &boot_id, claimed))));
            }
            Err(JournalError::Io { .. }) => {}
            Err(error) => sight.unreadable.push(error.to_string()),
        }
    }
    Ok(())
}
