// SPDX-License-Identifier: GPL-3.0-only
//! The right to look after pairs: each pair has one supervisor at most, and all others have one for the rest.

use std::fs::File;
use std::path::PathBuf;

use super::lock::{self, Right};
use super::{Journal, JournalError};
use crate::config::Name;

/// The pairs that this process looks after; with its death, or when this is dropped, others may.
#[derive(Debug)]
pub(crate) struct Supervision {
    directory: PathBuf,
    /// One descriptor, however many pairs.
    file: File,
}

impl Supervision {
    pub(super) fn new(journal: &Journal) -> Result<Self, JournalError> {
        journal.make()?;
        Ok(Self { file: lock::open(&journal.directory)?, directory: journal.directory.clone() })
    }

    /// Takes a pair, unless another process has it.
    pub(crate) fn take(&self, name: &Name) -> Result<bool, JournalError> {
        lock::take(&self.file, &self.directory, Right::Supervise(name))
    }

    /// Lets others have a pair.
    pub(crate) fn give_back(&self, name: &Name) {
        lock::give_back(&self.file, Right::Supervise(name));
    }

    /// Becomes the one that takes whatever pair there is.
    pub(crate) fn take_all(&self) -> Result<bool, JournalError> {
        lock::take(&self.file, &self.directory, Right::SuperviseAll)
    }
}

impl Journal {
    /// For a process that wants to look after pairs.
    pub(crate) fn supervision(&self) -> Result<Supervision, JournalError> {
        Supervision::new(self)
    }

    /// Whether somebody looks after a pair.
    pub(crate) fn is_supervised(&self, name: &Name) -> Result<bool, JournalError> {
        lock::is_taken(&self.directory, Right::Supervise(name))
    }

    /// Whether somebody looks after whatever pair there is.
    pub(crate) fn has_supervisor(&self) -> Result<bool, JournalError> {
        lock::is_taken(&self.directory, Right::SuperviseAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_one_supervisor_and_one_has_any_number_of_pairs() {
        let directory = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(directory.path().join("new"));
        let (one, other) = (Name::new("a").expect("a name"), Name::new("b").expect("a name"));
        assert!(!journal.is_supervised(&one).expect("no journal is nobody"));
        let (daemon, run) = (journal.supervision().expect("opened"), journal.supervision().expect("opened"));
        assert!(daemon.take_all().expect("taken") && !run.take_all().expect("asked"));
        assert!(journal.has_supervisor().expect("asked"));
        assert!(run.take(&one).expect("taken") && !daemon.take(&one).expect("asked"));
        assert!(daemon.take(&other).expect("taken") && daemon.take(&other).expect("still its own"));
        // To work on a pair is another right than to look after it.
        let _claim = journal.claim(&one).expect("free");
        run.give_back(&one);
        assert!(!journal.is_supervised(&one).expect("asked") && daemon.take(&one).expect("free again"));
        drop(daemon);
        assert!(!journal.has_supervisor().expect("asked") && run.take(&other).expect("free again"));
    }
}
