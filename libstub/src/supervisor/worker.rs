// SPDX-License-Identifier: GPL-3.0-only
//! Threads that do what blocks: jobs in, replies out, and the loop is woken.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// One or more threads that share a queue of jobs; they end when this is dropped and their last job is done.
pub(super) struct Workers<J, R> {
    jobs: Sender<J>,
    replies: Receiver<R>,
    /// One of them panicked: the reply to its job will never come.
    panicked: Arc<AtomicBool>,
}

impl<J: Send + 'static, R: Send + 'static> Workers<J, R> {
    /// Starts a thread for each of `works`.
    pub(super) fn start<W>(
        name: &str,
        waker: &Arc<Waker>,
        works: impl IntoIterator<Item = W>,
    ) -> io::Result<Self>
    where
        W: FnMut(J) -> R + Send + 'static,
    {
        let (jobs, queue) = channel::<J>();
        let queue = Arc::new(Mutex::new(queue));
        let (reply, replies) = channel();
        let panicked = Arc::new(AtomicBool::new(false));
        for mut work in works {
            let (queue, reply) = (Arc::clone(&queue), reply.clone());
            let wake = Wake { waker: Arc::clone(waker), panicked: Arc::clone(&panicked) };
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                while let Ok(job) = next() {
                    if reply.send(work(job)).is_err() {
                        return;
                    }
                    wake.wake();
                }
                drop(wake);
            })?;
        }
        Ok(Self { jobs, replies, panicked })
    }

    /// Gives a job to whichever thread is free first.
    pub(super) fn send(&self, job: J) {
        // If all threads are gone, `reply` tells.
        let _ = self.jobs.send(job);
    }

    /// A reply, if there is one.
    ///
    /// # Errors
    /// When a thread is gone, which is after a defect only.
    pub(super) fn reply(&self) -> io::Result<Option<R>> {
        match self.replies.try_recv() {
            Ok(reply) => Ok(Some(reply)),
            Err(TryRecvError::Empty) if !self.panicked.load(Ordering::Acquire) => Ok(None),
            Err(_) => Err(io::Error::other("a worker of the supervisor is gone")),
        }
    }
}

/// Wakes the loop, also when its thread ends for whatever reason.
struct Wake {
    waker: Arc<Waker>,
    panicked: Arc<AtomicBool>,
}

impl Wake {
    fn wake(&self) {
        let _ = self.waker.wake();
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.panicked.store(true, Ordering::Release);
        }
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    #[test]
    fn a_worker_that_panics_is_told_though_the_others_live() {
        let mut poll = Poll::new().expect("an event loop");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let work = || {
            |job: u32| {
                assert!(job > 0, "no job");
                job
            }
        };
        let workers = Workers::start("test", &waker, [work(), work()]).expect("threads");
        let mut woken = || poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(60)));
        workers.send(7);
        woken().expect("woken");
        assert_eq!(workers.reply().expect("both live"), Some(7));
        assert_eq!(workers.reply().expect("both live"), None);
        workers.send(0);
        woken().expect("woken");
        workers.reply().expect_err("one is gone");
    }
}
