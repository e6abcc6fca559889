// SPDX-License-Identifier: GPL-3.0-only
//! Looking after pairs: what is to be done when a guest or its QEMU ends, is done.
//!
//! ```text
//!   journal (inotify) --+                                     +--> remove   each an operation
//!   @releaseDomain    --+--> look: all domains, one call --> decide          with a worker,
//!   QEMU's silence    --+    the records that changed         +--> restart  eight at most
//!   slow poll         --+                                     +--> keep
//! ```
//!
//! A [`Supervisor`] is driven by its caller's loop, as an [`Operation`] is; it keeps nothing that is not in the journal,
//! so that the next one goes on where it was killed. What blocks is done by a fixed number of threads, however many
//! pairs there are: one looks, one talks to xenstored, four ask QEMUs, and each act has its own.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use libstub::{Host, HostError, Journal, Supervisor, SupervisorOptions, XenHost};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let open = || -> Result<Box<dyn Host>, HostError> { Ok(Box::new(XenHost::open()?)) };
//! let journal = Journal::new(libstub::DIRECTORY);
//! let supervisor = Supervisor::start(Arc::new(open), journal, SupervisorOptions::default())?;
//! supervisor.wait(|report| println!("{report}"))?;
//! # Ok(())
//! # }
//! ```

mod acts;
mod asks;
mod end;
mod inbox;
mod look;
mod mind;
mod pairs;
mod report;
mod store;
mod worker;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

pub use end::{End, RestartLimit};
pub use report::{Happening, Report};

use crate::code::Code;
use crate::config::{GuestConfig, Name};
use crate::host::{Host, HostError};
use crate::journal::{Journal, JournalError};
use crate::lifecycle::{self, CreateError, Operation, Pair};
use acts::Acts;
use asks::{Asked, Question};
use inbox::{Changed, Inbox};
use look::Sight;
use mind::Mind;
use worker::Workers;

const WAKE: Token = Token(0);
const JOURNAL: Token = Token(1);
const STORE: Token = Token(2);
const FIRST_ACT: usize = 16;

/// Opens the host; each thread has one of its own.
pub type OpenHost = dyn Fn() -> Result<Box<dyn Host>, HostError> + Send + Sync;

/// How a supervisor works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorOptions {
    /// Look after this pair only, and not after all that nobody else looks after.
    pub only: Option<Name>,
    /// How often a pair may be restarted.
    pub restarts: RestartLimit,
    /// How often each QEMU is asked whether it is there.
    pub ask_every: Duration,
    /// How long it may take to answer. A host that is overloaded for that long loses its guests: be generous.
    pub ask_limit: Duration,
    /// How often Xen is asked when nothing happens: a watch event that was lost costs no more than this.
    pub look_every: Duration,
}

impl Default for SupervisorOptions {
    fn default() -> Self {
        Self {
            only: None,
            restarts: RestartLimit::default(),
            ask_every: Duration::from_secs(30),
            ask_limit: Duration::from_secs(30),
            look_every: Duration::from_secs(1),
        }
    }
}

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another process looks after all pairs.
    #[error("another daemon looks after the pairs of {}", .0.display())]
    Daemon(std::path::PathBuf),
    /// Another process looks after the pair.
    #[error("somebody looks after {0} already")]
    Pair(Name),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Xen cannot be asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There can be no event loop, or no thread.
    #[error("the supervisor cannot be started")]
    Io(#[from] io::Error),
}

impl SupervisorError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::Daemon(_) | Self::Pair(_) => Code::SupervisedAlready,
            Self::Journal(error) => error.code(),
            Self::Host(error) => error.code(),
            Self::Io(_) => Code::Internal,
        }
    }
}

/// Looks after pairs as long as it is driven. Dropped, it leaves them as they are, for the next one.
pub struct Supervisor {
    poll: Poll,
    waker: Arc<Waker>,
    open: Arc<OpenHost>,
    journal: Journal,
    inbox: Inbox,
    looks: Workers<Changed, Sight>,
    store: Workers<store::Ask, store::Told>,
    asks: Workers<Question, Asked>,
    mind: Mind,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Begins to look after the pairs of a journal, those that are there and those that come.
    ///
    /// # Errors
    /// When somebody else does, or journal or Xen cannot be used.
    pub fn start(
        open: Arc<OpenHost>,
        journal: Journal,
        options: SupervisorOptions,
    ) -> Result<Self, SupervisorError> {
        let supervision = journal.supervision()?;
        match &options.only {
            Some(name) if !supervision.take(name)? => return Err(SupervisorError::Pair(name.clone())),
            None if !supervision.take_all()? => {
                return Err(SupervisorError::Daemon(journal.directory().to_owned()));
            }
            _ => {}
        }
        let (host, looked_at) = (open()?, journal.clone());
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let inbox = Inbox::open(&journal)?;
        poll.registry().register(&mut SourceFd(&inbox.as_raw_fd()), JOURNAL, Interest::READABLE)?;
        let look = move |changed| look::look(host.as_ref(), &looked_at, changed);
        let looks = Workers::start("stub-look", &waker, [look])?;
        let store = Workers::start("stub-words", &waker, [store::work(Arc::clone(&open))])?;
        let askers = (0..asks::THREADS).map(|_| asks::work(Arc::clone(&open)));
        let asks = Workers::start("stub-ask", &waker, askers)?;
        let registry = poll.registry().try_clone()?;
        let acts = Acts::new(Arc::clone(&open), journal.clone(), registry, FIRST_ACT);
        let mind = Mind::new(options, supervision, acts);
        Ok(Self { poll, waker, open, journal, inbox, looks, store, asks, mind, stop: Arc::default() })
    }

    /// Creates a pair that this supervisor will look after.
    ///
    /// # Errors
    /// When the host cannot be opened, or there can be no event loop.
    pub fn create(&self, config: GuestConfig) -> Result<Operation<Pair, CreateError>, SupervisorError> {
        Ok(lifecycle::create_supervised((self.open)()?, self.journal.clone(), config)?)
    }

    /// When [`dispatch`](Self::dispatch) is to be called even if the descriptor shows nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.mind.next_deadline()
    }

    /// Takes what happened, one thing at a time; `None` when there is nothing to take now. Never blocks.
    ///
    /// # Errors
    /// When the supervisor's own event loop or one of its threads fails; another supervisor can take over.
    pub fn dispatch(&mut self) -> io::Result<Option<Report>> {
        if let Some(report) = self.mind.report() {
            return Ok(Some(report));
        }
        self.poll_fds(Some(Duration::ZERO))?;
        self.take_news()?;
        if self.stop.load(Ordering::Relaxed) {
            self.mind.stop();
        }
        self.mind.go_on(Instant::now());
        self.send();
        Ok(self.mind.report())
    }

    /// Asks the supervisor to end: removals go on to their end, restarts are undone and left to the next one.
    pub fn stop(&self) {
        self.stopper().stop();
    }

    /// Stops it from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), waker: Arc::clone(&self.waker) }
    }

    /// Whether it was stopped, and nothing is under way any more.
    pub fn is_stopped(&self) -> bool {
        self.mind.is_stopped()
    }

    /// How many pairs are looked after.
    pub fn pairs(&self) -> usize {
        self.mind.pairs()
    }

    /// Looks after the pairs until it is stopped, giving each report to `on_report`.
    ///
    /// # Errors
    /// As [`dispatch`](Self::dispatch).
    pub fn wait(mut self, mut on_report: impl FnMut(Report)) -> io::Result<()> {
        loop {
            while let Some(report) = self.dispatch()? {
                on_report(report);
            }
            if self.is_stopped() {
                return Ok(());
            }
            let timeout = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            self.poll_fds(timeout)?;
        }
    }

    fn poll_fds(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = Events::with_capacity(32);
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &events {
            match event.token() {
                JOURNAL => {
                    let changed = self.inbox.take()?;
                    self.mind.changed(changed);
                    if self.inbox.mend()? {
                        self.mind.changed(Changed { all: true, ..Changed::default() });
                    }
                }
                STORE => self.mind.deaths(),
                // Workers and acts are looked at anyway.
                _ => {}
            }
        }
        Ok(())
    }

    fn take_news(&mut self) -> io::Result<()> {
        while let Some(told) = self.store.reply()? {
            if let store::Told::Watching(Some(fd)) = told {
                self.poll.registry().register(&mut SourceFd(&fd), STORE, Interest::READABLE)?;
            }
            self.mind.told(told);
        }
        while let Some(sight) = self.looks.reply()? {
            self.mind.seen(sight);
        }
        while let Some(asked) = self.asks.reply()? {
            self.mind.asked(asked);
        }
        self.mind.acted();
        Ok(())
    }

    fn send(&mut self) {
        let jobs = self.mind.jobs();
        jobs.look.into_iter().for_each(|changed| self.looks.send(changed));
        jobs.store.into_iter().for_each(|ask| self.store.send(ask));
        jobs.ask.into_iter().for_each(|question| self.asks.send(question));
    }
}

/// What is to be sent to the threads.
#[derive(Debug, Default)]
struct Jobs {
    look: Option<Changed>,
    store: VecDeque<store::Ask>,
    ask: Vec<Question>,
}

impl AsRawFd for Supervisor {
    /// Readable when [`dispatch`](Supervisor::dispatch) has something to do.
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

/// Stops a supervisor from anywhere.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Asks the supervisor to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
    }
}
