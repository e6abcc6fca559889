// SPDX-License-Identifier: GPL-3.0-only
//! Domains of ours that no record names: how they are found, and the record that their pair would have.

use std::collections::{BTreeMap, BTreeSet};

use proto::keys;
use uuid::Uuid;
use xen_sys::{DomId, DomainInfo, DomainKind, Kib};

use super::cause::Cause;
use super::teardown::{After, Outcome, teardown};
use crate::config::Name;
use crate::host::{Host, HostError};
use crate::journal::{Claim, Journal, JournalError, Record, is_unstarted};
use crate::xenbus::{self, Mark, Role, VbdMark};

/// The domains with our mark that no record knows, by their pair. To a guest without a stubdomain belongs the one that has
/// it as its target and that it names itself, should that have lost its mark: it would keep the guest a zombie.
pub(super) fn find(
    host: &dyn Host,
    journal: &Journal,
    known: &BTreeSet<Uuid>,
    wanted: impl Fn(&Name) -> bool,
) -> Result<BTreeMap<Name, Vec<(Role, DomainInfo)>>, HostError> {
    let ours = journal.directory().to_string_lossy();
    let mut orphans: BTreeMap<Name, Vec<(Role, DomainInfo)>> = BTreeMap::new();
    let mut unmarked = Vec::new();
    for info in host.domains()? {
        if info.domid == DomId::DOM0 || known.contains(&info.uuid) {
            continue;
        }
        match Mark::read(host, info.domid)? {
            Some(mark) if mark.journal == ours && wanted(&mark.pair) => {
                orphans.entry(mark.pair).or_default().push((mark.role, info));
            }
            Some(_) => {}
            None => unmarked.push(info),
        }
    }
    if orphans.is_empty() {
        return Ok(orphans);
    }
    for info in unmarked.into_iter().filter(|info| info.kind == DomainKind::Pv) {
        let number = |domid: DomId, node: &str| {
            let value = host.read(&format!("{}/{node}", keys::home(domid.get())))?;
            Ok::<_, HostError>(
                value.and_then(|value| String::from_utf8(value).ok()?.parse().ok()).map(DomId::new),
            )
        };
        let Some(target) = number(info.domid, keys::TARGET)? else { continue };
        let alone = |pair: &&mut Vec<(Role, DomainInfo)>| matches!(&pair[..], [(Role::Guest, guest)] if guest.domid == target);
        if let Some(pair) = orphans.values_mut().find(alone)
            && number(target, xenbus::DEVICE_MODEL_DOMID)? == Some(info.domid)
        {
            pair.push((Role::Stubdom, info));
        }
    }
    Ok(orphans)
}

/// The record that a pair would have whose domains are these.
pub(super) fn record(
    host: &dyn Host,
    name: &Name,
    pair: &[(Role, DomainInfo)],
    boot_id: &str,
) -> Result<Record, HostError> {
    let mut record = Record::new(name, Uuid::new_v4(), Kib::new(0), 0, boot_id.to_owned());
    record.ending = true;
    for (role, info) in pair {
        // Between the list and the claim the domain may have gone, and its id been given away.
        let now = host.domain(info.domid)?;
        let mark = match role {
            Role::Guest => &mut record.guest,
            Role::Stubdom => &mut record.stubdom,
        };
        mark.uuid = info.uuid;
        // One that is dying is still there: it is waited for like any other.
        if now.is_none_or(|now| now.uuid != info.uuid) {
            continue;
        }
        mark.domid = Some(info.domid);
        for devid in host.list(&VbdMark::directory(info.domid))? {
            record.vbds.extend(devid.parse().ok().map(|devid| VbdMark { domid: info.domid, devid }));
        }
    }
    Ok(record)
}

/// Removes what is left of a pair of this name whose record is damaged or lost, for the holder of the name; nothing if a
/// pair of the name runs, or nothing of it is ours.
pub(super) fn lost(
    host: &dyn Host,
    journal: &Journal,
    claim: &Claim,
    name: &Name,
) -> Result<Option<Outcome>, Cause> {
    let damaged = match journal.find(name) {
        Err(JournalError::Unreadable { path, .. }) => Some(path),
        found => match found? {
            Some(_) => return Ok(None),
            None => None,
        },
    };
    let mut pairs = find(host, journal, &BTreeSet::new(), |wanted| wanted == name)?;
    let pair = pairs.remove(name).unwrap_or_default();
    let runs = |wanted: Role| {
        pair.iter().any(|(role, info)| {
            *role == wanted && !is_unstarted(info) && !info.dying && info.shutdown.is_none()
        })
    };
    if (runs(Role::Guest) && runs(Role::Stubdom)) || (damaged.is_none() && pair.is_empty()) {
        return Ok(None);
    }
    let mut outcome = Outcome::default();
    if let Some(path) = damaged
        && let Some(to) = journal.set_aside_claimed(&path, name, claim)?
    {
        outcome.undone.push(format!("its damaged record (now {})", to.display()));
    }
    if !pair.is_empty() {
        let mut record = self::record(host, name, &pair, &host.boot_id()?)?;
        journal.write(&record, claim)?;
        outcome.add(teardown(host, journal, claim, &mut record, After::Nothing));
    }
    Ok(Some(outcome))
}
