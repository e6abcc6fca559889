// SPDX-License-Identifier: GPL-3.0-only
//! A wait for QEMU: what ends it, what prolongs it, and what does not.

use std::thread;
use std::time::{Duration, Instant};

use libstub::host::BackendState;
use libstub::host::fake::{Behaviour, FakeHost, Fault};
use libstub::{Cause, CreateError, DestroyError, Milestone, Pair, Stage};

use super::Bench;

/// Longer than anything here takes.
const NEVER: Duration = Duration::from_secs(3600);

/// A create whose stubdomain does nothing by itself; `then` is done beside its wait, by who knows the host.
fn create(
    bench: &Bench,
    timeout: Duration,
    then: impl FnOnce(FakeHost) + Send + 'static,
) -> (Result<Pair, CreateError>, Duration) {
    let mut config = bench.config.clone();
    config.stubdom.timeout = timeout;
    let operation = libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), config);
    let (mut then, mut began) = (Some(then), Instant::now());
    let mut world = None;
    let result = operation.expect("an event loop").wait(|event| {
        if event.milestone == Milestone::QemuReleased {
            began = Instant::now();
            let host = bench.host.clone();
            world = then.take().map(|then| thread::spawn(move || then(host)));
        }
    });
    let took = began.elapsed();
    world.expect("QEMU was released").join().expect("no panic");
    (result.expect("an event loop"), took)
}

/// Fails with this cause and leaves nothing; gives how long was waited.
fn timed_out(result: Result<Pair, CreateError>, bench: &Bench) -> Duration {
    let error = result.expect_err("it never becomes ready");
    let Cause::TimedOut { after } = *error.cause else { panic!("{error:?}") };
    assert_eq!(bench.remains(), Vec::<String>::new());
    after
}

#[test]
fn an_event_ends_the_wait_at_once() {
    let bench = Bench::new(Behaviour::Silence);
    let (result, took) = create(&bench, NEVER, |host| {
        thread::sleep(Duration::from_millis(200));
        host.turn(Behaviour::Ready);
    });
    result.expect("created");
    assert!(took < Duration::from_millis(800), "it was polled: {took:?}");
}

#[test]
fn a_lost_event_costs_a_second_at_most() {
    for end in [Behaviour::Ready, Behaviour::Panic, Behaviour::Report] {
        let bench = Bench::new(Behaviour::Silence);
        bench.host.lose_events();
        let turned = Duration::from_millis(200);
        let (result, took) = create(&bench, NEVER, move |host| {
            thread::sleep(turned);
            host.turn(end);
        });
        assert_eq!(result.is_ok(), end == Behaviour::Ready, "{result:?}");
        assert!(took > turned, "it did not wait: {took:?}");
        assert!(took < turned + Duration::from_millis(1500), "{end:?} was noticed after {took:?}");
    }
}

#[test]
fn a_lost_xenstored_ends_the_wait_though_no_event_tells_of_it() {
    let bench = Bench::new(Behaviour::Silence);
    let (result, took) = create(&bench, NEVER, |host| {
        thread::sleep(Duration::from_millis(200));
        host.fail_with(Fault::From(1), libstub::host::fake::Failure::StoreLost);
    });
    let error = result.expect_err("xenstored is gone");
    assert_eq!(error.code().as_str(), "host-store", "{error:?}");
    assert!(took < Duration::from_millis(1700), "it was noticed after {took:?}");
    // Both are dead; what keeps them listed is named.
    let why = |what: &str| {
        let owed = error.owed.iter().find(|owed| owed.what.starts_with(what));
        owed.map(|owed| owed.why.clone()).unwrap_or_else(|| panic!("no {what} in {:?}", error.owed))
    };
    assert_eq!(why("stubdom"), "it is dead, but dom0's kernel holds its pages for vbd 51712, 268441856");
    assert_eq!(why("guest"), "it is a zombie as long as its stubdom exists");
    assert!(why("nodes in xenstore").contains("failed"), "{:?}", error.owed);
    bench.host.fail(Fault::None);
    bench.destroy().expect("paid when xenstored answers again");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn progress_gives_another_timeout() {
    let timeout = Duration::from_millis(400);
    let stages: fn(&FakeHost, u32) = |host, round| match round {
        0 => host.report(Stage::Devices),
        _ => host.report(Stage::QemuStarted),
    };
    let console: fn(&FakeHost, u32) = |host, _| host.say(b"still alive\n");
    for sign in [stages, console] {
        let bench = Bench::new(Behaviour::Silence);
        let (result, took) = create(&bench, timeout, move |host| {
            for round in 0..2 {
                thread::sleep(timeout * 3 / 4);
                sign(&host, round);
            }
            thread::sleep(timeout / 4);
            host.turn(Behaviour::Ready);
        });
        result.expect("it was not given up");
        assert!(took > timeout, "it took {took:?}: there was nothing to prolong");
    }
}

#[test]
fn who_chatters_for_ever_is_not_waited_for() {
    let timeout = Duration::from_millis(300);
    let bench = Bench::new(Behaviour::Silence);
    let (result, took) = create(&bench, timeout, move |host| {
        for _ in 0..20 {
            thread::sleep(timeout / 4);
            host.say(b"soon\n");
        }
    });
    assert_eq!(timed_out(result, &bench), timeout * 4);
    assert!(took < timeout * 5, "it took {took:?}");
}

#[test]
fn a_stubdom_that_falls_silent_ends_the_wait_a_timeout_later() {
    let timeout = Duration::from_millis(400);
    let bench = Bench::new(Behaviour::Silence);
    let (result, _) = create(&bench, timeout, move |host| {
        thread::sleep(timeout / 2);
        host.say(b"one word\n");
    });
    let after = timed_out(result, &bench);
    assert!((timeout * 2..timeout * 3).contains(&after), "{after:?}");
}

#[test]
fn a_failed_create_tells_what_it_found() {
    let bench = Bench::new(Behaviour::Silence);
    let (result, _) = create(&bench, NEVER, |host| {
        host.say(b"Kernel panic\x1b[2J\r\n");
        host.turn(Behaviour::Panic);
    });
    let error = result.expect_err("it panics");
    assert_eq!(error.findings.shutdown, Some(xen_sys::ShutdownReason::Crash));
    assert_eq!(error.findings.console, ["Kernel panic\\u{1b}[2J"]);
    // The stubdomain's disks never got a driver; the guest's cannot have one.
    assert_eq!(error.findings.unconnected.len(), 2, "{:?}", error.findings.unconnected);
    let stubdom = format!("of domain {}: frontend initialising, ", error.stubdom.expect("there was one"));
    assert!(
        error.findings.unconnected.iter().all(|device| device.contains(&stubdom)),
        "{:?}",
        error.findings.unconnected
    );
}

#[test]
fn a_disk_that_blkback_does_not_open_ends_the_create_at_its_deadline() {
    let bench = Bench::new(Behaviour::Ready);
    bench.host.stick(Some(BackendState::Probed));
    let error = create(&bench, Duration::from_millis(300), |host| {
        thread::sleep(Duration::from_millis(600));
        host.stick(None);
    });
    let error = error.0.expect_err("no disk was opened");
    assert!(matches!(*error.cause, Cause::BackendStuck { devid: 268_441_856, .. }), "{error:?}");
    assert!(error.owed.is_empty(), "{error:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn what_dom0s_kernel_says_of_a_disk_ends_the_wait_for_it() {
    let bench = Bench::new(Behaviour::Ready);
    bench.host.stick(Some(BackendState::Probed));
    let (result, took) = create(&bench, NEVER, |host| {
        thread::sleep(Duration::from_millis(200));
        host.complain(b"2 creating vbd structure\x1b");
        thread::sleep(Duration::from_millis(200));
        host.stick(None);
    });
    let error = result.expect_err("the kernel has given up");
    assert!(took < Duration::from_secs(5), "it waited for what could not come: {took:?}");
    let said = &error.findings.unconnected;
    assert!(said.iter().any(|device| device.ends_with("; 2 creating vbd structure\\u{1b}")), "{said:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_disk_that_blkback_keeps_is_owed_when_its_time_is_up_and_paid_later() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    bench.host.stick(Some(BackendState::Open));
    let began = Instant::now();
    let error = bench.destroy().expect_err("blkback keeps the disks");
    let DestroyError::Owed { owed, .. } = error else { panic!("{error:?}") };
    assert!(began.elapsed() < Duration::from_secs(30), "one limit for all disks: {:?}", began.elapsed());
    assert_eq!(owed.iter().filter(|owed| owed.why == "blkback still holds it").count(), 3, "{owed:?}");
    bench.host.stick(None);
    let reaped = bench.reap(false);
    assert!(reaped.pairs.iter().all(|pair| pair.owed.is_empty()), "{reaped:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}
