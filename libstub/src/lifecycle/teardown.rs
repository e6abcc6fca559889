// SPDX-License-Identifier: GPL-3.0-only
//! Removing everything that a record names. Serves rollback, destroy, reap and restart.
//!
//! Every part is idempotent, every part is tried whatever became of the others, and the hypercalls come first:
//! they need neither the pair's cooperation nor xenstored's. The stubdomain dies before the guest, because its
//! target reference keeps the guest a zombie.

use std::time::{Duration, Instant};

use proto::keys;
use uuid::Uuid;
use xen_sys::{DomId, DomainInfo};

use crate::host::{BackendState, BlockDevice, FailureKind, Host, HostError};
use crate::journal::{Claim, DomainMark, Journal, Record, is_unstarted};
use crate::xenbus::{Batch, VbdMark};

/// How long blkback may take to let go of a dead domain's disks, and Xen to free its last pages.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);
/// What Xen itself may take to free a dead domain that nobody holds.
const LAST_PAGES: Duration = Duration::from_secs(1);
/// How often their state is looked at: neither the kernel's sysfs nor Xen's list tells by itself.
const RELEASE_POLL: Duration = Duration::from_millis(5);

/// Something that could not be removed and is still recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// What is left.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What a teardown did.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) undone: Vec<String>,
    pub(super) owed: Vec<Owed>,
}

/// What comes after a teardown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The pair is gone, and its record with it.
    Nothing,
    /// It is created again; until then its record says so.
    CreateAgain,
}

impl After {
    /// What follows a create that failed.
    pub(super) fn failed(record: &Record) -> Self {
        if record.again { Self::CreateAgain } else { Self::Nothing }
    }
}

/// Removes everything that `record` names, and then the record; what stays is owed and stays recorded.
pub(super) fn teardown(
    host: &dyn Host,
    journal: &Journal,
    claim: &Claim,
    record: &mut Record,
    after: After,
) -> Outcome {
    teardown_holding(host, journal, claim, record, after, Vec::new())
}

/// The same for the process that still holds disks of the pair, as long as something may be about to open them.
pub(super) fn teardown_holding(
    host: &dyn Host,
    journal: &Journal,
    claim: &Claim,
    record: &mut Record,
    after: After,
    own: Vec<(VbdMark, BlockDevice)>,
) -> Outcome {
    let again = after == After::CreateAgain;
    let (guest, stubdom) = (record.guest.domid.map(DomId::get), record.stubdom.domid.map(DomId::get));
    let _in = tracing::info_span!("teardown", pair = %record.name, guest, stubdom).entered();
    if !record.ending || record.again != again {
        (record.ending, record.again) = (true, again);
        // What cannot be written now cannot keep a pair from being ended.
        if let Err(error) = journal.write(record, claim) {
            tracing::warn!(%error, "the end of a pair is not recorded");
        }
    }
    let mut outcome = Outcome::default();
    match host.boot_id() {
        Ok(id) if id != record.boot_id => {
            outcome.undone.push("an earlier boot's domains (gone with it)".to_owned())
        }
        Ok(_) => {
            let mut pass = Pass { host, outcome: &mut outcome, release: None, held: Vec::new(), lost: false };
            pass.run(record);
            drop(own);
            pass.wait_loops(record);
        }
        Err(error) => outcome.owe("the whole pair", &error),
    }
    let nothing_owed = outcome.owed.is_empty();
    if nothing_owed {
        // Nothing has these ids any more but who is given them next.
        (record.guest.domid, record.stubdom.domid) = (None, None);
        record.vbds.clear();
        record.loops.clear();
    }
    let ends = nothing_owed && !again;
    let written = if ends { journal.end(&record.name, claim) } else { journal.write(record, claim) };
    if let Err(error) = written {
        outcome.owe("the pair's record", &error);
    }
    outcome
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        self.undone.extend(other.undone);
        self.owed.extend(other.owed);
    }

    pub(super) fn owe(&mut self, what: impl Into<String>, why: &dyn std::error::Error) {
        let what = what.into();
        let mut reason = why.to_string();
        let mut source = why.source();
        while let Some(error) = source {
            reason = format!("{reason}: {error}");
            source = error.source();
        }
        tracing::warn!(what, reason, "left behind");
        self.owed.push(Owed { what, why: reason });
    }
}

struct Pass<'a> {
    host: &'a dyn Host,
    outcome: &'a mut Outcome,
    /// When waiting for releases ends: one limit for all of them.
    release: Option<Instant>,
    /// Devices that dom0's kernel may not have let go of: what it mapped of their domain keeps that from vanishing.
    held: Vec<VbdMark>,
    /// xenstored is: nobody in dom0 hears of a death any more, and lets go.
    lost: bool,
}

impl Pass<'_> {
    fn run(&mut self, record: &mut Record) {
        let stubdom = self.find(&mut record.stubdom);
        // One that could not be looked at may live, and its guest stays a zombie: a wait would be in vain.
        let known = self.outcome.owed.is_empty();
        let guest = self.find(&mut record.guest);
        // Nothing of the pair runs while its devices go away.
        for (domid, _) in [guest, stubdom].into_iter().flatten() {
            let _ = self.host.pause(domid);
        }
        let killed = self.kill("stubdom", stubdom);
        let guest = self.kill("guest", guest);
        // A backend's nodes stay as long as blkback has the device: they are how it is told to let go.
        let mut closed = Vec::new();
        for vbd in record.vbds.clone().into_iter().rev() {
            if self.is_ours(vbd.domid, record) && self.close(vbd) {
                closed.push(vbd);
            } else {
                self.held.push(vbd);
            }
        }
        let gone = self.wait_gone("stubdom", killed);
        if known && gone && killed == stubdom {
            self.wait_gone("guest", guest);
        } else if let Some((domid, _)) = guest {
            let why = "it is a zombie as long as its stubdom exists".to_owned();
            self.outcome.owed.push(Owed { what: format!("guest {domid}"), why });
        }
        self.remove_trees(record, &closed);
    }

    fn owe(&mut self, what: impl Into<String>, error: &HostError) {
        self.lost |= error.kind == FailureKind::StoreLost;
        self.outcome.owe(what, error);
    }

    /// The live domain of a mark, by its id or, if that was never recorded, by its uuid.
    fn find(&mut self, mark: &mut DomainMark) -> Option<(DomId, Uuid)> {
        let found = match mark.domid {
            Some(domid) => self.host.domain(domid),
            None => self.unnoted(mark.uuid),
        };
        match found {
            Ok(found) => {
                let domid = found.filter(|info| info.uuid == mark.uuid)?.domid;
                mark.domid = Some(domid);
                Some((domid, mark.uuid))
            }
            Err(error) => {
                self.owe(format!("the domain {}", mark.uuid), &error);
                None
            }
        }
    }

    /// The domain that was made and whose id was not recorded any more: it never ran, and nobody named it. A config's uuid
    /// may be that of another toolstack's domain by now.
    fn unnoted(&self, uuid: Uuid) -> Result<Option<DomainInfo>, HostError> {
        let fresh = |info: &DomainInfo| info.uuid == uuid && is_unstarted(info);
        let Some(info) = self.host.domains()?.into_iter().find(fresh) else { return Ok(None) };
        let name = self.host.read(&format!("{}/name", keys::home(info.domid.get())))?;
        Ok(name.is_none().then_some(info))
    }

    /// Whether what is named after a domain id is this record's: ids are used again. If Xen does not say, it is not
    /// touched, and owed.
    fn is_ours(&mut self, domid: DomId, record: &Record) -> bool {
        let uuid = if record.guest.domid == Some(domid) { record.guest.uuid } else { record.stubdom.uuid };
        match self.host.domain(domid) {
            Ok(info) => info.is_none_or(|info| info.uuid == uuid),
            Err(error) => {
                self.owe(format!("what is named after domain {domid}"), &error);
                false
            }
        }
    }

    /// Whether no domain but this one has the uuid, which a config may share with another toolstack's.
    fn is_alone(&mut self, domid: DomId, uuid: Uuid) -> bool {
        match self.host.domains() {
            Ok(all) => !all.iter().any(|info| info.uuid == uuid && info.domid != domid),
            Err(error) => {
                self.owe(format!("what is named after the domain {uuid}"), &error);
                false
            }
        }
    }

    /// Destroys a domain; gives it back if it is on its way out.
    fn kill(&mut self, role: &str, domain: Option<(DomId, Uuid)>) -> Option<(DomId, Uuid)> {
        let (domid, _) = domain?;
        match self.host.destroy(domid) {
            Ok(()) => domain,
            Err(error) => {
                self.owe(format!("{role} {domid}"), &error);
                None
            }
        }
    }

    fn close(&mut self, vbd: VbdMark) -> bool {
        let what = format!("vbd {} of domain {}", vbd.devid, vbd.domid);
        let told = self.host.read(&format!("{}/state", vbd.backend())).and_then(|state| match state {
            Some(_) => self.host.apply(&vbd.force_close()),
            None => Ok(()),
        });
        let host = self.host;
        match told {
            Ok(()) => self.wait(&what, "blkback still holds it", || {
                Ok(host.backend(vbd.domid, vbd.devid)? == BackendState::Absent)
            }),
            Err(error) => {
                self.owe(what, &error);
                false
            }
        }
    }

    /// Waits until the files of the pair's disks are free: blkback closes a device after it has vanished.
    fn wait_loops(&mut self, record: &mut Record) {
        if !self.held.is_empty() {
            return;
        }
        let host = self.host;
        // One that was seen free is forgotten, whatever else is owed: its number may be given away.
        record.loops.retain(|file| {
            let what = format!("/dev/loop{}", file.number);
            !self.wait(&what, "somebody in dom0 has it open", || Ok(!host.serves(file)?))
        });
    }

    /// Waits until Xen has forgotten a domain; whether it has.
    fn wait_gone(&mut self, role: &str, domain: Option<(DomId, Uuid)>) -> bool {
        let Some((domid, uuid)) = domain else { return true };
        let (host, what) = (self.host, format!("{role} {domid}"));
        let gone = || Ok(host.domain(domid)?.is_none_or(|info| info.uuid != uuid));
        let held = self.held.iter().filter(|vbd| vbd.domid == domid);
        // Without its device blkback holds nothing of it, whatever became of the request.
        let held = held.filter(|vbd| !matches!(host.backend(domid, vbd.devid), Ok(BackendState::Absent)));
        let held: Vec<String> = held.map(|vbd| vbd.devid.to_string()).collect();
        if !held.is_empty() {
            // What holds its pages was not reached: there is nothing to wait for.
            let why = format!("it is dead, but dom0's kernel holds its pages for vbd {}", held.join(", "));
            return self.wait_until(Instant::now(), &what, &why, gone);
        }
        if self.lost {
            let why =
                "it is dead, but something in dom0 holds its pages that xenstored would have told of its end";
            return self.wait_until(Instant::now() + LAST_PAGES, &what, why, gone);
        }
        self.wait(&what, "Xen still lists it: something holds its pages", gone)
    }

    fn wait(&mut self, what: &str, held: &str, released: impl FnMut() -> Result<bool, HostError>) -> bool {
        let deadline = *self.release.get_or_insert_with(|| Instant::now() + RELEASE_TIMEOUT);
        self.wait_until(deadline, what, held, released)
    }

    fn wait_until(
        &mut self,
        deadline: Instant,
        what: &str,
        held: &str,
        mut released: impl FnMut() -> Result<bool, HostError>,
    ) -> bool {
        loop {
            match released() {
                Ok(true) => {
                    self.outcome.undone.push(what.to_owned());
                    return true;
                }
                Ok(false) if Instant::now() >= deadline => {
                    self.outcome.owed.push(Owed { what: what.to_owned(), why: held.to_owned() });
                    return false;
                }
                Ok(false) => std::thread::sleep(RELEASE_POLL),
                Err(error) => {
                    self.owe(what, &error);
                    return false;
                }
            }
        }
    }

    fn remove_trees(&mut self, record: &Record, closed: &[VbdMark]) {
        let mut batch = Batch::default();
        for vbd in closed {
            batch.remove(vbd.backend());
        }
        let mut emptied: Vec<String> = closed.iter().map(VbdMark::backends).collect();
        emptied.sort_unstable();
        emptied.dedup();
        let left = |directory: &String| {
            record.vbds.iter().any(|vbd| vbd.backends() == *directory && !closed.contains(vbd))
        };
        emptied
            .into_iter()
            .filter(|directory| !left(directory))
            .for_each(|directory| batch.remove(directory));
        // The last pair of a host leaves none, as with libxl.
        VbdMark::parents().into_iter().for_each(|directory| batch.remove_empty(directory));
        for mark in [record.stubdom, record.guest] {
            // What is written there comes after the id is recorded.
            let Some(domid) = mark.domid else { continue };
            if self.is_alone(domid, mark.uuid) {
                batch.remove(keys::vm(&mark.uuid.to_string()));
            }
            if self.is_ours(domid, record) {
                batch.remove(keys::home(domid.get()));
            }
        }
        // Seldom there: blkback was about to map the ring of a domain that died meanwhile.
        match self.host.list(&VbdMark::errors()) {
            Ok(errors) if errors.is_empty() => (),
            Ok(_) => closed.iter().for_each(|vbd| batch.extend(vbd.forget_errors())),
            Err(error) => self.owe("what dom0's kernel said about the pair's disks", &error),
        }
        match self.host.apply(&batch) {
            Ok(()) => self.outcome.undone.push("nodes in xenstore".to_owned()),
            Err(error) => self.owe("nodes in xenstore", &error),
        }
    }
}
