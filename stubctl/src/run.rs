// SPDX-License-Identifier: GPL-3.0-only
//! This program's event loop: one operation or one descriptor, and the signals that end the wait.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use libstub::{Event, Operation, Progress, Report, Supervisor};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

const OPERATION: Token = Token(0);
const SIGNALS: Token = Token(1);
const WATCHED: Token = Token(2);

/// Signals that come closer than this are one: a terminal that closes sends two, and so does timeout(1).
const TOGETHER: Duration = Duration::from_secs(1);

/// An event loop. It is made before an operation starts, so that no signal ends the process in the middle of one.
pub(crate) struct Loop {
    poll: Poll,
    signals: Signals,
    /// When it was first told to end.
    told: Option<Instant>,
    /// No signal was there when it looked a while after that: the next one is another.
    calm: bool,
}

impl Loop {
    /// Takes over SIGINT, SIGTERM and SIGHUP.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(Self { poll, signals, told: None, calm: false })
    }

    /// Wakes up when this is readable; its owner drains it.
    pub(crate) fn watch(&self, descriptor: RawFd) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&descriptor), WATCHED, Interest::READABLE)
    }

    /// Waits until something that is watched is readable, a signal comes, or this time has passed; whether there
    /// was a signal.
    pub(crate) fn signalled_within(&mut self, limit: Duration) -> io::Result<bool> {
        let mut events = Events::with_capacity(4);
        match self.poll.poll(&mut events, Some(limit)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        Ok(self.signals.pending().next().is_some())
    }

    /// Whether there was a signal since the last look.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] when it was the second: who sends that does not wait for what is under way, and the
    /// journal has it.
    fn is_told(&mut self) -> io::Result<bool> {
        if self.signals.pending().count() == 0 {
            self.calm |= self.told.is_some_and(|first| first.elapsed() >= TOGETHER);
            return Ok(false);
        }
        if self.calm {
            let why = "a second signal came before it was over";
            return Err(io::Error::new(io::ErrorKind::Interrupted, why));
        }
        self.told.get_or_insert_with(Instant::now);
        Ok(true)
    }

    /// Waits until something is to be done, for `limit` at most; whether a signal says that it is to end.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let soon = self.told.filter(|_| !self.calm).map(|_| TOGETHER);
        let limit = [limit, soon].into_iter().flatten().min();
        match self.poll.poll(&mut Events::with_capacity(4), limit) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        self.is_told()
    }

    /// Drives a supervisor until `on_report` says that it is over, or it is stopped by a signal; whether it was.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] after a second signal; else when supervisor or event loop fails.
    pub(crate) fn supervise(
        &mut self,
        supervisor: &mut Supervisor,
        mut on_report: impl FnMut(Report) -> bool,
    ) -> io::Result<bool> {
        let descriptor = supervisor.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&descriptor), OPERATION, Interest::READABLE)?;
        loop {
            while let Some(report) = supervisor.dispatch()? {
                if on_report(report) {
                    supervisor.stop();
                }
            }
            if supervisor.is_stopped() {
                break;
            }
            let next = supervisor.next_deadline();
            let limit = next.map(|at| at.saturating_duration_since(Instant::now()));
            if self.wait(Some(limit.unwrap_or(Duration::from_secs(1))))? {
                supervisor.stop();
            }
        }
        self.poll.registry().deregister(&mut SourceFd(&descriptor))?;
        Ok(self.told.is_some())
    }

    /// Runs an operation to its end. A signal cancels it; it still ends by itself, undone.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] after a second signal; else when the event loop fails.
    pub(crate) fn run<T, E>(
        &mut self,
        mut operation: Operation<T, E>,
        mut on_event: impl FnMut(Event),
    ) -> io::Result<Result<T, E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let descriptor = operation.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&descriptor), OPERATION, Interest::READABLE)?;
        loop {
            while let Some(progress) = operation.dispatch()? {
                match progress {
                    Progress::Event(event) => on_event(event),
                    Progress::Done(result) => {
                        self.poll.registry().deregister(&mut SourceFd(&descriptor))?;
                        return Ok(result);
                    }
                }
            }
            let timeout = operation.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            if self.wait(timeout)? {
                operation.cancel();
            }
        }
    }
}
