// SPDX-License-Identifier: GPL-3.0-only
//! An operation under way: one mio loop for its waits, one worker thread for what blocks.
//!
//! The loop may be the caller's: it polls [`Operation::as_raw_fd`] until [`Operation::next_deadline`] and calls
//! [`Operation::dispatch`], which never blocks. Or it is [`Operation::wait`]. Hypercalls that build or destroy
//! domains take seconds, and a xenstore request has no time limit of its own: both happen on the worker.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::Event;
use super::cause::Cause;
use super::observe::{Observation, Sign, Verdict};

const WORKER: Token = Token(0);
const WATCH: Token = Token(1);

/// A watch event that was lost costs no more than this; a dead xenstored is noticed as fast.
const POLL: Duration = Duration::from_secs(1);

/// A wait with progress lasts at most this many times its timeout: who chatters for ever is not waited for.
const MOST_TIMEOUTS: u32 = 4;

/// What the loop asks of the worker.
#[derive(Debug)]
pub(super) enum Job {
    /// Everything up to the wait.
    Prepare(Arc<AtomicBool>),
    /// One look at the pair.
    Observe,
    /// Everything after the wait.
    Finish,
    /// Undo everything, because of this.
    Abort(Cause),
}

/// What the worker answers.
pub(super) enum Reply<T, E> {
    /// Something happened; the job goes on.
    Event(Event),
    /// There is something to wait for.
    Wait { watch: Option<RawFd>, timeout: Duration },
    /// What a look showed.
    Observed(Observation),
    /// It is over.
    Done(Result<T, E>),
}

/// What an operation does on its worker.
pub(super) trait Task: Send + 'static {
    type Output: Send + 'static;
    type Error: Send + 'static;

    fn run(&mut self, job: Job, emit: &dyn Fn(Event)) -> Reply<Self::Output, Self::Error>;

    /// Undoes what it can after a panic of [`run`](Self::run).
    fn panicked(&mut self, message: String) -> Self::Error;
}

/// What [`Operation::dispatch`] found.
#[derive(Debug)]
pub enum Progress<T, E> {
    /// Something happened.
    Event(Event),
    /// The operation is over; there is nothing more to dispatch.
    Done(Result<T, E>),
}

/// An operation under way. Dropping it cancels it; its worker undoes in the background.
pub struct Operation<T, E> {
    poll: Poll,
    jobs: Sender<Job>,
    replies: Receiver<Reply<T, E>>,
    waker: Arc<Waker>,
    cancel: Arc<AtomicBool>,
    state: State,
}

impl<T, E> std::fmt::Debug for Operation<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum State {
    /// The worker has a job; whatever comes meanwhile is looked at when it is done.
    Working,
    Waiting(Wait),
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    began: Instant,
    /// When it ends, unless there was progress since it was set.
    deadline: Instant,
    timeout: Duration,
    /// How far the pair was when the deadline was set.
    since: Option<Sign>,
    next_look: Instant,
    /// The worker is looking; `stale` if something happened since it began.
    looking: bool,
    stale: bool,
}

impl Wait {
    /// Whether there is time left, after a look that showed this; progress gives another timeout, up to the ceiling.
    fn goes_on(&mut self, sign: Sign, now: Instant) -> bool {
        let since = *self.since.get_or_insert(sign);
        if now < self.deadline {
            return true;
        }
        let ceiling = self.began + self.timeout.saturating_mul(MOST_TIMEOUTS);
        if sign == since || self.deadline >= ceiling {
            return false;
        }
        (self.since, self.deadline) = (Some(sign), (now + self.timeout).min(ceiling));
        now < self.deadline
    }
}

impl<T: Send + 'static, E: Send + 'static> Operation<T, E> {
    pub(super) fn start(task: impl Task<Output = T, Error = E>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WORKER)?);
        let (jobs, job_queue) = channel();
        let (reply, replies) = channel();
        let wake = Arc::clone(&waker);
        let span = tracing::Span::current();
        std::thread::Builder::new().name("stub-worker".to_owned()).spawn(move || {
            let _wake = WakeAtEnd(Arc::clone(&wake));
            span.in_scope(|| work(reply, task, &job_queue, &wake));
        })?;
        let cancel = Arc::new(AtomicBool::new(false));
        let _ = jobs.send(Job::Prepare(Arc::clone(&cancel)));
        Ok(Self { poll, jobs, replies, waker, cancel, state: State::Working })
    }

    /// When [`dispatch`](Self::dispatch) is to be called even if the descriptor shows nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(wait) => {
                // A look ends by itself: every call in it has a time limit.
                (!wait.looking).then(|| wait.deadline.min(wait.next_look))
            }
            State::Working | State::Done => None,
        }
    }

    /// Asks the operation to end and undo; its result comes as ever.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// Cancels from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller { cancel: Arc::clone(&self.cancel), waker: Arc::clone(&self.waker) }
    }

    /// Takes what happened, one thing at a time; `None` when there is nothing to take now. Never blocks.
    ///
    /// # Errors
    /// When the operation's own event loop fails.
    pub fn dispatch(&mut self) -> io::Result<Option<Progress<T, E>>> {
        self.poll_fds(Some(Duration::ZERO))?;
        loop {
            match self.replies.try_recv() {
                Ok(Reply::Event(event)) => return Ok(Some(Progress::Event(event))),
                Ok(Reply::Wait { watch, timeout }) => self.wait_begins(watch, timeout)?,
                Ok(Reply::Observed(observation)) => self.judge(&observation),
                Ok(Reply::Done(result)) => {
                    self.state = State::Done;
                    return Ok(Some(Progress::Done(result)));
                }
                Err(TryRecvError::Disconnected) if !matches!(self.state, State::Done) => {
                    return Err(io::Error::other("the operation's worker is gone"));
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.check_wait();
        Ok(None)
    }

    /// Runs the operation to its end, giving each event to `on_event`.
    ///
    /// # Errors
    /// The outer result is the event loop's, the inner one the operation's.
    pub fn wait(mut self, mut on_event: impl FnMut(Event)) -> io::Result<Result<T, E>> {
        loop {
            while let Some(progress) = self.dispatch()? {
                match progress {
                    Progress::Event(event) => on_event(event),
                    Progress::Done(result) => return Ok(result),
                }
            }
            let timeout = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            self.poll_fds(timeout)?;
        }
    }

    fn poll_fds(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        if events.iter().any(|event| event.token() == WATCH)
            && let State::Waiting(wait) = &mut self.state
        {
            wait.stale = true;
        }
        Ok(())
    }

    fn wait_begins(&mut self, watch: Option<RawFd>, timeout: Duration) -> io::Result<()> {
        if let Some(watch) = watch {
            self.poll.registry().register(&mut SourceFd(&watch), WATCH, Interest::READABLE)?;
        }
        let now = Instant::now();
        // Events may be queued already, and an edge that is past comes no more: the first look is at once.
        self.state = State::Waiting(Wait {
            began: now,
            deadline: now + timeout,
            timeout,
            since: None,
            next_look: now,
            looking: false,
            stale: true,
        });
        Ok(())
    }

    fn judge(&mut self, observation: &Observation) {
        let State::Waiting(wait) = &mut self.state else { return };
        let now = Instant::now();
        wait.looking = false;
        wait.next_look = now + POLL;
        match observation.verdict() {
            Verdict::Wait if wait.goes_on(observation.sign(), now) => {}
            Verdict::Wait => {
                let after = wait.deadline - wait.began;
                self.order(Job::Abort(Cause::TimedOut { after }));
            }
            Verdict::Ready => self.order(Job::Finish),
            Verdict::Failed(cause) => self.order(Job::Abort(cause)),
        }
    }

    fn check_wait(&mut self) {
        let State::Waiting(wait) = &mut self.state else { return };
        let now = Instant::now();
        if self.cancel.load(Ordering::Relaxed) {
            return self.order(Job::Abort(Cause::Cancelled));
        }
        // The last look is at the deadline: it tells whether that is the end.
        if !wait.looking && (wait.stale || now >= wait.next_look.min(wait.deadline)) {
            (wait.looking, wait.stale) = (true, false);
            let _ = self.jobs.send(Job::Observe);
        }
    }

    fn order(&mut self, job: Job) {
        self.state = State::Working;
        let _ = self.jobs.send(job);
    }
}

impl<T, E> AsRawFd for Operation<T, E> {
    /// Readable when [`dispatch`](Operation::dispatch) has something to do.
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl<T, E> Drop for Operation<T, E> {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if !matches!(self.state, State::Done) {
            let _ = self.jobs.send(Job::Abort(Cause::Cancelled));
        }
    }
}

/// Cancels an operation from anywhere.
#[derive(Debug, Clone)]
pub struct Canceller {
    cancel: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Canceller {
    /// Asks the operation to end and undo.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
    }
}

/// Lets the loop notice that its worker is gone, however it ended: a panic while it undoes must not leave a caller
/// waiting for an answer for ever.
struct WakeAtEnd(Arc<Waker>);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        let _ = self.0.wake();
    }
}

/// `replies` comes first, so that it is dropped last, after a panic too: whoever hears that all is over may use the
/// task's name again at once.
fn work<T: Task>(
    replies: Sender<Reply<T::Output, T::Error>>,
    mut task: T,
    jobs: &Receiver<Job>,
    waker: &Waker,
) {
    // A reply that nobody takes belongs to an operation that was dropped; its abort is in the queue.
    let send = |reply| {
        let _ = replies.send(reply);
        let _ = waker.wake();
    };
    while let Ok(job) = jobs.recv() {
        let run = AssertUnwindSafe(|| task.run(job, &|event| send(Reply::Event(event))));
        let reply = catch_unwind(run).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<&str>().map(ToString::to_string);
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Reply::Done(Err(task.panicked(message)))
        });
        if matches!(reply, Reply::Done(_)) {
            drop(task);
            return send(reply);
        }
        send(reply);
    }
}
