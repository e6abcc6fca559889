// SPDX-License-Identifier: GPL-3.0-only
//! The acts under way: removals and restarts, each an operation with a worker of its own, a few at a time.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use uuid::Uuid;

use super::OpenHost;
use crate::config::Name;
use crate::journal::{Journal, JournalError};
use crate::lifecycle::{self, Cause, CreateError, DestroyError, Destroyed, Operation, Owed, Pair, Progress};

/// How many acts are under way at most...
const MOST: usize = 8;
/// ...and how many of them restarts, which wait for stubdomains: removals never wait for those.
const MOST_RESTARTS: usize = 6;

/// What is done with a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Remove,
    Again,
}

/// How an act ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Removed,
    Created(Pair),
    /// Somebody else was faster, and the pair is not what it was.
    Overtaken,
    /// Somebody else works on it; it can be tried again soon.
    Busy,
    /// The loop is ending: what was begun is undone, and recorded for the next supervisor.
    Cancelled,
    Failed {
        why: String,
        owed: Vec<Owed>,
    },
}

enum Running {
    Remove(Operation<Destroyed, DestroyError>),
    Again(Operation<Pair, CreateError>),
}

impl Running {
    fn fd(&self) -> i32 {
        match self {
            Self::Remove(operation) => operation.as_raw_fd(),
            Self::Again(operation) => operation.as_raw_fd(),
        }
    }
}

/// The acts under way.
pub(super) struct Acts {
    open: Arc<OpenHost>,
    journal: Journal,
    registry: Registry,
    running: BTreeMap<usize, (Name, Running)>,
    next: usize,
}

impl Acts {
    /// Tokens from `first` on are theirs.
    pub(super) fn new(open: Arc<OpenHost>, journal: Journal, registry: Registry, first: usize) -> Self {
        Self { open, journal, registry, running: BTreeMap::new(), next: first }
    }

    /// Whether one more can begin now.
    pub(super) fn has_room_for(&self, act: Act) -> bool {
        let restarts = self.running.values().filter(|(_, running)| matches!(running, Running::Again(_)));
        self.running.len() < MOST && (act == Act::Remove || restarts.count() < MOST_RESTARTS)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins an act on the pair of this very making.
    pub(super) fn begin(&mut self, act: Act, name: &Name, making: Uuid) -> Result<(), String> {
        let host = (self.open)().map_err(|error| in_words(&error))?;
        let (journal, pair) = (self.journal.clone(), name.clone());
        let begun = match act {
            Act::Remove => lifecycle::end(host, journal, pair, making).map(Running::Remove),
            Act::Again => lifecycle::create_again(host, journal, pair, making).map(Running::Again),
        };
        let begun = begun.and_then(|running| {
            let fd = running.fd();
            self.registry.register(&mut SourceFd(&fd), Token(self.next), Interest::READABLE)?;
            Ok(running)
        });
        let running = begun.map_err(|error| in_words(&error))?;
        self.running.insert(self.next, (name.clone(), running));
        self.next += 1;
        Ok(())
    }

    /// The acts that have ended.
    pub(super) fn ended(&mut self) -> Vec<(Name, Outcome)> {
        let mut ended = Vec::new();
        let mut over = Vec::new();
        for (token, (name, running)) in &mut self.running {
            if let Some(outcome) = advance(running) {
                // Deregistered before its descriptor is closed, whose number may be used again.
                let _ = self.registry.deregister(&mut SourceFd(&running.fd()));
                over.push(*token);
                ended.push((name.clone(), outcome));
            }
        }
        self.running.retain(|token, _| !over.contains(token));
        ended
    }

    /// Cancels the restarts; removals go on to their end, which is near.
    pub(super) fn stop(&self) {
        for (_, running) in self.running.values() {
            if let Running::Again(operation) = running {
                operation.cancel();
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |(_, running): &(Name, Running)| match running {
            Running::Remove(operation) => operation.next_deadline(),
            Running::Again(operation) => operation.next_deadline(),
        };
        self.running.values().filter_map(deadline).min()
    }
}

fn advance(running: &mut Running) -> Option<Outcome> {
    match running {
        Running::Remove(operation) => match take(operation) {
            Ok(result) => result.map(|result| result.map_or_else(not_removed, |_| Outcome::Removed)),
            Err(error) => Some(failed(&error)),
        },
        Running::Again(operation) => match take(operation) {
            Ok(result) => result.map(|result| result.map_or_else(not_created, Outcome::Created)),
            Err(error) => Some(failed(&error)),
        },
    }
}

/// The result of an operation, if it has one; what happens on the way is in the log.
fn take<T, E>(operation: &mut Operation<T, E>) -> io::Result<Option<Result<T, E>>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    loop {
        match operation.dispatch()? {
            Some(Progress::Done(result)) => return Ok(Some(result)),
            Some(Progress::Event(event)) => tracing::debug!(at = ?event.at, "{}", event.milestone),
            None => return Ok(None),
        }
    }
}

fn not_removed(error: DestroyError) -> Outcome {
    match error {
        DestroyError::NoSuchPair(_) => Outcome::Overtaken,
        DestroyError::Journal(JournalError::Busy(_)) => Outcome::Busy,
        DestroyError::Owed { owed, .. } => {
            Outcome::Failed { why: "not all could be removed".to_owned(), owed }
        }
        error => failed(&error),
    }
}

fn not_created(error: CreateError) -> Outcome {
    match &*error.cause {
        Cause::Superseded => Outcome::Overtaken,
        Cause::Journal(JournalError::Busy(_)) => Outcome::Busy,
        Cause::Cancelled => Outcome::Cancelled,
        _ => Outcome::Failed { why: in_words(&error), owed: error.owed },
    }
}

fn failed(error: &dyn Error) -> Outcome {
    Outcome::Failed { why: in_words(error), owed: Vec::new() }
}

/// An error with its causes.
pub(super) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// How long it is waited after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    Duration::from_secs(5 << doublings).min(Duration::from_secs(600))
}
