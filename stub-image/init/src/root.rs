// SPDX-License-Identifier: GPL-3.0-only
//! PID 1 from the root filesystem: waits to be released, starts QEMU, and outlives it by one report.

use std::convert::Infallible;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use proto::Stage;
use proto::keys::{self, name};

use crate::options::Options;
use crate::report::Reporter;
use crate::supervise::Service;
use crate::watch::Watcher;
use crate::{InitError, console, device, launch, mounts, network, qemu, qmp, seed, shell};

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
    mounts::seal_root()?;
    set(OVERCOMMIT)?;
    if let Err(error) = set(GRANTS) {
        // A kernel without this driver serves a guest as long as nothing uses a channel.
        console::say(&error.chain());
    }
    let options = Options::read()?;
    shell::start(options);
    let guest = reporter.guest()?;
    let mut watcher = Watcher::open()?;
    wait_for_go(reporter, &mut watcher)?;
    reporter.stage(Stage::Devices)?;
    seed::take(reporter)?;
    let mut arguments = qemu::arguments(reporter, guest)?;
    prepare(&arguments)?;
    let listener = qmp::listener(Path::new(qmp::SOCKET));
    let listener = listener.map_err(|source| InitError::Channel { operation: "listening for", source })?;
    arguments.extend(qmp::arguments(listener.as_fd()));
    let (process, output) = launch::start(&arguments, Some(listener.as_fd()), options)?;
    drop(listener);
    reporter.stage(Stage::QemuStarted)?;
    console::say(&format!("QEMU started for guest {guest} with {} arguments", arguments.len()));
    Service::new(reporter, watcher, children, process, output)?.run()
}

/// Makes ready what QEMU's arguments name, and hands it over.
fn prepare(arguments: &[String]) -> Result<(), InitError> {
    let devices = || qemu::disks(arguments).chain(qemu::serials(arguments));
    for device in devices() {
        device::wait(device, device::DEADLINE)?;
    }
    let taps = network::taps(arguments);
    network::join(&taps, device::DEADLINE)?;
    launch::hand_over(devices().chain(network::devices(&taps)))
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
    // Toolstacks that do not know this protocol write QEMU's arguments before the stubdomain runs, and no more.
    if qemu::arguments(reporter, reporter.guest()?).is_ok_and(|arguments| !arguments.is_empty()) {
        return Ok(());
    }
    while reporter.read_optional(&go)?.as_deref() != Some(keys::GO) {
        watcher.event()?;
    }
    Ok(())
}
