// SPDX-License-Identifier: GPL-3.0-only
//! Creating a pair again in place of itself: its record says so until it runs, whoever dies meanwhile.

use std::io;

use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use super::{By, Creation};
use crate::config::Name;
use crate::host::Host;
use crate::journal::{Claim, Journal};
use crate::lifecycle::cause::Cause;
use crate::lifecycle::create::{CreateError, CreateStage, Event, Pair};
use crate::lifecycle::operation::{Job, Operation, Reply, Task};

/// More restarts than these are not told apart from many.
const REMEMBERED: usize = 100;

/// Seconds of this boot, which no change of the wall clock moves.
pub(crate) fn seconds_of_boot() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

/// Marks a pair as one that is created again, from its own record; gives when it was restarted, now included.
pub(super) fn begin(journal: &Journal, claim: &Claim, name: &Name, stubdom: Uuid) -> Result<Vec<u64>, Cause> {
    let record = journal.find(name)?.filter(|record| record.is_of(stubdom));
    let mut record = record.ok_or(Cause::Superseded)?;
    if record.ending && !record.again {
        // Somebody began to remove it for good.
        return Err(Cause::Superseded);
    }
    record.restarts.push(seconds_of_boot());
    let old = record.restarts.len().saturating_sub(REMEMBERED);
    record.restarts.drain(..old);
    (record.ending, record.again) = (true, true);
    journal.write(&record, claim)?;
    Ok(record.restarts)
}

/// A create whose config is in the record of the pair that it replaces.
pub(in crate::lifecycle) struct Again {
    name: Name,
    stubdom: Uuid,
    journal: Journal,
    host: Option<Box<dyn Host>>,
    creation: Option<Creation>,
}

impl Again {
    pub(in crate::lifecycle) fn start(
        host: Box<dyn Host>,
        journal: Journal,
        name: Name,
        stubdom: Uuid,
    ) -> io::Result<Operation<Pair, CreateError>> {
        Operation::start(Self { name, stubdom, journal, host: Some(host), creation: None })
    }

    fn load(&mut self) -> Result<(), Cause> {
        let record = self.journal.find(&self.name)?.filter(|record| record.is_of(self.stubdom));
        let config = record.ok_or(Cause::Superseded)?.config().ok_or(Cause::ConfigNotKept)?;
        let by = By::CallerAgain(self.stubdom);
        self.creation = self.host.take().map(|host| Creation::new(host, self.journal.clone(), config, by));
        Ok(())
    }

    fn failed(&self, cause: Cause) -> CreateError {
        CreateError {
            name: self.name.clone(),
            stage: CreateStage::Preflight,
            guest: None,
            stubdom: None,
            cause: Box::new(cause),
            findings: Box::default(),
            undone: Vec::new(),
            owed: Vec::new(),
        }
    }
}

impl Task for Again {
    type Output = Pair;
    type Error = CreateError;

    fn run(&mut self, job: Job, emit: &dyn Fn(Event)) -> Reply<Pair, CreateError> {
        let loaded = if self.creation.is_none() { self.load() } else { Ok(()) };
        match (loaded, &mut self.creation) {
            (Ok(()), Some(creation)) => creation.run(job, emit),
            (Ok(()), None) => Reply::Done(Err(self.failed(Cause::Cancelled))),
            (Err(cause), _) => Reply::Done(Err(self.failed(cause))),
        }
    }

    fn panicked(&mut self, message: String) -> CreateError {
        match &mut self.creation {
            Some(creation) => creation.panicked(message),
            None => self.failed(Cause::Panicked(message)),
        }
    }
}
