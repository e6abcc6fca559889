// SPDX-License-Identifier: GPL-3.0-only
//! What a supervisor tells: one thing that happened to one pair, or to the supervisor itself.

use std::fmt;
use std::time::Duration;

use xen_sys::DomId;

use super::End;
use crate::config::Name;
use crate::lifecycle::{Owed, Pair};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The pair that it is about, if it is about one.
    pub pair: Option<Name>,
    /// Its guest, if it is known.
    pub guest: Option<DomId>,
    /// Its stubdomain, if it is known.
    pub stubdom: Option<DomId>,
    /// What happened.
    pub what: Happening,
}

/// What can happen under a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The pair is looked after from now on.
    Supervised,
    /// It ended.
    Ended(End),
    /// It is going to be removed.
    Removing,
    /// It is going to be created again.
    Restarting {
        /// After this pause.
        after: Duration,
    },
    /// It would be, but was restarted too often: it is going to be removed.
    GivenUp {
        /// So many times...
        count: usize,
        /// ...within this time.
        within: Duration,
    },
    /// It is left as it is.
    Kept,
    /// It is gone.
    Removed,
    /// It was created again, and runs.
    Restarted(Pair),
    /// An act failed, and is tried again.
    Failed {
        /// Why.
        why: String,
        /// What is left; it is recorded.
        owed: Vec<Owed>,
        /// The next try.
        retry: Duration,
    },
    /// Its QEMU, which was silent, answers again.
    AnswersAgain,
    /// Somebody else ended it.
    Forgotten,
    /// Xen or xenstored cannot be asked; it is tried again.
    Trouble(String),
}

impl Happening {
    /// Whether somebody should look at it.
    pub fn is_warning(&self) -> bool {
        let lost_qemu = |end: &End| matches!(end, End::StubdomDied { .. } | End::QemuSilent { .. });
        match self {
            Self::Ended(end) => lost_qemu(end),
            happening => matches!(happening, Self::GivenUp { .. } | Self::Failed { .. } | Self::Trouble(_)),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supervised => f.write_str("is looked after"),
            Self::Ended(end) => write!(f, "{end}"),
            Self::Removing => f.write_str("is being removed"),
            Self::Restarting { after: Duration::ZERO } => f.write_str("is being restarted"),
            Self::Restarting { after } => write!(f, "will be restarted in {} s", after.as_secs()),
            Self::GivenUp { count, within } => {
                let (count, within) = (count, within.as_secs());
                write!(f, "was restarted {count} times within {within} s: given up, it is being removed")
            }
            Self::Kept => f.write_str("is left as it is"),
            Self::Removed => f.write_str("is gone"),
            Self::Restarted(pair) => {
                write!(f, "runs again: guest {}, stubdom {}", pair.guest, pair.stubdom)
            }
            Self::Failed { why, owed, retry } => {
                write!(f, "{why}")?;
                for owed in owed {
                    write!(f, "; left behind: {} ({})", owed.what, owed.why)?;
                }
                write!(f, "; tried again in {} s", retry.as_secs())
            }
            Self::AnswersAgain => f.write_str("has a QEMU that answers again"),
            Self::Forgotten => f.write_str("was ended by somebody else"),
            Self::Trouble(why) => write!(f, "{why}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.pair, &self.what) {
            (Some(pair), Happening::Ended(end)) => write!(f, "{pair}: {end}"),
            (Some(pair), Happening::Failed { .. }) => write!(f, "{pair}: {}", self.what),
            (Some(pair), what) => write!(f, "{pair} {what}"),
            (None, what) => write!(f, "{what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use xen_sys::ShutdownReason;

    use super::*;

    fn told(what: Happening) -> String {
        let name = Name::new("web").expect("a name");
        let report = Report { pair: Some(name), guest: None, stubdom: None, what };
        format!("{}{report}\n", if report.what.is_warning() { "! " } else { "" })
    }

    #[test]
    fn everything_that_can_happen_is_told_in_the_words_that_were_reviewed() {
        let second = Duration::from_secs(1);
        let name = Name::new("web").expect("a name");
        let pair = Pair { name, uuid: Uuid::nil(), guest: DomId::new(7), stubdom: DomId::new(8) };
        let owed = vec![Owed { what: "stubdom 8".to_owned(), why: "Xen still lists it".to_owned() }];
        let words = || Some("QEMU ended: signal 11".to_owned());
        let reasons = [
            ShutdownReason::Poweroff,
            ShutdownReason::Reboot,
            ShutdownReason::Suspend,
            ShutdownReason::Crash,
            ShutdownReason::Watchdog,
            ShutdownReason::SoftReset,
            ShutdownReason::Unknown(42),
        ];
        let ends = reasons.map(End::Guest).into_iter().chain([
            End::GuestDestroyed,
            End::StubdomDied { reason: Some(ShutdownReason::Crash), words: words() },
            End::StubdomDied { reason: None, words: None },
            End::QemuSilent { why: "QEMU did not answer".to_owned() },
            End::Unfinished,
        ]);
        let rest = [
            Happening::Supervised,
            Happening::Removing,
            Happening::Restarting { after: Duration::ZERO },
            Happening::Restarting { after: second },
            Happening::GivenUp { count: 5, within: Duration::from_secs(600) },
            Happening::Kept,
            Happening::Removed,
            Happening::Restarted(pair),
            Happening::Failed { why: "not all could be removed".to_owned(), owed, retry: second },
            Happening::AnswersAgain,
            Happening::Forgotten,
        ];
        let all: String = ends.map(Happening::Ended).chain(rest).map(told).collect();
        expect_test::expect![[r#"
            web: the guest powered off
            web: the guest rebooted
            web: the guest suspended itself
            web: the guest crashed
            web: the guest's watchdog fired
            web: the guest asked for a soft reset
            web: the guest shut down (unknown (42))
            web: somebody destroyed the guest
            ! web: the stubdom died (crash): QEMU ended: signal 11
            ! web: somebody destroyed the stubdom
            ! web: QEMU is silent: QEMU did not answer
            web: its create, restart or removal did not end
            web is looked after
            web is being removed
            web is being restarted
            web will be restarted in 1 s
            ! web was restarted 5 times within 600 s: given up, it is being removed
            web is left as it is
            web is gone
            web runs again: guest 7, stubdom 8
            ! web: not all could be removed; left behind: stubdom 8 (Xen still lists it); tried again in 1 s
            web has a QEMU that answers again
            web was ended by somebody else
        "#]]
        .assert_eq(&all);
        let what = Happening::Trouble("Xen does not answer".to_owned());
        let report = Report { pair: None, guest: None, stubdom: None, what };
        assert_eq!((report.to_string().as_str(), report.what.is_warning()), ("Xen does not answer", true));
    }
}
