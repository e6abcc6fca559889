// SPDX-License-Identifier: GPL-3.0-only
//! A supervisor over the host in memory.

mod crowd;
mod deaths;
mod policies;
mod restarts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use libstub::config::{Action, Policy};
use libstub::host::fake::{Behaviour, FakeHost};
use libstub::host::{FailureKind, Host, HostError};
use libstub::{
    End, GuestConfig, Happening, Name, OpenHost, Pair, Report, Supervisor, SupervisorError, SupervisorOptions,
};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

use super::Bench;

/// More than any machine needs for what is waited for here.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(name: &str) -> Name {
    Name::new(name).expect("a name")
}

/// Everything on `host`, each thread with watches of its own.
fn opener(host: &FakeHost) -> Arc<OpenHost> {
    let host = host.clone();
    Arc::new(move || match host.open() {
        Ok(host) => Ok(Box::new(host) as Box<dyn Host>),
        Err(error) => {
            let (call, kind) = ("open".to_owned(), FailureKind::Other);
            Err(HostError { call, kind, source: error.into() })
        }
    })
}

/// Looks often and asks seldom, unless a test wants otherwise.
fn options() -> SupervisorOptions {
    SupervisorOptions {
        look_every: Duration::from_millis(20),
        ask_every: Duration::from_secs(3600),
        ..SupervisorOptions::default()
    }
}

/// A supervisor that is driven as a program drives it: by its descriptor and its deadline.
struct Driven {
    process: FakeHost,
    supervisor: Supervisor,
    poll: Poll,
    told: Vec<Report>,
}

impl Driven {
    fn start(bench: &Bench, options: SupervisorOptions) -> Result<Self, SupervisorError> {
        let process = bench.host.another_process().expect("a handle");
        let journal = bench.journal.clone().counted(&process);
        let supervisor = Supervisor::start(opener(&process), journal, options)?;
        let poll = Poll::new().expect("a poll");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&supervisor);
        poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).expect("registered");
        Ok(Self { process, supervisor, poll, told: Vec::new() })
    }

    /// Drives it until `done`, which is given each report.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Report) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(report) = self.supervisor.dispatch().expect("its loop") {
                let over = done(&report);
                self.told.push(report);
                if over {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "{what} did not come: {:#?}", self.told);
            self.sleep(deadline);
        }
    }

    /// Drives it for a while, whatever happens.
    fn during(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            while let Some(report) = self.supervisor.dispatch().expect("its loop") {
                self.told.push(report);
            }
            self.sleep(deadline);
        }
    }

    fn sleep(&mut self, deadline: Instant) {
        let next = self.supervisor.next_deadline().map_or(deadline, |next| next.min(deadline));
        let timeout = next.saturating_duration_since(Instant::now());
        self.poll.poll(&mut mio::Events::with_capacity(4), Some(timeout)).expect("polled");
    }

    fn stop(mut self) -> Vec<Report> {
        self.supervisor.stop();
        let deadline = Instant::now() + PATIENCE;
        while !self.supervisor.is_stopped() {
            while let Some(report) = self.supervisor.dispatch().expect("its loop") {
                self.told.push(report);
            }
            assert!(Instant::now() < deadline, "it does not stop");
            self.sleep(deadline.min(Instant::now() + Duration::from_millis(50)));
        }
        self.told
    }
}

fn supervised(report: &Report) -> bool {
    report.what == Happening::Supervised
}

fn removed(report: &Report) -> bool {
    report.what == Happening::Removed
}

fn restarted(report: &Report) -> bool {
    matches!(report.what, Happening::Restarted(_))
}

fn kept(report: &Report) -> bool {
    report.what == Happening::Kept
}

fn ends(told: &[Report]) -> Vec<End> {
    let end = |report: &Report| match &report.what {
        Happening::Ended(end) => Some(end.clone()),
        _ => None,
    };
    told.iter().filter_map(end).collect()
}

/// A pair that is created, with this policy, and looked after.
fn pair(policy: Policy, options: SupervisorOptions) -> (Bench, Pair, Driven) {
    let mut bench = Bench::new(Behaviour::Ready);
    bench.config.policy = policy;
    let mut driven = Driven::start(&bench, options).expect("nobody else");
    let pair = bench.create().expect("created");
    driven.until("the pair", supervised);
    (bench, pair, driven)
}

fn all(action: Action) -> Policy {
    let said = Some(action);
    Policy {
        poweroff: said,
        reboot: said,
        watchdog: said,
        crash: said,
        soft_reset: said,
        device_model_death: said,
    }
}

impl Bench {
    /// A second pair like the first.
    fn create_named(&self, other: &str) -> Pair {
        let config = GuestConfig { name: name(other), ..self.config.clone() };
        let host = Box::new(self.host.open().expect("a handle"));
        let operation = libstub::create(host, self.journal.clone(), config);
        operation.expect("an event loop").wait(|_| {}).expect("an event loop").expect("created")
    }

    /// The ids of all domains.
    fn domains(&self) -> Vec<String> {
        self.host.remains().into_iter().filter(|line| line.starts_with("domain ")).collect()
    }
}
