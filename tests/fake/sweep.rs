// SPDX-License-Identifier: GPL-3.0-only
//! Whatever call fails, and however, nothing is left, or what is left is owed and paid by the next reap.
//!
//! A call is one to the host, or an access to a file of the journal.

use std::time::{Duration, Instant};

use libstub::host::fake::{Behaviour, Failure, Fault};
use libstub::{Cause, Code, DestroyError};

use super::Bench;

/// No wait of a teardown is as short, and nothing else here takes as long.
const BLIND: Duration = Duration::from_secs(10);

/// Does something on a new bench with a fault at the n-th call, for every n, until it makes fewer calls, and that for
/// every kind of failure; tells the number of points.
fn sweep(
    what: &str,
    fault: impl Fn(usize) -> Fault,
    prepare: impl Fn(&Bench),
    run: impl Fn(&Bench, Failure, &str),
) {
    let mut points = 0;
    for failure in Failure::ALL {
        for at in 1.. {
            let bench = Bench::new(Behaviour::Ready);
            prepare(&bench);
            bench.host.fail_with(fault(at), failure);
            let place = format!("{failure:?} at call {at}");
            let began = Instant::now();
            run(&bench, failure, &place);
            assert!(began.elapsed() < BLIND, "{place}: something was waited for that could not come");
            assert_eq!(bench.remains(), Vec::<String>::new(), "{place}");
            if !bench.reached(at) {
                assert!(at > 10, "hardly a call was made");
                points += at - 1;
                break;
            }
        }
    }
    println!("{what}: {points} points of failure, {} kinds", Failure::ALL.len());
}

impl Bench {
    /// Whether the faulty part made this call, while its fault was set.
    fn reached(&self, at: usize) -> bool {
        self.made.get() >= at
    }

    /// Ends the faulty part: from here on all calls succeed.
    fn mend(&self) {
        self.made.set(self.host.calls().len());
        self.host.fail(Fault::None);
    }

    /// Pays what is owed, and ends the pair if it still runs.
    fn pay(&self, place: &str) {
        let reaped = self.reap(false);
        assert!(reaped.pairs.iter().all(|pair| pair.owed.is_empty()), "{place}: {reaped:?}");
        match self.destroy() {
            Ok(_) | Err(DestroyError::NoSuchPair(_)) => {}
            Err(error) => panic!("{place}: {error:?}"),
        }
    }
}

fn create(bench: &Bench, failure: Failure, place: &str) {
    let result = bench.create();
    bench.mend();
    match result {
        // Some calls only help to explain a failure, or are hints: a create survives them.
        Ok(_) => drop(bench.destroy().expect("destroyed")),
        // What only xenstored can remove, or have removed, is owed.
        Err(_) if failure == Failure::StoreLost => bench.pay(place),
        Err(error) => assert!(error.owed.is_empty(), "{place}: {error:?}"),
    }
}

#[test]
fn a_create_that_fails_at_any_call_leaves_nothing() {
    sweep("create", Fault::Once, |_| (), create);
}

#[test]
fn a_create_that_loses_the_answer_of_any_call_leaves_nothing() {
    sweep("create, answers lost", Fault::After, |_| (), create);
}

#[test]
fn what_a_host_that_stays_broken_owes_is_paid_later() {
    sweep(
        "create, broken from there on",
        Fault::From,
        |_| (),
        |bench, _, place| {
            let result = bench.create();
            bench.mend();
            match result {
                Err(error) if error.owed.is_empty() => {
                    assert_eq!(bench.remains(), Vec::<String>::new(), "{place}: {error:?}");
                }
                _ => bench.pay(place),
            }
        },
    );
}

#[test]
fn a_create_that_fails_names_the_stage_it_came_to() {
    let mut stages = Vec::new();
    for at in 1.. {
        let bench = Bench::new(Behaviour::Ready);
        bench.host.fail(Fault::Once(at));
        let result = bench.create();
        if bench.host.calls().len() < at {
            break;
        }
        if let Err(error) = result {
            let told = format!("create of g failed {}", error.stage);
            assert!(error.to_string().starts_with(&told), "{error}");
            stages.push((error.stage.as_str(), error.stage.to_string()));
            stages.dedup();
        }
    }
    let names: Vec<&str> = stages.iter().map(|(name, _)| *name).collect();
    let order =
        ["preflight", "shells", "stubdom", "rootfs", "stubdom", "guest", "devices", "ready", "unpause"];
    assert_eq!(names, order);
    let words: Vec<&str> = stages.iter().map(|(_, words)| words.as_str()).collect();
    assert_eq!(words[0], "in preflight");
    assert_eq!(words[8], "unpausing the guest");
}

fn destroy(bench: &Bench, _: Failure, place: &str) {
    let result = bench.destroy();
    bench.mend();
    match result {
        Ok(_) => assert_eq!(bench.remains(), Vec::<String>::new(), "{place}"),
        Err(DestroyError::Owed { .. } | DestroyError::Journal(_)) => match bench.destroy() {
            Ok(_) | Err(DestroyError::NoSuchPair(_)) => {}
            Err(error) => panic!("{place}: the second try fails: {error:?}"),
        },
        Err(error) => panic!("{place}: {error:?}"),
    }
}

fn running(bench: &Bench) {
    bench.create().expect("created");
}

#[test]
fn a_destroy_that_fails_at_any_call_can_be_done_again() {
    sweep("destroy", Fault::Once, running, destroy);
}

#[test]
fn a_destroy_that_loses_the_answer_of_any_call_can_be_done_again() {
    sweep("destroy, answers lost", Fault::After, running, destroy);
}

#[test]
fn a_destroy_on_a_host_that_stays_broken_can_be_done_again() {
    sweep("destroy, broken from there on", Fault::From, running, destroy);
}

fn reap(bench: &Bench, _: Failure, place: &str) {
    let result = bench.try_reap(false);
    bench.mend();
    if let Err(error) = result {
        // A damaged record that could not be read at first is met again, as one of domains without a record.
        let codes = [Code::HostCall, Code::HostStore, Code::JournalIo, Code::JournalUnreadable];
        assert!(codes.contains(&error.code()), "{place}: {error:?}");
    }
    bench.reap(false);
    bench.forget_damaged();
}

#[test]
fn a_reap_that_fails_at_any_call_is_finished_by_the_next() {
    let unfinished = |bench: &Bench| {
        running(bench);
        bench.host.fail_with(Fault::From(4), Failure::StoreLost);
        bench.destroy().expect_err("xenstored is gone");
        bench.host.fail(Fault::None);
    };
    sweep("reap of a destroy that did not end", Fault::Once, unfinished, reap);
    let orphan = |bench: &Bench| {
        running(bench);
        std::fs::remove_file(bench.record()).expect("its record is lost");
    };
    sweep("reap of an orphan", Fault::Once, orphan, reap);
    let damaged = |bench: &Bench| {
        running(bench);
        std::fs::write(bench.record(), "{").expect("damaged");
    };
    sweep("reap of a damaged record", Fault::Once, damaged, reap);
    sweep("reap of a damaged record, answers lost", Fault::After, damaged, reap);
    sweep("reap of a damaged record, broken from there on", Fault::From, damaged, reap);
}

#[test]
fn a_stubdom_that_panics_ends_the_create_with_its_reason() {
    let bench = Bench::new(Behaviour::Panic);
    let error = bench.create().expect_err("it panics");
    assert!(matches!(*error.cause, Cause::StubdomDied { reason: Some(xen_sys::ShutdownReason::Crash) }));
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_failure_that_is_reported_is_the_cause() {
    let bench = Bench::new(Behaviour::Report);
    let error = bench.create().expect_err("it reports a failure");
    assert!(
        matches!(&*error.cause, Cause::StubdomFailed { report } if report == "waiting: no target"),
        "{error:?}"
    );
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn silence_ends_at_the_deadline() {
    let bench = Bench::new(Behaviour::Silence);
    let error = bench.create().expect_err("it never becomes ready");
    assert!(matches!(*error.cause, Cause::TimedOut { .. }), "{error:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_cancel_ends_the_wait_and_leaves_nothing() {
    let bench = Bench::new(Behaviour::Silence);
    let mut config = bench.config.clone();
    config.stubdom.timeout = std::time::Duration::from_secs(3600);
    let operation = libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), config);
    let operation = operation.expect("an event loop");
    let canceller = operation.canceller();
    let result = operation.wait(move |event| {
        if event.milestone == libstub::Milestone::StubdomUnpaused {
            canceller.cancel();
        }
    });
    let error = result.expect("an event loop").expect_err("cancelled");
    assert!(matches!(*error.cause, Cause::Cancelled), "{error:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_cancel_before_the_guest_runs_is_never_too_late() {
    let bench = Bench::new(Behaviour::Ready);
    let operation =
        libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), bench.config.clone());
    let operation = operation.expect("an event loop");
    operation.cancel();
    let error = operation.wait(|_| {}).expect("an event loop").expect_err("cancelled");
    assert!(matches!(*error.cause, Cause::Cancelled), "{error:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_destroy_during_a_create_is_refused_and_the_create_wins() {
    let bench = Bench::new(Behaviour::Ready);
    let operation =
        libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), bench.config.clone());
    let mut refused = None;
    let result = operation.expect("an event loop").wait(|event| {
        if event.milestone == libstub::Milestone::ReadySeen && refused.is_none() {
            // Tried while the create still holds the name, or when it is over: never in between.
            refused = Some(bench.destroy());
        }
    });
    match (result.expect("an event loop"), refused.expect("the key was seen")) {
        (Ok(_), Err(DestroyError::Journal(libstub::JournalError::Busy(_)))) => {
            drop(bench.destroy().expect("destroyed"))
        }
        (Ok(_), Ok(_)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_record_of_an_earlier_boot_blocks_nothing() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    bench.host.reboot();
    bench.create().expect("created anew");
    bench.host.reboot();
    bench.destroy().expect("there is nothing but the record");
    assert_eq!(bench.remains(), Vec::<String>::new());
}
