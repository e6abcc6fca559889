// SPDX-License-Identifier: GPL-3.0-only
//! The worker's side of a create: the steps in their order, each journalled before it is taken.

mod again;
mod findings;
mod steps;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::Stage;
use uuid::Uuid;
use xen_sys::{DomId, Gfn};

use super::cause::Cause;
use super::create::{Clock, CreateError, CreateStage, Event, Milestone, Pair};
use super::observe::{self, Observation, Verdict};
use super::operation::{Job, Reply, Task};
use super::orphans;
use super::plan::{self, Plan};
use super::teardown::{self, After, Outcome};
use crate::config::GuestConfig;
use crate::host::{BackendState, BlockDevice, Host};
use crate::journal::{Claim, DomainMark, Journal, JournalError, Record};
use crate::xenbus::VbdMark;

/// The stubdomain has one vCPU, as libxl gives it.
const STUBDOM_VCPUS: u32 = 1;

/// How often it is looked whether blkback has opened a disk that it was told of long before.
const BACKEND_POLL: Duration = Duration::from_millis(2);
/// How often the pair is looked at meanwhile.
const PAIR_POLL: Duration = Duration::from_millis(100);

pub(super) use again::Again;
pub(crate) use again::seconds_of_boot;

/// A create under way.
pub(super) struct Creation {
    host: Box<dyn Host>,
    journal: Journal,
    config: GuestConfig,
    clock: Clock,
    stage: CreateStage,
    cancel: Arc<AtomicBool>,
    /// The name is this operation's alone from preflight to its end.
    claim: Option<Claim>,
    record: Option<Record>,
    /// The stubdomain's console page, for its last words.
    console: Option<(DomId, Gfn)>,
    /// Disks that blkback may not have opened yet.
    held: Vec<(VbdMark, BlockDevice)>,
    reached: Option<Stage>,
    /// What became of an earlier pair of the name.
    left: Outcome,
    by: By,
    /// When the pair was restarted before.
    restarts: Vec<u64>,
}

/// Who will look after the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A daemon, if there is one; a config that asks for acts needs it.
    Anybody,
    /// Whoever creates it.
    Caller,
    /// The same, in place of the pair of this stubdomain.
    CallerAgain(Uuid),
}

impl By {
    fn again(self) -> bool {
        matches!(self, Self::CallerAgain(_))
    }
}

/// What the steps after the shells work with.
struct Pieces {
    plan: Plan,
    /// The guest's disks, in the order of the config.
    disks: Vec<BlockDevice>,
    guest: DomId,
    stubdom: DomId,
    stubdom_uuid: Uuid,
}

/// A pair whose two domains exist.
struct Ids {
    guest: (DomId, DomainMark),
    stubdom: (DomId, DomainMark),
}

impl Creation {
    pub(super) fn new(host: Box<dyn Host>, journal: Journal, config: GuestConfig, by: By) -> Self {
        Self {
            host,
            journal,
            config,
            clock: Clock::start(),
            stage: CreateStage::Preflight,
            cancel: Arc::default(),
            claim: None,
            record: None,
            console: None,
            held: Vec::new(),
            reached: None,
            left: Outcome::default(),
            by,
            restarts: Vec::new(),
        }
    }

    fn prepare(&mut self, emit: &dyn Fn(Event)) -> Result<(), Cause> {
        let clock = self.clock;
        let tell = |milestone| emit(clock.event(milestone));
        let (plan, disks) = self.stage(CreateStage::Preflight, Self::preflight)?;
        if !self.left.undone.is_empty() {
            tell(Milestone::Reaped);
        }
        tell(Milestone::Checked);
        let waits_for_go = plan.image.waits_for_go;
        let pieces = self.stage(CreateStage::Shells, |this| this.shells(plan, disks))?;
        let Pieces { guest, stubdom, .. } = pieces;
        tell(Milestone::ShellsCreated { guest, stubdom });
        if waits_for_go {
            self.stubdom(&pieces)?;
            tell(Milestone::StubdomBuilt);
            self.stage(CreateStage::Stubdom, |this| Ok(this.host.unpause(stubdom)?))?;
            tell(Milestone::StubdomUnpaused);
            self.stage(CreateStage::Guest, |this| this.guest(&pieces))?;
            tell(Milestone::GuestBuilt);
            self.stage(CreateStage::Devices, |this| {
                // The stubdomain runs and can write: what it makes libxenstore queue must not pile up.
                this.host.drain_watches()?;
                this.devices(&pieces)
            })?;
            tell(Milestone::QemuReleased);
        } else {
            self.stage(CreateStage::Guest, |this| this.guest(&pieces))?;
            tell(Milestone::GuestBuilt);
            self.stubdom(&pieces)?;
            tell(Milestone::StubdomBuilt);
            self.stage(CreateStage::Devices, |this| this.devices(&pieces))?;
            tell(Milestone::QemuReleased);
            self.stage(CreateStage::Stubdom, |this| Ok(this.host.unpause(stubdom)?))?;
            tell(Milestone::StubdomUnpaused);
        }
        self.stage(CreateStage::Ready(None), |_| Ok(()))
    }

    /// Runs a stage in a span of its own; a cancel takes effect before it.
    fn stage<T>(
        &mut self,
        stage: CreateStage,
        steps: impl FnOnce(&mut Self) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        self.stage = stage;
        self.check_cancel()?;
        let (guest, stubdom) = self.domids();
        let (guest, stubdom) = (guest.map(DomId::get), stubdom.map(DomId::get));
        let span =
            tracing::info_span!("create", pair = %self.config.name, stage = stage.as_str(), guest, stubdom);
        span.in_scope(|| {
            tracing::debug!("{stage}");
            steps(self)
        })
    }

    /// The guest's and the stubdomain's id, as far as they exist.
    fn domids(&self) -> (Option<DomId>, Option<DomId>) {
        self.record.as_ref().map(|record| (record.guest.domid, record.stubdom.domid)).unwrap_or_default()
    }

    fn preflight(&mut self) -> Result<(Plan, Vec<BlockDevice>), Cause> {
        let claim = self.journal.claim(&self.config.name)?;
        match self.by {
            By::Anybody => plan::check_supervision(&self.journal, &self.config, false)?,
            By::Caller => plan::check_supervision(&self.journal, &self.config, true)?,
            By::CallerAgain(stubdom) => {
                self.restarts = again::begin(&self.journal, &claim, &self.config.name, stubdom)?;
            }
        }
        let plan = match self.plan(&claim) {
            // What is in the way may be what is left of a pair whose record is damaged or lost.
            Err(Cause::Journal(JournalError::Unreadable { .. }) | Cause::NameTaken { .. })
                if self.clear_lost(&claim)? =>
            {
                self.plan(&claim)?
            }
            plan => plan?,
        };
        let journal = &self.journal;
        if let Err(error) = journal.remember(&plan.verified, &self.config.name, &claim) {
            // It costs the next create time, and this one nothing.
            tracing::warn!(%error, "the image will be read again");
        }
        self.claim = Some(claim);
        // A disk that somebody else writes is refused before there are domains; until blkback takes them, loop
        // devices are held by this process alone, and go with it.
        let disks = self.config.disks.iter().map(|disk| self.open(&disk.target, disk.mode));
        Ok((plan, disks.collect::<Result<Vec<_>, _>>()?))
    }

    /// Checks everything, and removes what the journal knows of an earlier pair of the name.
    fn plan(&mut self, claim: &Claim) -> Result<Plan, Cause> {
        let (host, journal) = (self.host.as_ref(), &self.journal);
        let mut left = Outcome::default();
        let plan = plan::plan(host, journal, &self.config, |mut record, _| {
            let after = After::failed(&record);
            left = teardown::teardown(host, journal, claim, &mut record, after);
            if left.owed.is_empty() { Ok(Vec::new()) } else { Err(Cause::LeftBehind) }
        });
        self.left.add(left);
        plan
    }

    /// Removes what is left of a pair of the name whose record is damaged or lost; whether there was anything.
    fn clear_lost(&mut self, claim: &Claim) -> Result<bool, Cause> {
        let Some(left) = orphans::lost(self.host.as_ref(), &self.journal, claim, &self.config.name)? else {
            return Ok(false);
        };
        self.left.add(left);
        if self.left.owed.is_empty() { Ok(true) } else { Err(Cause::LeftBehind) }
    }

    fn check_cancel(&self) -> Result<(), Cause> {
        if self.cancel.load(Ordering::Relaxed) { Err(Cause::Cancelled) } else { Ok(()) }
    }

    /// Changes the record and has it on disk before anything else happens.
    fn note(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), Cause> {
        if let (Some(record), Some(claim)) = (&mut self.record, &self.claim) {
            change(record);
            self.journal.write(record, claim)?;
        }
        Ok(())
    }

    fn observe(&mut self, emit: &dyn Fn(Event)) -> Result<Observation, Cause> {
        self.host.drain_watches()?;
        let Ids { guest, stubdom } = self.created()?;
        let seen = observe::observe(self.host.as_ref(), (guest.0, &guest.1), (stubdom.0, &stubdom.1))?;
        let seen = Observation { console: self.console_index(), ..seen };
        // Stages that passed between two looks are told with the one that was seen.
        let passed = |stage: &Stage| Some(*stage) > self.reached && Some(*stage) <= seen.stage;
        for stage in Stage::ALL.into_iter().filter(passed) {
            emit(self.clock.event(Milestone::Stubdom(stage)));
        }
        self.reached = self.reached.max(seen.stage);
        Ok(seen)
    }

    fn created(&self) -> Result<Ids, Cause> {
        let ids = self.record.as_ref().and_then(|Record { guest, stubdom, .. }| {
            Some(Ids { guest: (guest.domid?, *guest), stubdom: (stubdom.domid?, *stubdom) })
        });
        ids.ok_or_else(|| Cause::Panicked("there are no domains to look at".to_owned()))
    }

    fn finish(&mut self, emit: &dyn Fn(Event)) -> Result<Pair, Cause> {
        emit(self.clock.event(Milestone::ReadySeen));
        self.wait_backends(emit)?;
        self.note(|record| record.complete = true)?;
        // The pair may have died, and the caller have changed its mind, since the ready key was seen.
        if let Verdict::Failed(cause) = self.observe(emit)?.verdict() {
            return Err(cause);
        }
        self.check_cancel()?;
        let Ids { guest, stubdom } = self.created()?;
        self.unpause_guest(guest.0)?;
        emit(self.clock.event(Milestone::GuestUnpaused));
        Ok(Pair { name: self.config.name.clone(), uuid: guest.1.uuid, guest: guest.0, stubdom: stubdom.0 })
    }

    /// blkback must have every disk open before our own hold on it ends.
    fn wait_backends(&mut self, emit: &dyn Fn(Event)) -> Result<(), Cause> {
        let deadline = Instant::now() + self.config.stubdom.timeout;
        let mut next_look = Instant::now();
        let vbds: Vec<VbdMark> = self.held.iter().map(|(vbd, _)| *vbd).collect();
        for vbd in vbds {
            let VbdMark { domid, devid } = vbd;
            while self.host.backend(domid, devid)? != BackendState::Open {
                self.check_cancel()?;
                // A frontend that died never comes to it.
                if Instant::now() >= next_look {
                    if let Verdict::Failed(cause) = self.observe(emit)?.verdict() {
                        return Err(cause);
                    }
                    next_look = Instant::now() + PAIR_POLL;
                }
                let complaint = self.host.read(&vbd.backend_error())?;
                if complaint.is_some() || Instant::now() >= deadline {
                    return Err(Cause::BackendStuck { domid, devid });
                }
                std::thread::sleep(BACKEND_POLL);
            }
        }
        self.held.clear();
        Ok(())
    }

    /// The last act of a create.
    fn unpause_guest(&self, guest: DomId) -> Result<(), Cause> {
        self.host.unpause(guest)?;
        Ok(())
    }

    fn abort(&mut self, cause: Cause) -> CreateError {
        let findings = Box::new(self.findings());
        let (guest, stubdom) = self.domids();
        let Outcome { undone, owed } = match (&mut self.record, &self.claim) {
            (Some(record), Some(claim)) => {
                record.complete = false;
                let after = After::failed(record);
                // Until the domains are gone, blkback may still be about to open what is held.
                let held = std::mem::take(&mut self.held);
                teardown::teardown_holding(self.host.as_ref(), &self.journal, claim, record, after, held)
            }
            _ => std::mem::take(&mut self.left),
        };
        (self.record, self.claim) = (None, None);
        CreateError {
            name: self.config.name.clone(),
            stage: self.stage,
            guest,
            stubdom,
            cause: Box::new(cause),
            findings,
            undone,
            owed,
        }
    }
}

impl Task for Creation {
    type Output = Pair;
    type Error = CreateError;

    fn run(&mut self, job: Job, emit: &dyn Fn(Event)) -> Reply<Pair, CreateError> {
        let result = match job {
            Job::Prepare(cancel) => {
                self.cancel = cancel;
                let timeout = self.config.stubdom.timeout;
                self.prepare(emit).map(|()| Reply::Wait { watch: self.host.watch_fd(), timeout })
            }
            Job::Observe => self.stage(CreateStage::Ready(self.reached), |this| {
                let seen = this.observe(emit)?;
                this.stage = CreateStage::Ready(this.reached);
                Ok(Reply::Observed(seen))
            }),
            Job::Finish => {
                self.stage(CreateStage::Unpause, |this| this.finish(emit)).map(|pair| Reply::Done(Ok(pair)))
            }
            Job::Abort(cause) => Err(cause),
        };
        result.unwrap_or_else(|cause| Reply::Done(Err(self.abort(cause))))
    }

    fn panicked(&mut self, message: String) -> CreateError {
        self.abort(Cause::Panicked(message))
    }
}
