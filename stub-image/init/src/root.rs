// SPDX-License-Identifier: GPL-3.0-only
//! PID 1 from the root filesystem: waits to be released, starts QEMU, and outlives it by one report.

use std::convert::Infallible;
use std::fs;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use proto::Stage;
use proto::keys::{self, name};

use crate::report::Reporter;
use crate::watch::Watcher;
use crate::{InitError, console, device, mounts, qemu};

/// QEMU maps the guest's memory, which is far more than the stubdomain's own.
const OVERCOMMIT: (&str, &str) = ("/proc/sys/vm/overcommit_memory", "1");
/// The default, 1024 grants, is less than the toolstack's channels may ask for together.
const GRANTS: (&str, &str) = ("/sys/module/xen_gntalloc/parameters/limit", "4096");

/// Serves the guest until QEMU ends; returns only with the reason for the end.
pub fn run(reporter: &mut Reporter) -> Result<Infallible, InitError> {
    mounts::pseudo(&mounts::KERNEL)?;
    let _ = console::open();
    let children = child_signals().map_err(|source| InitError::Wait { source })?;
    reporter.open()?;
    if reporter.reached().is_none() {
        reporter.protocol()?;
        reporter.stage(Stage::Booted)?;
    }
    mounts::pseudo(&mounts::SCRATCH)?;
    set(OVERCOMMIT)?;
    if let Err(error) = set(GRANTS) {
        // A kernel without this driver serves a guest as long as nothing uses a channel.
        console::say(&error.chain());
    }
    let guest = reporter.guest()?;
    let mut watcher = Watcher::open()?;
    wait_for_go(reporter, &mut watcher)?;
    reporter.stage(Stage::Devices)?;
    let arguments = qemu::arguments(reporter, guest)?;
    for disk in qemu::disks(&arguments) {
        device::wait(disk, device::DEADLINE)?;
    }
    let process = qemu::start(&arguments)?;
    reporter.stage(Stage::QemuStarted)?;
    console::say(&format!("QEMU started for guest {guest} with {} arguments", arguments.len()));
    supervise(reporter, watcher, &children, process)
}

/// A descriptor that is readable while a child has ended.
fn child_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn set((path, value): (&str, &str)) -> Result<(), InitError> {
    fs::write(path, value).map_err(|source| InitError::File {
        operation: "writing",
        path: path.into(),
        source,
    })
}

fn wait_for_go(reporter: &mut Reporter, watcher: &mut Watcher) -> Result<(), InitError> {
    let go = reporter.key(name::GO)?;
    watcher.watch(&go)?;
    reporter.stage(Stage::Waiting)?;
    while reporter.read_optional(&go)?.as_deref() != Some(keys::GO) {
        watcher.event()?;
    }
    Ok(())
}

/// Waits for QEMU's ready key and for QEMU's end, whichever comes, until the end.
fn supervise(
    reporter: &mut Reporter,
    watcher: Watcher,
    children: &SignalFd,
    process: Pid,
) -> Result<Infallible, InitError> {
    let state = reporter.key(name::STATE)?;
    let mut watcher = Some(watcher);
    if let Some(watcher) = &mut watcher {
        watcher.watch(&state)?;
    }
    loop {
        let mut waits = vec![PollFd::new(children.as_fd(), PollFlags::POLLIN)];
        waits.extend(watcher.as_ref().map(|watcher| PollFd::new(watcher.as_fd(), PollFlags::POLLIN)));
        match poll(&mut waits, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => return Err(InitError::Wait { source }),
        }
        let store_spoke = waits.get(1).is_some_and(|wait| wait.any() == Some(true));
        // The ready key first: QEMU may have written it and ended before this process ran again.
        if let Some(open) = watcher.as_mut().filter(|_| store_spoke) {
            open.message()?;
            if reporter.read_optional(&state)?.is_some_and(|value| value.as_bytes() == keys::READY) {
                reporter.stage(Stage::Ready)?;
                watcher = None;
            }
        }
        if let Some(status) = reap(children, process)? {
            return Err(InitError::QemuEnded { status });
        }
    }
}

/// Takes every child that ended, orphans too, and says how `process` did if it was among them.
fn reap(children: &SignalFd, process: Pid) -> Result<Option<String>, InitError> {
    let failed = |source| InitError::Wait { source };
    while children.read_signal().map_err(failed)?.is_some() {}
    let mut end = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => match status.pid() {
                Some(pid) if pid == process => end = end.or(qemu::ended(status)),
                Some(_) => {}
                None => return Ok(end),
            },
            Err(Errno::ECHILD) => return Ok(end),
            Err(source) => return Err(failed(source)),
        }
    }
}
