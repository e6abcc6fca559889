// SPDX-License-Identifier: GPL-3.0-only
//! The death of a supervisor at any moment, and the next one.

use std::time::{Duration, Instant};

use libstub::config::Action;
use libstub::host::fake::{Behaviour, Fault};
use libstub::{DomId, Happening, PairState, Report, ShutdownReason};

use super::{Driven, PATIENCE, all, options, pair, removed, restarted, supervised};
use crate::{Bench, quietly};

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
