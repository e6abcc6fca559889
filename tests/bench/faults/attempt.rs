// SPDX-License-Identifier: GPL-3.0-only
//! One try of a fault with one toolstack.

use std::fs::{self, File};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stub_tests::guest::xl;
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use xen_sys::{Access as _, Ctrl, DomainKind, Store};

use super::fault::{Ends, Fault, guest};

/// The deadline of `stubctl` where nobody dies; `xl` has its own.
pub(super) const TIMEOUT: u32 = 30;

/// How often the domains are looked at for a death.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// How long a death that nobody notices is waited for.
const UNNOTICED: Duration = Duration::from_secs(30);

/// What became of one try.
pub(super) struct Seen {
    /// From the command's start to its end.
    pub(super) wall: Duration,
    /// From the stubdomain's death to the command's end, if it died before.
    pub(super) told: Option<Duration>,
    pub(super) named: bool,
    pub(super) status: String,
    pub(super) left: Option<String>,
}

/// Keeps the moment at which a PV domain shut down, or vanished after it was there.
fn look_out(stop: &AtomicBool, death: &OnceLock<Instant>) {
    let ctrl = Ctrl::open().expect("Xen's control interface");
    let mut seen = false;
    while !stop.load(Ordering::Relaxed) {
        let domains = ctrl.domains().expect("the list of domains");
        let mut stubdoms = domains.iter().filter(|info| info.domid.get() != 0 && info.kind == DomainKind::Pv);
        match stubdoms.next() {
            Some(info) if info.shutdown.is_none() && !info.dying => seen = true,
            None if !seen => {}
            _ => {
                let _ = death.set(Instant::now());
                return;
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Lets the kernel of the stubdomain panic as soon as its guest runs.
fn panic_later(stop: &AtomicBool) {
    let ctrl = Ctrl::open().expect("Xen's control interface");
    while !stop.load(Ordering::Relaxed) {
        let domains = ctrl.domains().expect("the list of domains");
        let of = |kind| domains.iter().find(|info| info.domid.get() != 0 && info.kind == kind);
        if let (Some(guest), Some(stubdom)) = (of(DomainKind::Hvm), of(DomainKind::Pv))
            && !guest.paused
        {
            let sysrq = format!("/local/domain/{}/control/sysrq", stubdom.domid);
            return Store::open().and_then(|store| store.write(&sysrq, b"c")).expect("a key");
        }
        std::thread::sleep(LOOK);
    }
}

/// The command, which stays with its guest if the fault comes later.
fn command(fault: &Fault, ours: bool) -> Command {
    let mut command = if ours { Command::new("stubctl") } else { xl() };
    match (fault.ends, ours) {
        (Ends::DiesLater, true) => command.arg("run"),
        (Ends::DiesLater, false) => command.args(["create", "-F"]),
        _ => command.arg("create"),
    };
    command
}

/// Runs a command to its end, or until it is in vain; gives its status, none if it was ended, and all that it said.
fn run(mut command: Command, in_vain: impl Fn() -> bool) -> (Option<ExitStatus>, String) {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let to = || File::options().append(true).open(log.path()).expect("a file");
    let mut child = command.stdin(Stdio::null()).stdout(to()).stderr(to()).spawn().expect("a toolstack");
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break Some(status);
        }
        if in_vain() {
            child.kill().and_then(|()| child.wait()).expect("ended");
            break None;
        }
        std::thread::sleep(LOOK);
    };
    (status, String::from_utf8_lossy(&fs::read(log.path()).expect("its log")).into_owned())
}

pub(super) fn try_one(fault: &Fault, ours: bool) -> Seen {
    let probe = Probe::take().of_domains();
    let directory = tempfile::tempdir().expect("a directory");
    let guest = (fault.change)(guest(), directory.path());
    let guest = if ours { guest.with(&format!("stubdomain_timeout = {TIMEOUT}")) } else { guest };
    let config = guest.config();
    let lacking = (fault.host)();
    let mut command = command(fault, ours);
    command.arg(&config);
    let (stop, death) = (AtomicBool::new(false), OnceLock::new());
    let later = fault.ends == Ends::DiesLater;
    let (began, (status, text), ended) = std::thread::scope(|scope| {
        scope.spawn(|| look_out(&stop, &death));
        if later {
            scope.spawn(|| panic_later(&stop));
        }
        let began = Instant::now();
        let in_vain = || later && death.get().is_some_and(|died| died.elapsed() > UNNOTICED);
        let ran = run(command, in_vain);
        let ended = Instant::now();
        stop.store(true, Ordering::Relaxed);
        (began, ran, ended)
    });
    drop(lacking);
    println!("$ {} create: {status:?}\n{text}", if ours { "stubctl" } else { "xl" });
    if status.is_some_and(|status| status.success()) {
        let mut destroy = if ours { Command::new("stubctl") } else { xl() };
        println!("{:?}", destroy.args(["destroy", &guest.name]).output());
    }
    // A word of the config that is only repeated names nothing.
    let said = text.replace(&config.display().to_string(), "");
    let dies = fault.dies();
    let told = death.get().filter(|died| dies && **died <= ended).map(|died| ended - *died);
    let seen = Seen {
        wall: ended - began,
        told: told.filter(|_| status.is_some()),
        named: fault.names.iter().any(|name| said.contains(name)),
        status: status.map_or_else(
            || format!("none in {} s", UNNOTICED.as_secs()),
            |status| status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string()),
        ),
        left: probe.left(),
    };
    if let Some(left) = &seen.left {
        println!("left behind:\n{left}");
    }
    for name in [guest.name.clone(), format!("{}-dm", guest.name)] {
        let _ = xl().args(["destroy", &name]).output();
    }
    stubctl::stubctl(&["reap"]);
    seen
}
