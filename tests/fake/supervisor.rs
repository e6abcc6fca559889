// SPDX-License-Identifier: GPL-3.0-only
//! A supervisor over the host in memory: policies, limits, its death at any moment, and what a thousand pairs cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libstub::config::{Action, Policy};
use libstub::host::fake::{Behaviour, FakeHost, Fault};
use libstub::host::{DomainKind, FailureKind, Host, HostError, Hypervisor as _, NewDomain};
use libstub::{
    Cause, DomId, End, GuestConfig, Happening, Name, OpenHost, Pair, PairState, Report, RestartLimit,
    ShutdownReason, Supervisor, SupervisorError, SupervisorOptions,
};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

use super::{Bench, quietly};

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

const REASONS: [ShutdownReason; 5] = [
    ShutdownReason::Poweroff,
    ShutdownReason::Reboot,
    ShutdownReason::Crash,
    ShutdownReason::Watchdog,
    ShutdownReason::SoftReset,
];

#[test]
fn a_guest_that_ends_is_removed_kept_or_restarted_as_its_config_says() {
    for reason in REASONS {
        let (bench, made, mut driven) = pair(all(Action::Destroy), options());
        bench.host.shut_down(made.guest, reason);
        driven.until("its removal", removed);
        assert_eq!(ends(&driven.told), [End::Guest(reason)]);
        assert_eq!(bench.remains(), Vec::<String>::new(), "{reason}");

        let (bench, made, mut driven) = pair(all(Action::Preserve), options());
        bench.host.shut_down(made.guest, reason);
        driven.until("its being kept", kept);
        let before = bench.remains();
        driven.during(Duration::from_millis(100));
        assert_eq!(bench.remains(), before, "{reason}: it is touched");
        assert_eq!(driven.told.iter().filter(|report| kept(report)).count(), 1, "it is told once");

        let (bench, made, mut driven) = pair(all(Action::Restart), options());
        bench.host.shut_down(made.guest, reason);
        driven.until("its restart", restarted);
        let Happening::Restarted(again) = &driven.told.last().expect("told").what else { panic!() };
        assert_eq!((&again.name, again.uuid), (&made.name, made.uuid), "{reason}");
        let (pairs, _) = libstub::list(&bench.host, &bench.journal).expect("listed");
        assert_eq!((pairs[0].state, pairs[0].supervised), (PairState::Running, true));
        bench.destroy().expect("destroyed");
        driven.until("its end", |report| report.what == Happening::Forgotten);
        assert_eq!(bench.remains(), Vec::<String>::new(), "{reason}");
    }
}

#[test]
fn a_suspended_guest_is_kept_whatever_the_config_says() {
    let (bench, made, mut driven) = pair(all(Action::Destroy), options());
    bench.host.shut_down(made.guest, ShutdownReason::Suspend);
    driven.until("its being kept", kept);
    bench.destroy().expect("destroyed");
}

#[test]
fn the_death_of_the_device_model_has_a_policy_of_its_own() {
    let policy = Policy { device_model_death: Some(Action::Restart), ..all(Action::Preserve) };
    let (bench, made, mut driven) = pair(policy, options());
    bench.host.shut_down(made.stubdom, ShutdownReason::Crash);
    driven.until("its restart", restarted);
    let reason = Some(ShutdownReason::Crash);
    assert_eq!(ends(&driven.told), [End::StubdomDied { reason, words: None }]);
    // Somebody destroys only the stubdomain of the new one.
    let Happening::Restarted(again) = driven.told.last().expect("told").what.clone() else { panic!() };
    driven.during(Duration::from_millis(100));
    bench.host.remove(again.stubdom);
    driven.until("another restart", restarted);
    assert_eq!(ends(&driven.told)[1], End::StubdomDied { reason: None, words: None });
    bench.destroy().expect("destroyed");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_guest_that_somebody_destroyed_is_cleared_away_and_not_restarted() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.remove(made.guest);
    driven.until("its removal", removed);
    assert_eq!(ends(&driven.told), [End::GuestDestroyed]);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_guest_that_crashes_again_and_again_is_given_up_in_words() {
    let limit = RestartLimit { count: 2, within: Duration::from_secs(600) };
    let (bench, made, mut driven) =
        pair(all(Action::Restart), SupervisorOptions { restarts: limit, ..options() });
    let mut guest = made.guest;
    for _ in 0..2 {
        bench.host.shut_down(guest, ShutdownReason::Crash);
        driven.until("a restart", restarted);
        let Happening::Restarted(again) = &driven.told.last().expect("told").what else { panic!() };
        guest = again.guest;
        driven.during(Duration::from_millis(60));
    }
    bench.host.shut_down(guest, ShutdownReason::Crash);
    driven.until("its removal", removed);
    let words: Vec<String> = driven.told.iter().map(ToString::to_string).collect();
    let given_up = "g was restarted 2 times within 600 s: given up, it is being removed";
    assert!(words.iter().any(|line| line == given_up), "{words:#?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_pair_that_does_not_come_up_again_is_given_up_too() {
    let limit = RestartLimit { count: 1, within: Duration::from_secs(600) };
    let (bench, made, mut driven) =
        pair(all(Action::Restart), SupervisorOptions { restarts: limit, ..options() });
    bench.host.turn(Behaviour::Panic);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("its removal", removed);
    let failed = driven.told.iter().find_map(|report| match &report.what {
        Happening::Failed { why, .. } => Some(why.clone()),
        _ => None,
    });
    let failed = failed.unwrap_or_else(|| panic!("{:#?}", driven.told));
    assert!(failed.contains("the stubdom died (crash)"), "{failed}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_silent_qemu_costs_its_own_pair_only() {
    let asks = SupervisorOptions {
        ask_every: Duration::from_millis(40),
        ask_limit: Duration::from_millis(200),
        ..options()
    };
    let (bench, made, mut driven) = pair(Policy::default(), asks);
    let other = bench.create_named("other");
    driven.until("the other", supervised);
    bench.host.silence(made.stubdom, true);
    driven.until("the removal of the silent one", removed);
    assert!(matches!(&*ends(&driven.told), [End::QemuSilent { .. }]), "{:#?}", driven.told);
    bench.host.shut_down(other.guest, ShutdownReason::Poweroff);
    driven.until("the removal of the other", removed);
    assert_eq!(driven.told.last().and_then(|report| report.pair.clone()), Some(name("other")));
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_silent_qemu_that_is_kept_can_answer_again_and_the_pair_is_well() {
    let asks = SupervisorOptions {
        ask_every: Duration::from_millis(20),
        ask_limit: Duration::from_millis(50),
        ..options()
    };
    let (bench, made, mut driven) = pair(all(Action::Preserve), asks);
    bench.host.silence(made.stubdom, true);
    driven.until("its being kept", kept);
    bench.host.silence(made.stubdom, false);
    driven.until("its answer", |report| report.what == Happening::AnswersAgain);
    driven.during(Duration::from_millis(100));
    bench.host.shut_down(made.guest, ShutdownReason::Crash);
    driven.until("its being kept again", kept);
    bench.destroy().expect("destroyed");
}

#[test]
fn another_domain_under_the_id_of_the_guest_is_left_alone() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.fail(Fault::None);
    bench.host.replace(made.guest);
    driven.until("the removal of what is left", removed);
    assert_eq!(ends(&driven.told), [End::GuestDestroyed]);
    bench.host.shut_down(made.guest, ShutdownReason::Crash);
    driven.during(Duration::from_millis(100));
    assert_eq!(bench.domains(), [format!("domain {}", made.guest)], "the stranger is gone");
    let at = |verb: &str| format!("{verb} {}", made.guest);
    for touch in [at("destroy"), at("pause"), at("remove /local/domain/")] {
        let calls = bench.host.calls();
        assert!(!calls.iter().any(|call| call.contains(&touch)), "{touch}: {calls:#?}");
    }
}

#[test]
fn a_pair_that_its_user_destroys_is_his_to_destroy() {
    let (bench, _, mut driven) = pair(all(Action::Restart), options());
    for _ in 0..5 {
        bench.destroy().expect("destroyed");
        driven.until("its end", |report| report.what == Happening::Forgotten);
        bench.create().expect("created anew");
        driven.until("the new one", supervised);
    }
    bench.destroy().expect("destroyed");
    driven.during(Duration::from_millis(100));
    assert_eq!(ends(&driven.told), Vec::<End>::new(), "{:#?}", driven.told);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn one_looks_after_all_and_one_after_each() {
    let bench = Bench::new(Behaviour::Ready);
    let only = |pair: &str| SupervisorOptions { only: Some(name(pair)), ..options() };
    let mut run = Driven::start(&bench, only("g")).expect("the first");
    assert!(matches!(Driven::start(&bench, only("g")), Err(SupervisorError::Pair(_))));
    let mut daemon = Driven::start(&bench, options()).expect("of all others");
    assert!(matches!(Driven::start(&bench, options()), Err(SupervisorError::Daemon(_))));
    let made = run.supervisor.create(bench.config.clone()).expect("an operation");
    let made = made.wait(|_| {}).expect("a loop").expect("created");
    run.until("its own pair", supervised);
    let other = bench.create_named("other");
    daemon.until("the other", supervised);
    bench.host.shut_down(made.guest, ShutdownReason::Poweroff);
    bench.host.shut_down(other.guest, ShutdownReason::Poweroff);
    daemon.until("the removal of the other", removed);
    daemon.during(Duration::from_millis(100));
    assert_eq!(daemon.told.iter().filter(|report| report.pair == Some(name("g"))).count(), 0);
    run.until("the removal of its own", removed);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_config_that_asks_for_acts_needs_somebody_and_defaults_do_not() {
    let mut bench = Bench::new(Behaviour::Ready);
    bench.create().expect("by default nothing is asked for");
    bench.destroy().expect("destroyed");
    bench.config.policy.crash = Some(Action::Restart);
    let error = bench.create().expect_err("nobody is there");
    assert!(matches!(&*error.cause, Cause::NobodyActs(keys) if *keys == ["on_crash"]), "{error:?}");
    let error = libstub::preflight(&bench.host, &bench.journal, &bench.config).expect_err("nobody is there");
    assert!(matches!(&*error.cause, Cause::NobodyActs(_)), "{error:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
    let driven = Driven::start(&bench, options()).expect("nobody else");
    bench.create().expect("a daemon is there");
    drop(driven);
    bench.destroy().expect("destroyed");
    let error = bench.create().expect_err("it is gone again");
    assert!(matches!(&*error.cause, Cause::NobodyActs(_)), "{error:?}");
}

#[test]
fn a_restart_takes_the_config_that_the_pair_was_created_from() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    let before = config_in(&bench);
    assert_eq!(before["memory"], serde_json::json!(16 * 1024));
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("its restart", restarted);
    let mut after = config_in(&bench);
    assert_eq!(after["uuid"], made.uuid.to_string(), "the uuid that was chosen is kept");
    after["uuid"] = before["uuid"].clone();
    assert_eq!(after, before);
    bench.destroy().expect("destroyed");
}

fn config_in(bench: &Bench) -> serde_json::Value {
    let text = std::fs::read(bench.record()).expect("a record");
    serde_json::from_slice::<serde_json::Value>(&text).expect("JSON")["config"].clone()
}

/// Lets a supervisor die at its `at`-th call after the guest ended; whether it got that far.
fn dies_at(
    bench: &Bench,
    guest: DomId,
    reason: ShutdownReason,
    at: usize,
    over: fn(&Report) -> bool,
) -> bool {
    let mut driven = Driven::start(bench, options()).expect("nobody else");
    driven.until("the pair", supervised);
    bench.host.fail(Fault::Die(at));
    bench.host.shut_down(guest, reason);
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "call {at}: {:#?}", driven.told);
        if bench.host.calls().len() + 1 >= at {
            // Its threads may be on their way still; they make no call any more.
            driven.process.kill();
            drop(driven);
            bench.host.fail(Fault::None);
            return true;
        }
        match driven.supervisor.dispatch() {
            Ok(Some(report)) if over(&report) => {
                bench.host.fail(Fault::None);
                return false;
            }
            Ok(_) => driven.sleep(Instant::now() + Duration::from_millis(2)),
            Err(_) => {}
        }
    }
}

/// Does `run` for every point of death, many side by side, until it says that it died no more; gives their number.
fn at_every_point(run: impl Fn(usize) -> bool + Sync) -> usize {
    const BESIDE: usize = 16;
    for first in (1..).step_by(BESIDE) {
        let died: Vec<bool> = std::thread::scope(|scope| {
            let runs: Vec<_> = (first..first + BESIDE).map(|at| (at, &run)).collect();
            let runs: Vec<_> = runs.into_iter().map(|(at, run)| scope.spawn(move || run(at))).collect();
            runs.into_iter().map(|run| run.join().expect("no claim failed")).collect()
        });
        if died.contains(&false) {
            return first - 1 + died.iter().filter(|died| **died).count();
        }
    }
    0
}

#[test]
fn whenever_a_supervisor_dies_the_next_one_ends_what_it_began() {
    quietly(|| {
        let points = at_every_point(|at| {
            let bench = Bench::new(Behaviour::Ready);
            let made = bench.create().expect("created");
            if !dies_at(&bench, made.guest, ShutdownReason::Poweroff, at, removed) {
                return false;
            }
            let mut next = Driven::start(&bench, options()).expect("the other is dead");
            let deadline = Instant::now() + PATIENCE;
            while !bench.remains().is_empty() {
                next.during(Duration::from_millis(5));
                assert!(Instant::now() < deadline, "call {at}: {:?} {:#?}", bench.remains(), next.told);
            }
            true
        });
        println!("{points} points of death");
        assert!(points > 10, "hardly a call was made");
    });
}

#[test]
fn whenever_a_supervisor_dies_in_a_restart_the_next_one_has_the_guest_run_once() {
    quietly(|| {
        let points = at_every_point(|at| {
            let mut bench = Bench::new(Behaviour::Ready);
            bench.config.stubdom.timeout = Duration::from_secs(60);
            let made = bench.create().expect("created");
            if !dies_at(&bench, made.guest, ShutdownReason::Reboot, at, restarted) {
                return false;
            }
            let mut next = Driven::start(&bench, options()).expect("the other is dead");
            let running = || {
                let (pairs, _) = libstub::list(&bench.host, &bench.journal).expect("listed");
                pairs.iter().any(|pair| pair.state == PairState::Running && pair.supervised)
            };
            let deadline = Instant::now() + PATIENCE;
            while !running() {
                next.during(Duration::from_millis(5));
                assert!(Instant::now() < deadline, "call {at}: {:?} {:#?}", bench.remains(), next.told);
            }
            next.during(Duration::from_millis(50));
            assert!(running(), "call {at}: {:#?}", next.told);
            assert_eq!(bench.domains().len(), 2, "call {at}: {:#?}", next.told);
            let (pairs, _) = libstub::list(&bench.host, &bench.journal).expect("listed");
            assert_eq!(pairs[0].uuid, made.uuid, "call {at}");
            next.stop();
            bench.destroy().expect("destroyed");
            assert_eq!(bench.remains(), Vec::<String>::new(), "call {at}");
            true
        });
        println!("{points} points of death");
        assert!(points > 40, "hardly a call was made");
    });
}

#[test]
fn a_restart_that_a_stop_interrupts_is_left_to_the_next_one() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.turn(Behaviour::Silence);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("its restart", |report| matches!(report.what, Happening::Restarting { .. }));
    driven.during(Duration::from_millis(200));
    driven.stop();
    assert_eq!(bench.host.remains(), Vec::<String>::new(), "what was begun is undone");
    let (pairs, _) = libstub::list(&bench.host, &bench.journal).expect("listed");
    assert_eq!(pairs[0].state, PairState::Restarting);
    bench.host.turn(Behaviour::Ready);
    let mut next = Driven::start(&bench, options()).expect("nobody else");
    next.until("its restart", restarted);
    bench.destroy().expect("destroyed");
}

#[test]
fn a_pair_about_to_be_restarted_is_no_remains_and_its_name_is_taken() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.turn(Behaviour::Panic);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("a failure", |report| matches!(report.what, Happening::Failed { .. }));
    let reaped = bench.reap(false);
    assert_eq!((reaped.pairs.len(), reaped.busy.len()), (0, 1), "{reaped:?}");
    let error = bench.create().expect_err("the name is taken");
    assert!(matches!(&*error.cause, Cause::PairExists), "{error:?}");
    // When nobody looks after it any more, it is.
    driven.stop();
    assert_eq!(bench.reap(false).pairs.len(), 1);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_pair_that_waits_for_its_restart_can_be_destroyed() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.turn(Behaviour::Panic);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("a failure", |report| matches!(report.what, Happening::Failed { .. }));
    bench.destroy().expect("destroyed");
    driven.until("its end", |report| report.what == Happening::Forgotten);
    bench.host.turn(Behaviour::Ready);
    driven.during(Duration::from_millis(100));
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_removed_is_tried_again_until_it_can() {
    let (bench, made, mut driven) = pair(Policy::default(), options());
    bench.host.fail(Fault::From(1));
    bench.host.shut_down(made.guest, ShutdownReason::Poweroff);
    driven.until("trouble", |report| matches!(report.what, Happening::Trouble(_)));
    bench.host.fail(Fault::None);
    driven.until("its removal", removed);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

/// A bench with one pair of its own, and `beside` others that only its journal and its list of domains have.
fn crowd(beside: usize) -> (Bench, Pair) {
    let bench = Bench::new(Behaviour::Ready);
    let made = bench.create().expect("created");
    let record = std::fs::read_to_string(bench.record()).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    for number in 0..beside {
        let other = format!("g{number}");
        for (role, kind) in [("guest", DomainKind::Hvm), ("stubdom", DomainKind::Pv)] {
            let uuid = uuid::Uuid::new_v4();
            let domid = bench.host.create_domain(&NewDomain { uuid, kind, vcpus: 1 }).expect("a domain");
            bench.host.unpause(domid).expect("it runs");
            record[role] = serde_json::json!({ "uuid": uuid, "domid": domid.get() });
        }
        record["name"] = other.clone().into();
        std::fs::write(bench.journal.directory().join(format!("{other}.json")), record.to_string())
            .expect("a record");
    }
    (bench, made)
}

/// A supervisor that has taken all pairs.
fn taken(bench: &Bench, pairs: usize, options: SupervisorOptions) -> Driven {
    let mut driven = Driven::start(bench, options).expect("nobody else");
    let mut seen = 0;
    driven.until("all pairs", |report| {
        seen += usize::from(supervised(report));
        seen == pairs
    });
    driven.during(Duration::from_millis(200));
    driven
}

/// The calls that an event costs, with so many pairs beside it.
fn calls_for_a_death(beside: usize) -> usize {
    let (bench, made) = crowd(beside);
    let seldom = SupervisorOptions { look_every: Duration::from_secs(3600), ..options() };
    let mut driven = taken(&bench, beside + 1, seldom);
    bench.host.fail(Fault::None);
    let began = Instant::now();
    bench.host.shut_down(made.guest, ShutdownReason::Poweroff);
    driven.until("its removal", removed);
    let took = began.elapsed();
    driven.during(Duration::from_millis(100));
    let calls = bench.host.calls();
    let lists = calls.iter().filter(|call| *call == "list domains").count();
    println!(
        "figure: with {beside} pairs beside it a death cost {} calls, {lists} lists, {took:?}",
        calls.len()
    );
    calls.len()
}

#[test]
fn a_death_costs_as_many_calls_with_a_thousand_pairs_as_with_one() {
    let (one, many) = (calls_for_a_death(0), calls_for_a_death(999));
    // How often blkback and Xen are asked until all is released depends on the moment, and on nothing else.
    assert!(many <= one + 10, "{one} calls with one pair, {many} with 1000");
}

#[test]
fn the_host_is_asked_once_for_all_pairs_and_threads_and_descriptors_are_as_with_one() {
    if !alone("supervisor::the_host_is_asked_once_for_all_pairs_and_threads_and_descriptors_are_as_with_one")
    {
        return;
    }
    let used = |pairs: usize| {
        let (bench, _) = crowd(pairs - 1);
        let mut driven = taken(&bench, pairs, options());
        bench.host.fail(Fault::None);
        driven.during(Duration::from_millis(200));
        let calls = bench.host.calls();
        assert!(calls.iter().all(|call| call == "list domains"), "{calls:?}");
        assert!(!calls.is_empty(), "nothing was looked at");
        let count = |directory: &str| std::fs::read_dir(directory).expect("of this process").count();
        (driven.supervisor.pairs(), count("/proc/self/task"), count("/proc/self/fd"))
    };
    let (few, many) = (used(1), used(1000));
    println!("figure: pairs, threads and descriptors of the process: {few:?}, {many:?}");
    assert!(many.1 <= few.1 + 2 && many.2 <= few.2 + 2, "{few:?}, {many:?}");
}

/// Runs a test in a process of its own, where no other one has threads and descriptors; whether this is that process.
fn alone(test: &str) -> bool {
    if std::env::var_os("ALONE").is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    let out = command.args([test, "--exact", "--nocapture"]).env("ALONE", "1").output().expect("run");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    println!("{text}");
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    false
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
