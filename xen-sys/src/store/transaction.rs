// SPDX-License-Identifier: GPL-3.0-only
//! Several changes that take effect together or not at all.

use super::Store;
use crate::call;
use crate::error::{Error, Result};
use crate::raw::libs::{self, xs_transaction_t};

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after a conflict nothing has been written"]
pub enum Commit {
    /// All changes took effect.
    Done,
    /// Someone else was faster; nothing took effect, and all of it has to be done again.
    Conflict,
}

/// An open transaction; dropping it aborts it.
#[derive(Debug)]
pub struct Transaction<'s> {
    store: &'s Store,
    /// `None` once it has ended.
    id: Option<xs_transaction_t>,
}

impl Store {
    /// Starts a transaction.
    pub fn transaction(&self) -> Result<Transaction<'_>> {
        let mut id = 0;
        // SAFETY: the handle is open. 0 is no transaction: the library's way to say that it failed.
        call::truth("xs_transaction_start", || unsafe {
            id = libs::xs_transaction_start(self.as_ptr());
            id != 0
        })?;
        Ok(Transaction { store: self, id: Some(id) })
    }
}

impl Transaction<'_> {
    /// Makes the changes take effect, unless someone else changed what they rest on.
    pub fn commit(mut self) -> Result<Commit> {
        match self.end(false) {
            Ok(()) => Ok(Commit::Done),
            Err(error) if error.errno() == Some(libc::EAGAIN) => Ok(Commit::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Forgets the changes; as dropping it, but says whether the daemon heard of it.
    pub fn abort(mut self) -> Result<()> {
        self.end(true)
    }

    pub(super) fn store(&self) -> &Store {
        self.store
    }

    pub(super) fn id(&self) -> xs_transaction_t {
        // It ends only by value or by drop, so whoever can ask finds it open.
        self.id.unwrap_or_default()
    }

    fn end(&mut self, abort: bool) -> Result<()> {
        let id = self.id.take().ok_or(Error::InvalidArgument { what: "transaction has ended" })?;
        // SAFETY: the handle is open, and the arguments are plain numbers.
        call::truth("xs_transaction_end", || unsafe {
            libs::xs_transaction_end(self.store.as_ptr(), id, abort)
        })
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.id.is_some()
            && let Err(error) = self.end(true)
        {
            tracing::debug!(%error, "transaction not aborted");
        }
    }
}
