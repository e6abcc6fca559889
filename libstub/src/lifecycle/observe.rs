// SPDX-License-Identifier: GPL-3.0-only
//! What can be seen of a pair that is coming up, and what follows from it. The second part is pure.

use proto::{Stage, keys};
use xen_sys::{DomId, DomainInfo, ShutdownReason};

use super::cause::Cause;
use crate::console::escaped;
use crate::host::{Host, HostError};
use crate::journal::DomainMark;

/// One look at a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) guest: Life,
    pub(super) stubdom: Life,
    pub(super) stage: Option<Stage>,
    pub(super) failed: Option<String>,
    pub(super) qemu_exit: Option<String>,
    pub(super) ready: bool,
    /// How far the stubdomain's console is, if that was looked at.
    pub(super) console: Option<u32>,
}

/// How far a stubdomain is. It says so itself, so that only a difference between two tells anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    stage: Option<Stage>,
    console: Option<u32>,
}

/// Whether a domain can still do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// Shut down, for this reason; nothing of it runs any more.
    Shutdown(ShutdownReason),
    /// Destroyed, or another domain has its id.
    Gone,
}

/// What an [`Observation`] means.
#[derive(Debug)]
pub(super) enum Verdict {
    Wait,
    Ready,
    Failed(Cause),
}

impl Life {
    pub(crate) fn of(info: Option<&DomainInfo>, mark: &DomainMark) -> Self {
        match info {
            Some(info) if info.uuid != mark.uuid || info.dying => Self::Gone,
            Some(DomainInfo { shutdown: Some(reason), .. }) => Self::Shutdown(*reason),
            Some(_) => Self::Alive,
            None => Self::Gone,
        }
    }
}

/// Looks at a pair: the domains first, so that what a dead one wrote before its death is complete.
pub(super) fn observe(
    host: &dyn Host,
    guest: (DomId, &DomainMark),
    stubdom: (DomId, &DomainMark),
) -> Result<Observation, HostError> {
    let guest_life = Life::of(host.domain(guest.0)?.as_ref(), guest.1);
    let stubdom_life = Life::of(host.domain(stubdom.0)?.as_ref(), stubdom.1);
    let directory = keys::device_model(stubdom.0.get(), guest.0.get());
    let read = |name: &str| host.read(&format!("{directory}/{name}"));
    Ok(Observation {
        guest: guest_life,
        stubdom: stubdom_life,
        stage: read(keys::name::STAGE)?.and_then(|value| Stage::parse(&value)),
        failed: read(keys::name::FAILED)?.map(|text| escaped(&text[..text.len().min(proto::MAX_FAILED)])),
        qemu_exit: read(keys::name::QEMU_EXIT)?.map(|text| escaped(&text[..text.len().min(64)])),
        ready: read(keys::name::STATE)?.as_deref() == Some(keys::READY),
        console: None,
    })
}

impl Observation {
    pub(super) fn sign(&self) -> Sign {
        Sign { stage: self.stage, console: self.console }
    }

    /// Death outranks readiness: a pair of which half is gone is not ready, whatever its keys say.
    pub(super) fn verdict(&self) -> Verdict {
        if let Some(report) = &self.failed {
            return Verdict::Failed(Cause::StubdomFailed { report: report.clone() });
        }
        if let Some(exit) = &self.qemu_exit {
            return Verdict::Failed(Cause::QemuEnded { exit: exit.clone() });
        }
        match (self.stubdom, self.guest) {
            (Life::Shutdown(reason), _) => Verdict::Failed(Cause::StubdomDied { reason: Some(reason) }),
            (Life::Gone, _) => Verdict::Failed(Cause::StubdomDied { reason: None }),
            (Life::Alive, Life::Shutdown(reason)) => {
                Verdict::Failed(Cause::GuestDied { reason: Some(reason) })
            }
            (Life::Alive, Life::Gone) => Verdict::Failed(Cause::GuestDied { reason: None }),
            (Life::Alive, Life::Alive) if self.ready => Verdict::Ready,
            (Life::Alive, Life::Alive) => Verdict::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive() -> Observation {
        Observation {
            guest: Life::Alive,
            stubdom: Life::Alive,
            stage: None,
            failed: None,
            qemu_exit: None,
            ready: false,
            console: None,
        }
    }

    #[test]
    fn a_death_beats_the_ready_key() {
        let ready = Observation { ready: true, ..alive() };
        assert!(matches!(ready.verdict(), Verdict::Ready));
        let crash = Life::Shutdown(ShutdownReason::Crash);
        for dead in [
            Observation { stubdom: crash, ..ready.clone() },
            Observation { guest: crash, ..ready.clone() },
            Observation { stubdom: Life::Gone, ..ready.clone() },
            Observation { qemu_exit: Some("exit 1".into()), ..ready.clone() },
        ] {
            assert!(matches!(dead.verdict(), Verdict::Failed(_)), "{dead:?}");
        }
    }

    #[test]
    fn what_the_stubdom_reports_explains_its_death() {
        let dead = Observation {
            stubdom: Life::Shutdown(ShutdownReason::Poweroff),
            failed: Some("qemu-started: bad argument".into()),
            ..alive()
        };
        assert!(
            matches!(dead.verdict(), Verdict::Failed(Cause::StubdomFailed { report }) if report.contains("bad"))
        );
    }

    #[test]
    fn nothing_seen_means_wait() {
        assert!(matches!(alive().verdict(), Verdict::Wait));
    }
}
