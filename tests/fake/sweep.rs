// SPDX-License-Identifier: GPL-3.0-only
//! Whatever call fails, nothing is left, or what is left is owed and paid by the next destroy.

use libstub::host::fake::{Behaviour, Fault};
use libstub::{Cause, DestroyError};

use super::Bench;

/// Creates with a fault at the n-th call, for every n, until a create makes fewer calls; gives their number.
fn sweep(fault: impl Fn(usize) -> Fault) -> usize {
    for at in 1.. {
        let bench = Bench::new(Behaviour::Ready);
        bench.host.fail(fault(at));
        let result = bench.create();
        let made = bench.host.calls().len();
        bench.host.fail(Fault::None);
        match result {
            // Some calls only help to explain a failure, or are hints: a create survives them.
            Ok(_) => drop(bench.destroy().expect("destroyed")),
            Err(error) => assert!(error.owed.is_empty(), "call {at}: {error:?}"),
        }
        assert_eq!(bench.remains(), Vec::<String>::new(), "call {at}");
        if made < at {
            println!("{} points of failure", at - 1);
            return at - 1;
        }
    }
    0
}

#[test]
fn a_create_that_fails_at_any_call_leaves_nothing() {
    assert!(sweep(Fault::Once) > 30, "hardly a call was made");
}

#[test]
fn a_create_that_loses_the_answer_of_any_call_leaves_nothing() {
    assert!(sweep(Fault::After) > 30, "hardly a call was made");
}

#[test]
fn what_a_host_that_stays_broken_owes_is_paid_by_a_later_destroy() {
    let probe = Bench::new(Behaviour::Ready);
    probe.create().expect("created");
    let calls = probe.host.calls().len();
    for at in 1..=calls {
        let bench = Bench::new(Behaviour::Ready);
        bench.host.fail(Fault::From(at));
        let error = bench.create().expect_err("all calls fail from here on");
        bench.host.fail(Fault::None);
        if error.owed.is_empty() {
            assert_eq!(bench.remains(), Vec::<String>::new(), "from call {at}: {error:?}");
            continue;
        }
        bench.destroy().unwrap_or_else(|error| panic!("from call {at}: {error:?}"));
        assert_eq!(bench.remains(), Vec::<String>::new(), "from call {at}");
    }
    println!("{calls} points of failure");
}

#[test]
fn a_destroy_that_fails_at_any_call_can_be_done_again() {
    for at in 1.. {
        let bench = Bench::new(Behaviour::Ready);
        bench.create().expect("created");
        bench.host.fail(Fault::Once(at));
        let first = bench.destroy();
        let made = bench.host.calls().len();
        bench.host.fail(Fault::None);
        match first {
            Ok(_) => {}
            Err(DestroyError::Owed { .. }) => drop(bench.destroy().expect("the second try pays")),
            Err(error) => panic!("call {at}: {error:?}"),
        }
        assert_eq!(bench.remains(), Vec::<String>::new(), "call {at}");
        if made < at {
            println!("{} points of failure", at - 1);
            return;
        }
    }
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
