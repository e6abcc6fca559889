// SPDX-License-Identifier: GPL-3.0-only
//! The right to look after pairs: each pair has one supervisor at most, and all others have one for the rest.

use std::fs::File;

use super::lock::{self, Right};
use super::{Journal, JournalError, LOCK};
use crate::config::Name;

/// The pairs that this process looks after; with its death, or when this is dropped, others may.
#[derive(Debug)]
pub(crate) struct Supervision {
    journal: Journal,
    /// One descriptor, however many pairs.
    file: File,
}

impl Supervision {
    /// Takes a pair, unless another process has it.
    pub(crate) fn take(&self, name: &Name) -> Result<bool, JournalError> {
        self.right(Right::Supervise(name))
    }

    /// Lets others have a pair.
    pub(crate) fn give_back(&self, name: &Name) {
        lock::give_back(&self.file, Right::Supervise(name));
    }

    /// Becomes the one that takes whatever pair there is.
    pub(crate) fn take_all(&self) -> Result<bool, JournalError> {
        self.right(Right::SuperviseAll)
    }

    fn right(&self, right: Right<'_>) -> Result<bool, JournalError> {
        self.journal.access("lock", &self.journal.directory.join(LOCK), || lock::take(&self.file, right))
    }
}

impl Journal {
    /// For a process that wants to look after pairs.
    pub(crate) fn supervision(&self) -> Result<Supervision, JournalError> {
        self.make()?;
        let path = self.directory.join(LOCK);
        let file = self.access("open", &path, || lock::open(&path))?;
        Ok(Supervision { journal: self.clone(), file })
    }

    /// Whether somebody looks after a pair.
    pub(crate) fn is_supervised(&self, name: &Name) -> Result<bool, JournalError> {
        self.is_taken(Right::Supervise(name))
    }

    /// Whether somebody looks after whatever pair there is.
    pub(crate) fn has_supervisor(&self) -> Result<bool, JournalError> {
        self.is_taken(Right::SuperviseAll)
    }

    pub(super) fn is_taken(&self, right: Right<'_>) -> Result<bool, JournalError> {
        let path = self.directory.join(LOCK);
        self.access("look at", &path, || lock::is_taken(&path, right))
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
