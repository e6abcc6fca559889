// SPDX-License-Identifier: GPL-3.0-only
//! What the exit status means.

use std::process::ExitCode;

/// Exit statuses other than 0, which is: done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It failed; everything was rolled back.
    Failed = 1,
    /// The command line or the config is wrong; nothing was touched.
    Usage = 2,
    /// This host cannot do it; nothing was touched.
    HostUnusable = 3,
    /// It failed, and something is left: the message names it, the journal keeps it.
    Owed = 4,
}

impl Status {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::HostUnusable => 3,
            Self::Owed => 4,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.number())
    }
}
