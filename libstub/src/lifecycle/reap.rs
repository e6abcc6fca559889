// SPDX-License-Identifier: GPL-3.0-only
//! Paying what is owed: pairs whose create or destroy did not end, and domains of ours whose record is lost.
//!
//! Nothing is touched that a running operation has claimed, that another journal knows, or that bears no mark of
//! ours. A reap that was ended itself is finished by the next one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use xen_sys::DomainInfo;

use super::operation::{Job, Operation, Reply, Task};
use super::orphans;
use super::teardown::{After, Outcome, Owed, teardown};
use crate::code::Code;
use crate::config::Name;
use crate::host::{Host, HostError};
use crate::journal::{Claim, Journal, JournalError, Record, is_unstarted};
use crate::xenbus::Role;

/// What to reap.
#[derive(Debug, Clone, Default)]
pub struct ReapOptions {
    /// This pair only.
    pub name: Option<Name>,
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// What was, or would be, reaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaped {
    /// The pairs of which something was left.
    pub pairs: Vec<ReapedPair>,
    /// Records that nobody can read; they were moved to these files.
    pub set_aside: Vec<PathBuf>,
    /// Pairs that another operation works on.
    pub busy: Vec<Name>,
}

/// A pair of which something was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReapedPair {
    /// Its name.
    pub name: Name,
    /// Why it was reaped.
    pub why: Remains,
    /// What was removed, in order.
    pub undone: Vec<String>,
    /// What could not be removed; it is recorded, and the next reap tries again.
    pub owed: Vec<Owed>,
}

/// What was left of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// Its create or destroy did not end.
    Unfinished,
    /// Its domains are gone, by another hand than ours.
    Gone,
    /// It was of an earlier boot of the host: only its record was left.
    EarlierBoot,
    /// Its domains bear our mark, and no record names them.
    Orphan,
    /// Its record cannot be read.
    Damaged,
}

impl Remains {
    /// As a sentence about the pair.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Unfinished => "its create or destroy did not end",
            Self::Gone => "its domains are gone",
            Self::EarlierBoot => "it is of an earlier boot of this host",
            Self::Orphan => "no record names its domains",
            Self::Damaged => "its record is damaged",
        }
    }

    /// As scripts read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Gone => "gone",
            Self::EarlierBoot => "earlier-boot",
            Self::Orphan => "orphan",
            Self::Damaged => "damaged",
        }
    }
}

/// Why nothing could be reaped.
#[derive(Debug, thiserror::Error)]
pub enum ReapError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Xen or xenstored cannot be asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A defect of this library; what was begun is recorded.
    #[error("the worker of this operation panicked: {0}")]
    Panicked(String),
}

impl ReapError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::Journal(error) => error.code(),
            Self::Host(error) => error.code(),
            Self::Panicked(_) => Code::Internal,
        }
    }
}

/// Removes what is left of pairs that did not end well.
///
/// # Errors
/// [`std::io::Error`] if no event loop or worker can be made; all else comes as the operation's result. What could
/// not be removed is no error: it is in the result as owed.
pub fn reap(
    host: Box<dyn Host>,
    journal: Journal,
    options: ReapOptions,
) -> std::io::Result<Operation<Reaped, ReapError>> {
    Operation::start(Reaping { host, journal, options, reaped: Reaped::default() })
}

/// What of a record is to be removed, if anything is.
pub(super) fn remains(record: &Record, domains: &[DomainInfo], boot_id: &str) -> Option<Remains> {
    let alive = |uuid: Uuid| domains.iter().any(|info| info.uuid == uuid);
    // Its record was complete, and whoever was about to unpause it died.
    let unstarted = |info: &DomainInfo| info.uuid == record.guest.uuid && is_unstarted(info);
    if record.boot_id != boot_id {
        Some(Remains::EarlierBoot)
    } else if record.ending || !record.complete || domains.iter().any(unstarted) {
        Some(Remains::Unfinished)
    } else if !alive(record.guest.uuid) && !alive(record.stubdom.uuid) {
        Some(Remains::Gone)
    } else {
        None
    }
}

struct Reaping {
    host: Box<dyn Host>,
    journal: Journal,
    options: ReapOptions,
    reaped: Reaped,
}

impl Reaping {
    fn reap(&mut self) -> Result<(), ReapError> {
        let boot_id = self.host.boot_id()?;
        let domains = self.host.domains()?;
        let (records, unreadable) = self.journal.all()?;
        for record in &records {
            match remains(record, &domains, &boot_id) {
                // Somebody is about to create it again.
                Some(_) if record.again && self.journal.is_supervised(&record.name)? => {
                    self.reaped.busy.extend(self.wanted(&record.name).then(|| record.name.clone()));
                }
                Some(why) if self.wanted(&record.name) => {
                    let reaped = self.record(&record.name, why);
                    self.go_on(&record.name, why, reaped);
                }
                _ => {}
            }
        }
        for error in &unreadable {
            let JournalError::Unreadable { path, .. } = error else { continue };
            let name = path.file_stem().and_then(|stem| Name::new(&stem.to_string_lossy()).ok());
            if let Some(name) = name.filter(|name| self.wanted(name)) {
                let moved = self.set_aside(path);
                self.go_on(&name, Remains::Damaged, moved);
            }
        }
        // Read again: what a killed reap or create left recorded was paid above.
        let known: BTreeSet<Uuid> = self
            .journal
            .all()?
            .0
            .iter()
            .flat_map(|record| [record.guest.uuid, record.stubdom.uuid])
            .collect();
        let orphans = orphans::find(self.host.as_ref(), &self.journal, &known, |name| self.wanted(name))?;
        for (name, pair) in orphans {
            let reaped = self.orphan(&name, &pair, &boot_id);
            self.go_on(&name, Remains::Orphan, reaped);
        }
        if !self.options.dry_run {
            self.journal.tidy(|name| self.wanted(name))?;
        }
        Ok(())
    }

    fn wanted(&self, name: &Name) -> bool {
        self.options.name.as_ref().is_none_or(|wanted| wanted == name)
    }

    fn record(&mut self, name: &Name, why: Remains) -> Result<(), ReapError> {
        if self.options.dry_run {
            if self.journal.is_claimed(name)? {
                self.reaped.busy.push(name.clone());
            } else {
                self.tell(name, why, Outcome::default());
            }
            return Ok(());
        }
        let Some(claim) = self.claim(name)? else { return Ok(()) };
        // Whoever had the name before may have ended it meanwhile.
        let (domains, boot_id) = (self.host.domains()?, self.host.boot_id()?);
        let Some(mut record) = self.journal.find(name)? else { return Ok(()) };
        if let Some(why) = remains(&record, &domains, &boot_id) {
            let outcome = teardown(self.host.as_ref(), &self.journal, &claim, &mut record, After::Nothing);
            self.tell(name, why, outcome);
        }
        Ok(())
    }

    /// The name for this reap alone, unless somebody is about to do something with it: a create that is under way
    /// has marked its domains before it writes their record.
    fn claim(&mut self, name: &Name) -> Result<Option<Claim>, ReapError> {
        match self.journal.claim(name) {
            Err(JournalError::Busy(name)) => {
                self.reaped.busy.push(name);
                Ok(None)
            }
            claim => Ok(Some(claim?)),
        }
    }

    /// What fails with one pair is owed, and no reason to leave the others.
    fn go_on(&mut self, name: &Name, why: Remains, reaped: Result<(), ReapError>) {
        if let Err(error) = reaped {
            let mut outcome = Outcome::default();
            outcome.owe("the whole pair", &error);
            self.tell(name, why, outcome);
        }
    }

    fn tell(&mut self, name: &Name, why: Remains, outcome: Outcome) {
        let Outcome { undone, owed } = outcome;
        self.reaped.pairs.push(ReapedPair { name: name.clone(), why, undone, owed });
    }

    fn set_aside(&mut self, record: &Path) -> Result<(), ReapError> {
        match self.journal.set_aside(record, self.options.dry_run) {
            Err(JournalError::Busy(name)) => self.reaped.busy.push(name),
            to => self.reaped.set_aside.extend(to?),
        }
        Ok(())
    }

    fn orphan(&mut self, name: &Name, pair: &[(Role, DomainInfo)], boot_id: &str) -> Result<(), ReapError> {
        if self.options.dry_run {
            if !self.journal.is_claimed(name)? {
                self.tell(name, Remains::Orphan, Outcome::default());
            }
            return Ok(());
        }
        let Some(claim) = self.claim(name)? else { return Ok(()) };
        let recorded = match self.journal.find(name) {
            // Its own release may know these domains.
            Err(JournalError::OtherVersion { .. }) => return Ok(()),
            found => found?,
        };
        if let Some(record) = recorded {
            if pair.iter().all(|(_, info)| [record.guest.uuid, record.stubdom.uuid].contains(&info.uuid)) {
                // A create that began after the records were read, and ended before its name was claimed.
                return Ok(());
            }
            let owed = pair.iter().map(|(role, info)| Owed {
                what: format!("{} {}", role.as_str(), info.domid),
                why: "another pair of its name is recorded".to_owned(),
            });
            let outcome = Outcome { undone: Vec::new(), owed: owed.collect() };
            self.tell(name, Remains::Orphan, outcome);
            return Ok(());
        }
        let mut record = orphans::record(self.host.as_ref(), name, pair, boot_id)?;
        // On disk before anything is done: if this process ends now, it is an unfinished pair.
        self.journal.write(&record, &claim)?;
        let outcome = teardown(self.host.as_ref(), &self.journal, &claim, &mut record, After::Nothing);
        self.tell(name, Remains::Orphan, outcome);
        Ok(())
    }
}

impl Task for Reaping {
    type Output = Reaped;
    type Error = ReapError;

    fn run(&mut self, _: Job, _: &dyn Fn(super::Event)) -> Reply<Reaped, ReapError> {
        Reply::Done(self.reap().map(|()| std::mem::take(&mut self.reaped)))
    }

    fn panicked(&mut self, message: String) -> ReapError {
        ReapError::Panicked(message)
    }
}
