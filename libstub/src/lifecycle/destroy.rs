// SPDX-License-Identifier: GPL-3.0-only
//! Destroying a pair: a teardown under the claim on its name.

use uuid::Uuid;

use super::operation::{Job, Operation, Reply, Task};
use super::teardown::{After, Outcome, Owed, teardown};
use crate::code::Code;
use crate::config::Name;
use crate::host::Host;
use crate::journal::{Journal, JournalError, Record};

/// A pair that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// Its name.
    pub name: Name,
    /// Its uuid.
    pub uuid: Uuid,
    /// What was removed, in order.
    pub undone: Vec<String>,
}

/// A pair that is not, or not entirely, gone.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// No pair has this name.
    #[error("there is no pair named {0}")]
    NoSuchPair(Name),
    /// Some of it could not be removed; the record is kept.
    #[error("destroy of {name} is not complete")]
    Owed {
        /// The pair.
        name: Name,
        /// What was removed.
        undone: Vec<String>,
        /// What is left.
        owed: Vec<Owed>,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A defect of this library; the record is kept.
    #[error("the worker of this operation panicked: {0}")]
    Panicked(String),
}

impl DestroyError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::NoSuchPair(_) => Code::NoSuchPair,
            Self::Owed { .. } => Code::LeftBehind,
            Self::Journal(error) => error.code(),
            Self::Panicked(_) => Code::Internal,
        }
    }
}

/// Destroys a pair by its name. Asks nothing of the pair itself.
///
/// # Errors
/// [`std::io::Error`] if no event loop or worker can be made; all else comes as the operation's result.
pub fn destroy(
    host: Box<dyn Host>,
    journal: Journal,
    name: Name,
) -> std::io::Result<Operation<Destroyed, DestroyError>> {
    Operation::start(Destruction { host, journal, name, stubdom: None })
}

/// The same for the pair of this very stubdomain: one that was made since under the name is left alone.
pub(crate) fn end(
    host: Box<dyn Host>,
    journal: Journal,
    name: Name,
    stubdom: Uuid,
) -> std::io::Result<Operation<Destroyed, DestroyError>> {
    Operation::start(Destruction { host, journal, name, stubdom: Some(stubdom) })
}

struct Destruction {
    host: Box<dyn Host>,
    journal: Journal,
    name: Name,
    /// The one that is meant, if not any.
    stubdom: Option<Uuid>,
}

impl Destruction {
    fn destroy(&self) -> Result<Destroyed, DestroyError> {
        let claim = self.journal.claim(&self.name)?;
        let record = self.journal.find(&self.name)?;
        let meant = |record: &Record| self.stubdom.is_none_or(|stubdom| record.is_of(stubdom));
        let mut record = record.filter(meant).ok_or_else(|| DestroyError::NoSuchPair(self.name.clone()))?;
        let (host, journal) = (self.host.as_ref(), &self.journal);
        let Outcome { undone, owed } = teardown(host, journal, &claim, &mut record, After::Nothing);
        if owed.is_empty() {
            return Ok(Destroyed { name: self.name.clone(), uuid: record.guest.uuid, undone });
        }
        Err(DestroyError::Owed { name: self.name.clone(), undone, owed })
    }
}

impl Task for Destruction {
    type Output = Destroyed;
    type Error = DestroyError;

    fn run(&mut self, _: Job, _: &dyn Fn(super::Event)) -> Reply<Destroyed, DestroyError> {
        Reply::Done(self.destroy())
    }

    fn panicked(&mut self, message: String) -> DestroyError {
        DestroyError::Panicked(message)
    }
}
