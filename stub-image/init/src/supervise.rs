// SPDX-License-Identifier: GPL-3.0-only
//! While QEMU runs: its ready key, its words, its monitor, and its end.

use std::convert::Infallible;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use proto::Stage;
use proto::keys::{self, name};

use crate::output::Output;
use crate::qmp::{self, Server, Turn};
use crate::report::Reporter;
use crate::watch::Watcher;
use crate::{InitError, QemuEnd, console, qemu};

/// The domain of the toolstack.
const TOOLSTACK: u16 = 0;

/// One QEMU and what PID 1 does for it.
#[derive(Debug)]
pub(crate) struct Service<'r> {
    reporter: &'r mut Reporter,
    /// Until the ready key was seen.
    watcher: Option<Watcher>,
    children: SignalFd,
    process: Pid,
    output: Output,
    /// Nothing on a kernel that cannot offer channels: the guest is served all the same.
    monitor: Option<Server>,
}

/// Which of the descriptors are ready.
struct Ready {
    store: bool,
    monitor: bool,
}

impl<'r> Service<'r> {
    pub(crate) fn new(
        reporter: &'r mut Reporter,
        mut watcher: Watcher,
        children: SignalFd,
        process: Pid,
        output: Output,
    ) -> Result<Self, InitError> {
        watcher.watch(&reporter.key(name::STATE)?)?;
        let watcher = Some(watcher);
        let mut service = Self { reporter, watcher, children, process, output, monitor: None };
        match Server::open(TOOLSTACK, qmp::SOCKET) {
            Ok(server) => service.publish(server)?,
            Err(source) => {
                console::say(&InitError::Channel { operation: "offering", source }.chain());
            }
        }
        Ok(service)
    }

    /// Serves until QEMU ends; returns only with the reason for the end.
    pub(crate) fn run(mut self) -> Result<Infallible, InitError> {
        let mut more = false;
        loop {
            let ready = self.wait(more)?;
            // The ready key first: QEMU may have written it and ended before this process ran again.
            if ready.store {
                self.look_for_ready()?;
            }
            self.output.read();
            more = (ready.monitor || more) && self.serve_monitor()?;
            if let Some(end) = self.reap()? {
                let last_words = self.output.last_words().to_owned();
                return Err(InitError::QemuEnded { end, last_words });
            }
        }
    }

    /// Waits for any of the descriptors; only looks if there is `more` to do.
    fn wait(&self, more: bool) -> Result<Ready, InitError> {
        let reading = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut waits = vec![reading(self.children.as_fd())];
        waits.extend(self.output.fd().map(reading));
        let store = waits.len();
        waits.extend(self.watcher.as_ref().map(|watcher| reading(watcher.as_fd())));
        let monitor = waits.len();
        let served = self.monitor.iter().flat_map(Server::waits);
        waits.extend(served.map(|(fd, flags)| PollFd::new(fd, flags)));
        match poll(&mut waits, if more { PollTimeout::ZERO } else { PollTimeout::NONE }) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => return Err(InitError::Wait { source }),
        }
        let any = |waits: &[PollFd<'_>]| waits.iter().any(|wait| wait.any() == Some(true));
        Ok(Ready { store: any(&waits[store..monitor]), monitor: any(&waits[monitor..]) })
    }

    fn look_for_ready(&mut self) -> Result<(), InitError> {
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        watcher.message()?;
        let state = self.reporter.read_optional(&self.reporter.key(name::STATE)?)?;
        if state.is_some_and(|value| value.as_bytes() == keys::READY) {
            self.reporter.stage(Stage::Ready)?;
            console::say(&format!("QEMU is ready; its rights: {}", qemu::rights(self.process)));
            self.watcher = None;
        }
        Ok(())
    }

    /// True if there is more to move.
    fn serve_monitor(&mut self) -> Result<bool, InitError> {
        let Some(mut server) = self.monitor.take() else { return Ok(false) };
        match server.turn() {
            Ok(Turn::Offered) => self.publish(server).map(|()| false),
            Ok(turn) => {
                self.monitor = Some(server);
                if turn == Turn::Taken {
                    self.reporter.remove(name::QMP_RING_REF)?;
                }
                Ok(turn != Turn::Done)
            }
            Err(source) => {
                console::say(&InitError::Channel { operation: "offering", source }.chain());
                Ok(false)
            }
        }
    }

    /// Tells clients where to find the monitor. Never a new number beside an old one: the one that clients read
    /// first was taken away when a client came, or is now, and is written last.
    fn publish(&mut self, server: Server) -> Result<(), InitError> {
        let offer = server.offer();
        self.reporter.remove(name::QMP_RING_REF)?;
        self.reporter.write(name::QMP_EVENT_CHANNEL, &offer.event_channel.to_string())?;
        self.reporter.write(name::QMP_RING_REF, &offer.ring_ref.to_string())?;
        self.monitor = Some(server);
        Ok(())
    }

    /// Takes every child that ended, orphans too, and says how QEMU did if it was among them.
    fn reap(&self) -> Result<Option<QemuEnd>, InitError> {
        let failed = |source| InitError::Wait { source };
        while self.children.read_signal().map_err(failed)?.is_some() {}
        let mut end = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status) => match status.pid() {
                    Some(pid) if pid == self.process => end = end.or(qemu::ended(status)),
                    Some(_) => {}
                    None => return Ok(end),
                },
                Err(Errno::ECHILD) => return Ok(end),
                Err(source) => return Err(failed(source)),
            }
        }
    }
}
