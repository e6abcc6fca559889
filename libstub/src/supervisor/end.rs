// SPDX-License-Identifier: GPL-3.0-only
//! How a pair ended, and what follows from it. Pure.

use std::fmt;
use std::time::Duration;

use xen_sys::ShutdownReason;

use crate::config::{Action, EndKind, Policy};
use crate::lifecycle::Life;

/// The first of several restarts is at once, each later one waits twice as long as the one before, up to this.
const LONGEST_PAUSE: u64 = 60;

/// How a pair ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The guest shut down, for this reason.
    Guest(ShutdownReason),
    /// Somebody destroyed the guest.
    GuestDestroyed,
    /// The stubdomain died.
    StubdomDied {
        /// Its shutdown reason; `None` if somebody destroyed it.
        reason: Option<ShutdownReason>,
        /// What it said of its end, or of QEMU's, escaped.
        words: Option<String>,
    },
    /// QEMU in the stubdomain does not answer.
    QemuSilent {
        /// What came instead of an answer, escaped.
        why: String,
    },
    /// A create, a restart or a removal was begun by a process that is no more.
    Unfinished,
}

impl End {
    /// The kind that the config has a key for, if it has one.
    pub fn kind(&self) -> Option<EndKind> {
        Some(match self {
            Self::Guest(ShutdownReason::Poweroff) => EndKind::Poweroff,
            Self::Guest(ShutdownReason::Reboot) => EndKind::Reboot,
            Self::Guest(ShutdownReason::Watchdog) => EndKind::Watchdog,
            Self::Guest(ShutdownReason::SoftReset) => EndKind::SoftReset,
            Self::Guest(ShutdownReason::Crash | ShutdownReason::Unknown(_)) => EndKind::Crash,
            Self::StubdomDied { .. } | Self::QemuSilent { .. } => EndKind::DeviceModelDeath,
            Self::Guest(ShutdownReason::Suspend) | Self::GuestDestroyed | Self::Unfinished => return None,
        })
    }

    /// What two domains show that were complete and running. The guest's own word counts first: with its end the
    /// stubdomain may end as well.
    pub(super) fn of(guest: Life, stubdom: Life) -> Option<Self> {
        Some(match (guest, stubdom) {
            (Life::Shutdown(reason), _) => Self::Guest(reason),
            (Life::Gone, _) => Self::GuestDestroyed,
            (Life::Alive, Life::Shutdown(reason)) => Self::StubdomDied { reason: Some(reason), words: None },
            (Life::Alive, Life::Gone) => Self::StubdomDied { reason: None, words: None },
            (Life::Alive, Life::Alive) => return None,
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(ShutdownReason::Poweroff) => f.write_str("the guest powered off"),
            Self::Guest(ShutdownReason::Reboot) => f.write_str("the guest rebooted"),
            Self::Guest(ShutdownReason::Suspend) => f.write_str("the guest suspended itself"),
            Self::Guest(ShutdownReason::Crash) => f.write_str("the guest crashed"),
            Self::Guest(ShutdownReason::Watchdog) => f.write_str("the guest's watchdog fired"),
            Self::Guest(ShutdownReason::SoftReset) => f.write_str("the guest asked for a soft reset"),
            Self::Guest(reason) => write!(f, "the guest shut down ({reason})"),
            Self::GuestDestroyed => f.write_str("somebody destroyed the guest"),
            Self::StubdomDied { reason, words } => {
                match reason {
                    Some(reason) => write!(f, "the stubdom died ({reason})")?,
                    None => f.write_str("somebody destroyed the stubdom")?,
                }
                words.as_ref().map_or(Ok(()), |words| write!(f, ": {words}"))
            }
            Self::QemuSilent { why } => write!(f, "QEMU is silent: {why}"),
            Self::Unfinished => f.write_str("its create, restart or removal did not end"),
        }
    }
}

/// How often a pair may be restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// So many times...
    pub count: usize,
    /// ...within this time.
    pub within: Duration,
}

impl Default for RestartLimit {
    fn default() -> Self {
        Self { count: 5, within: Duration::from_secs(600) }
    }
}

/// What is done about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The pair is removed.
    Remove,
    /// It is created again, after a pause.
    Again(Duration),
    /// It would be, but was too often: it is removed.
    GiveUp,
    /// It is left as it is.
    Keep,
}

/// Decides. `restarts` and `now` are in seconds of this boot; `again` is whether an unfinished pair was being created
/// in place of itself.
pub(super) fn decide(
    end: &End,
    again: bool,
    policy: &Policy,
    restarts: &[u64],
    now: u64,
    limit: &RestartLimit,
) -> Decision {
    let action = match (end, end.kind()) {
        (_, Some(kind)) => policy.action(kind),
        // Its state is for whoever asked for it.
        (End::Guest(_), None) => Action::Preserve,
        (End::Unfinished, None) if again => Action::Restart,
        // What somebody destroyed is to be gone.
        (_, None) => Action::Destroy,
    };
    match action {
        Action::Destroy => Decision::Remove,
        Action::Preserve => Decision::Keep,
        Action::Restart => {
            let recent = |at: &&u64| now.saturating_sub(**at) < limit.within.as_secs();
            match restarts.iter().filter(recent).count() {
                count if count >= limit.count => Decision::GiveUp,
                0 => Decision::Again(Duration::ZERO),
                count => Decision::Again(pause(count)),
            }
        }
    }
}

fn pause(count: usize) -> Duration {
    let doublings = u32::try_from(count - 1).unwrap_or(u32::MAX);
    Duration::from_secs(2_u64.checked_pow(doublings).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RestartLimit = RestartLimit { count: 3, within: Duration::from_secs(100) };

    fn died() -> End {
        End::StubdomDied { reason: Some(ShutdownReason::Crash), words: None }
    }

    fn silent() -> End {
        End::QemuSilent { why: String::new() }
    }

    /// A policy that says the same of everything.
    fn all(action: Action) -> Policy {
        let said = Some(action);
        Policy {
            poweroff: said,
            reboot: said,
            watchdog: said,
            crash: said,
            soft_reset: said,
            device_model_death: said,
        }
    }

    #[test]
    fn each_end_has_its_decision() {
        use Decision::{Again, Keep, Remove};
        use ShutdownReason::{Crash, Poweroff, Reboot, SoftReset, Suspend, Unknown, Watchdog};
        let now = Again(Duration::ZERO);
        // The end; what is done by default, with destroy, with restart, with preserve.
        let table = [
            (End::Guest(Poweroff), [Remove, Remove, now, Keep]),
            (End::Guest(Reboot), [now, Remove, now, Keep]),
            (End::Guest(Crash), [Remove, Remove, now, Keep]),
            (End::Guest(Watchdog), [Remove, Remove, now, Keep]),
            (End::Guest(SoftReset), [now, Remove, now, Keep]),
            (End::Guest(Unknown(9)), [Remove, Remove, now, Keep]),
            (End::Guest(Suspend), [Keep, Keep, Keep, Keep]),
            (End::GuestDestroyed, [Remove, Remove, Remove, Remove]),
            (End::Unfinished, [Remove, Remove, Remove, Remove]),
            (died(), [Remove, Remove, now, Keep]),
            (silent(), [Remove, Remove, now, Keep]),
        ];
        let policies = [Policy::default(), all(Action::Destroy), all(Action::Restart), all(Action::Preserve)];
        for (end, decisions) in table {
            for (policy, want) in policies.iter().zip(decisions) {
                assert_eq!(decide(&end, false, policy, &[], 7, &LIMIT), want, "{end}, {policy:?}");
            }
        }
    }

    #[test]
    fn only_the_key_of_an_end_decides_about_it() {
        for kind in EndKind::ALL {
            let mut policy = all(Action::Destroy);
            let said = match kind {
                EndKind::Poweroff => &mut policy.poweroff,
                EndKind::Reboot => &mut policy.reboot,
                EndKind::Watchdog => &mut policy.watchdog,
                EndKind::Crash => &mut policy.crash,
                EndKind::SoftReset => &mut policy.soft_reset,
                EndKind::DeviceModelDeath => &mut policy.device_model_death,
            };
            *said = Some(Action::Preserve);
            for end in [
                End::Guest(ShutdownReason::Poweroff),
                End::Guest(ShutdownReason::Reboot),
                End::Guest(ShutdownReason::Watchdog),
                End::Guest(ShutdownReason::Crash),
                End::Guest(ShutdownReason::SoftReset),
                died(),
            ] {
                let want = if end.kind() == Some(kind) { Decision::Keep } else { Decision::Remove };
                assert_eq!(decide(&end, false, &policy, &[], 7, &LIMIT), want, "{end}");
            }
        }
    }

    #[test]
    fn a_restart_that_was_interrupted_is_gone_on_with() {
        let policy = all(Action::Destroy);
        let decided = |restarts: &[u64]| decide(&End::Unfinished, true, &policy, restarts, 50, &LIMIT);
        assert_eq!(decided(&[]), Decision::Again(Duration::ZERO));
        assert_eq!(decided(&[50, 50, 50]), Decision::GiveUp);
    }

    #[test]
    fn restarts_come_slower_each_time_and_end_at_the_limit_of_their_time() {
        let policy = all(Action::Restart);
        let decided = |restarts: &[u64], now| {
            decide(&End::Guest(ShutdownReason::Crash), false, &policy, restarts, now, &LIMIT)
        };
        let after = |seconds| Decision::Again(Duration::from_secs(seconds));
        assert_eq!(decided(&[], 1000), after(0));
        assert_eq!(decided(&[1000], 1000), after(1));
        assert_eq!(decided(&[990, 1000], 1000), after(2));
        assert_eq!(decided(&[980, 990, 1000], 1000), Decision::GiveUp);
        assert_eq!(decided(&[980, 990, 1000], 1079), Decision::GiveUp);
        assert_eq!(decided(&[980, 990, 1000], 1080), after(2), "the first is too long ago to count");
        assert_eq!(decided(&[980, 990, 1000], 2000), after(0));
        assert_eq!([1, 2, 3, 7, 100].map(|count| pause(count).as_secs()), [1, 2, 4, 60, 60]);
    }

    #[test]
    fn the_guests_own_word_counts_before_its_stubdoms_death() {
        use ShutdownReason::{Crash, Poweroff};
        let of = End::of(Life::Shutdown(Poweroff), Life::Shutdown(Poweroff));
        assert_eq!(of, Some(End::Guest(Poweroff)));
        assert_eq!(End::of(Life::Shutdown(Poweroff), Life::Gone), Some(End::Guest(Poweroff)));
        assert_eq!(End::of(Life::Gone, Life::Alive), Some(End::GuestDestroyed));
        assert_eq!(End::of(Life::Gone, Life::Gone), Some(End::GuestDestroyed));
        assert_eq!(End::of(Life::Alive, Life::Shutdown(Crash)), Some(died()));
        let gone = End::StubdomDied { reason: None, words: None };
        assert_eq!(End::of(Life::Alive, Life::Gone), Some(gone));
        assert_eq!(End::of(Life::Alive, Life::Alive), None);
    }
}
