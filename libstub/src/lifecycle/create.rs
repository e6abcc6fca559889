// SPDX-License-Identifier: GPL-3.0-only
//! What a create takes, tells while it runs, and ends in.

use std::fmt;
use std::time::{Duration, Instant};

use uuid::Uuid;
use xen_sys::{DomId, ShutdownReason};

use super::cause::Cause;
use super::creation::{Again, By, Creation};
use super::operation::Operation;
use super::teardown::Owed;
use crate::code::Code;
use crate::config::{GuestConfig, Name};
use crate::host::Host;
use crate::journal::Journal;

/// Creates a guest and its stubdomain, and unpauses the guest when its QEMU is ready.
///
/// # Errors
/// [`std::io::Error`] if no event loop or worker can be made; all else comes as the operation's result, and by
/// then everything that was made is undone, or named as owed.
pub fn create(
    host: Box<dyn Host>,
    journal: Journal,
    config: GuestConfig,
) -> std::io::Result<Operation<Pair, CreateError>> {
    Operation::start(Creation::new(host, journal, config, By::Anybody))
}

/// The same by who looks after the pair from then on.
pub(crate) fn create_supervised(
    host: Box<dyn Host>,
    journal: Journal,
    config: GuestConfig,
) -> std::io::Result<Operation<Pair, CreateError>> {
    Operation::start(Creation::new(host, journal, config, By::Caller))
}

/// Creates the pair of this very stubdomain again, in place of itself, from its record.
pub(crate) fn create_again(
    host: Box<dyn Host>,
    journal: Journal,
    name: Name,
    stubdom: Uuid,
) -> std::io::Result<Operation<Pair, CreateError>> {
    Again::start(host, journal, name, stubdom)
}

/// A guest and its stubdomain, running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its name.
    pub name: Name,
    /// The guest's uuid.
    pub uuid: Uuid,
    /// The guest.
    pub guest: DomId,
    /// The stubdomain.
    pub stubdom: DomId,
}

/// Something that happened during a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub milestone: Milestone,
    /// Time since the create began.
    pub at: Duration,
}

/// What can happen during a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// Config, host, image, disks and memory are as they must be; nothing is made yet.
    Checked,
    /// What was left of an earlier pair of the name is removed.
    Reaped,
    /// Guest and stubdomain exist, empty and paused.
    ShellsCreated {
        /// The guest.
        guest: DomId,
        /// The stubdomain.
        stubdom: DomId,
    },
    /// The stubdomain's kernel is loaded, and it is tied to its guest.
    StubdomBuilt,
    /// The stubdomain runs.
    StubdomUnpaused,
    /// The guest's memory is populated and its firmware loaded.
    GuestBuilt,
    /// QEMU's arguments and disks are there, and it may start.
    QemuReleased,
    /// The stubdomain says how far it is.
    Stubdom(proto::Stage),
    /// QEMU wrote the ready key.
    ReadySeen,
    /// The guest runs: the create is complete.
    GuestUnpaused,
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShellsCreated { guest, stubdom } => {
                write!(f, "shells created: guest {guest}, stubdom {stubdom}")
            }
            Self::Checked => f.write_str("checked"),
            Self::Reaped => f.write_str("the remains of an earlier pair are removed"),
            Self::StubdomBuilt => f.write_str("stubdom built"),
            Self::StubdomUnpaused => f.write_str("stubdom unpaused"),
            Self::GuestBuilt => f.write_str("guest built"),
            Self::QemuReleased => f.write_str("QEMU released"),
            Self::Stubdom(proto::Stage::Booted) => f.write_str("kernel up"),
            Self::Stubdom(proto::Stage::Waiting) => f.write_str("rootfs mounted"),
            Self::Stubdom(proto::Stage::Devices) => f.write_str("devices set up"),
            Self::Stubdom(proto::Stage::QemuStarted) => f.write_str("QEMU started"),
            Self::Stubdom(proto::Stage::Ready) => f.write_str("stubdom says ready"),
            Self::ReadySeen => f.write_str("ready key seen"),
            Self::GuestUnpaused => f.write_str("guest unpaused"),
        }
    }
}

/// The part of a create in which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateStage {
    /// Nothing was touched yet.
    Preflight,
    /// Guest and stubdomain are created, empty and paused.
    Shells,
    /// The stubdomain is built and tied to its guest.
    Stubdom,
    /// The root filesystem is attached.
    Rootfs,
    /// The guest is built.
    Guest,
    /// The disks are attached and QEMU released.
    Devices,
    /// The wait for the ready key, with the last stage that the stubdomain reported.
    Ready(Option<proto::Stage>),
    /// The pair is complete and the guest unpaused.
    Unpause,
}

impl CreateStage {
    /// The stage as scripts and log filters read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Shells => "shells",
            Self::Stubdom => "stubdom",
            Self::Rootfs => "rootfs",
            Self::Guest => "guest",
            Self::Devices => "devices",
            Self::Ready(_) => "ready",
            Self::Unpause => "unpause",
        }
    }
}

impl fmt::Display for CreateStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preflight => f.write_str("in preflight"),
            Self::Shells => f.write_str("creating the domains"),
            Self::Stubdom => f.write_str("building the stubdom"),
            Self::Rootfs => f.write_str("attaching the rootfs"),
            Self::Guest => f.write_str("building the guest"),
            Self::Devices => f.write_str("attaching the devices"),
            Self::Ready(None) => f.write_str("waiting for the stubdom's kernel"),
            Self::Ready(Some(stage)) => write!(f, "waiting for QEMU, stubdom at stage {stage}"),
            Self::Unpause => f.write_str("unpausing the guest"),
        }
    }
}

/// A create that failed. What it had made is undone, but for what is owed.
#[derive(Debug, thiserror::Error)]
#[error("create of {name} failed {stage}{}", ids(*.guest, *.stubdom))]
pub struct CreateError {
    /// The pair that was to be.
    pub name: Name,
    /// How far it came.
    pub stage: CreateStage,
    /// The guest, if it was created.
    pub guest: Option<DomId>,
    /// The stubdomain, if it was created.
    pub stubdom: Option<DomId>,
    /// Why it failed.
    #[source]
    pub cause: Box<Cause>,
    /// What was seen of the pair before it was undone.
    pub findings: Box<Findings>,
    /// What was removed, in order.
    pub undone: Vec<String>,
    /// What could not be removed and is still recorded.
    pub owed: Vec<Owed>,
}

/// The last look at a pair that did not come up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why the stubdomain shut down, if it had.
    pub shutdown: Option<ShutdownReason>,
    /// How QEMU ended in it, escaped, if it had.
    pub qemu_exit: Option<String>,
    /// The last lines of the stubdomain's console, escaped.
    pub console: Vec<String>,
    /// The state of each device that should have been connected and was not.
    pub unconnected: Vec<String>,
}

impl CreateError {
    /// The cause under its stable name.
    pub fn code(&self) -> Code {
        self.cause.code()
    }
}

fn ids(guest: Option<DomId>, stubdom: Option<DomId>) -> String {
    let name = |role, domid: Option<DomId>| domid.map(|domid| format!("{role} {domid}"));
    let ids: Vec<String> = [name("guest", guest), name("stubdom", stubdom)].into_iter().flatten().collect();
    if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) }
}

/// Time since a create began, for its events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn event(self, milestone: Milestone) -> Event {
        Event { milestone, at: self.0.elapsed() }
    }
}
