// SPDX-License-Identifier: GPL-3.0-only
//! Threads that do what blocks: jobs in, replies out, and the loop is woken.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// One or more threads that share a queue of jobs; they end when this is dropped and their last job is done.
pub(super) struct Workers<J, R> {
    jobs: Sender<J>,
    replies: Receiver<R>,
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
        for mut work in works {
            let (queue, reply, wake) = (Arc::clone(&queue), reply.clone(), Wake(Arc::clone(waker)));
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
        Ok(Self { jobs, replies })
    }

    /// Gives a job to whichever thread is free first.
    pub(super) fn send(&self, job: J) {
        // If all threads are gone, `reply` tells.
        let _ = self.jobs.send(job);
    }

    /// A reply, if there is one.
    ///
    /// # Errors
    /// When all threads are gone, which is after a defect only.
    pub(super) fn reply(&self) -> io::Result<Option<R>> {
        match self.replies.try_recv() {
            Ok(reply) => Ok(Some(reply)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("a worker of the supervisor is gone")),
        }
    }
}

/// Wakes the loop, also when its thread ends for whatever reason.
struct Wake(Arc<Waker>);

impl Wake {
    fn wake(&self) {
        let _ = self.0.wake();
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.wake();
    }
}
