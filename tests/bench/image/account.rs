// SPDX-License-Identifier: GPL-3.0-only
//! One start of a pair, with Xen's account of the stubdomain's CPU time at each step.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libstub::{GuestConfig, Journal, Milestone, XenHost};
use stub_tests::guest::Guest;
use stub_tests::shell;
use xen_sys::{Ctrl, DomId};

/// What PIDs 1 say on the console when they start QEMU: ours, and the shell's.
const QEMU_STARTS: [&str; 2] = ["stub-init: QEMU started for guest", shell::LAST_WORD];
/// How often the console's log is looked at: what is found late is counted as the stubdomain's.
const LOOK: Duration = Duration::from_millis(2);
/// Domain 0 is never a stubdomain.
const NONE: u16 = 0;

/// What a start took.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    /// Until QEMU's exec, in the stubdomain's CPU time.
    pub(super) cpu_to_exec: Duration,
    /// Until QEMU's ready key.
    pub(super) cpu_to_ready: Duration,
    /// Until the stubdomain's first stage, if it tells any.
    pub(super) cpu_to_user_space: Option<Duration>,
    /// From the first check until the guest runs.
    pub(super) wall: Duration,
}

/// The CPU time of a domain so far.
fn cpu_time(ctrl: &Ctrl, domain: u16) -> Duration {
    ctrl.domain_info(DomId::new(domain)).ok().flatten().map(|info| info.cpu_time).unwrap_or_default()
}

/// Starts `guest`, and leaves it running.
///
/// # Errors
/// What the create failed with.
pub(super) fn start(guest: &Guest) -> Result<Start, String> {
    let log = format!("/var/log/xen/console/guest-{}-dm.log", guest.name);
    let (stubdom, over) = (AtomicU16::new(NONE), AtomicBool::new(false));
    let ctrl = Ctrl::open().expect("a dom0");
    let mut start = Start::default();
    let host = Box::new(XenHost::open().expect("a dom0"));
    let config = GuestConfig::read(&guest.config()).expect("a valid config");
    let (result, cpu_to_exec) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(log.as_ref(), &stubdom, &over));
        let began = Instant::now();
        let operation = libstub::create(host, Journal::new(libstub::DIRECTORY), config);
        let result = operation.expect("an event loop").wait(|event| match event.milestone {
            Milestone::ShellsCreated { stubdom: id, .. } => stubdom.store(id.get(), Ordering::Release),
            Milestone::Stubdom(proto::Stage::Booted) => {
                start.cpu_to_user_space = Some(cpu_time(&ctrl, stubdom.load(Ordering::Acquire)));
            }
            Milestone::ReadySeen => start.cpu_to_ready = cpu_time(&ctrl, stubdom.load(Ordering::Acquire)),
            Milestone::GuestUnpaused => start.wall = began.elapsed(),
            _ => {}
        });
        over.store(true, Ordering::Release);
        (result.expect("an event loop"), watcher.join().expect("no panic"))
    });
    if let Err(error) = result {
        let last = error.findings.console.last().cloned().unwrap_or_default();
        return Err(format!("{error}: {} [{last}]", error.cause));
    }
    start.cpu_to_exec = cpu_to_exec.ok_or("nothing on the console tells that QEMU started")?;
    Ok(start)
}

/// The stubdomain's CPU time when its console says that QEMU starts.
fn watch(log: &Path, stubdom: &AtomicU16, over: &AtomicBool) -> Option<Duration> {
    let ctrl = Ctrl::open().expect("a dom0");
    loop {
        let last_look = over.load(Ordering::Acquire);
        let text = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if QEMU_STARTS.iter().any(|word| text.contains(word)) {
            return Some(cpu_time(&ctrl, stubdom.load(Ordering::Acquire)));
        }
        if last_look {
            return None;
        }
        thread::sleep(LOOK);
    }
}
