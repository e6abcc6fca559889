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
            Self::AnswersAgain => f.write_str("its QEMU answers again"),
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
