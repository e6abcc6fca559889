// SPDX-License-Identifier: GPL-3.0-only
//! xenstored stopped, slow, and updated under creates and destroys.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stepper::Stepper;
use stub_tests::stubctl::{self, Ran, stubctl};
use stub_tests::{wait_for, xenstored};

/// What a request to xenstored may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// A stop that a create or a destroy is to outlast.
const SHORT: Duration = Duration::from_secs(6);

/// Where in a create and in a destroy xenstored is stopped.
const CREATE: [usize; 3] = [4, 30, 55];
const DESTROY: [usize; 2] = [3, 12];

/// Stops xenstored, lets `run` go on to its next request, and continues xenstored a while later.
fn outlast(run: Stepper) -> bool {
    let stopped = xenstored::Stopped::now();
    let go_on = thread::spawn(move || {
        thread::sleep(SHORT);
        drop(stopped);
    });
    let status = run.finish();
    go_on.join().expect("no panic");
    status.success()
}

#[test]
fn a_stopped_xenstored_only_delays_a_create_and_a_destroy() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config().display().to_string();
    for at in CREATE {
        let (run, last) = Stepper::stop_at(&["create", &config], at);
        assert!(outlast(run), "a create stopped at point {at}, after {last}, failed");
        stubctl::destroy(&guest);
        probe.assert_restored();
    }
    for at in DESTROY {
        stubctl::create_running(&guest);
        let (run, last) = Stepper::stop_at(&["destroy", &guest.name], at);
        assert!(outlast(run), "a destroy stopped at point {at}, after {last}, failed");
        probe.assert_restored();
    }
}

#[test]
fn a_xenstored_that_stays_stopped_ends_a_create_at_its_limit_and_reap_pays() {
    let probe = Probe::take();
    let guest = Guest::new();
    // More than the daemon's socket lets wait: to connect takes for ever then.
    let others = [(); 4].map(|()| Guest::new());
    let stopped = xenstored::Stopped::now();
    let began = Instant::now();
    let runs = others.each_ref().map(|other| {
        let mut command = Command::new("stubctl");
        command.args(["--json", "create"]).arg(other.config()).stdout(Stdio::piped());
        command.spawn().expect("stubctl in PATH")
    });
    for run in runs {
        let refused = Ran::from(run.wait_with_output().expect("its output"));
        // Nothing was made yet: nothing is owed.
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (1, &"host-store".into()),
            "{refused:?}"
        );
    }
    assert!(began.elapsed() < REPLY_TIMEOUT * 2, "it took {:?}", began.elapsed());
    drop(stopped);
    probe.assert_restored();

    stubctl::create_running(&guest);
    let stopped = xenstored::Stopped::now();
    let began = Instant::now();
    let destroy = stubctl(&["--json", "destroy", &guest.name]);
    println!("figure: a destroy without xenstored's answer took {:.1} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < REPLY_TIMEOUT * 2, "it took {:?}", began.elapsed());
    assert_eq!(destroy.status, 4, "{destroy:?}");
    let error = destroy.json()["error"].clone();
    assert!(error["owed"].to_string().contains("did not answer within 20 s"), "{error:#}");
    drop(stopped);
    let reap = stubctl(&["reap", &guest.name]);
    assert_eq!(reap.status, 0, "{reap:?}");
    probe.assert_restored();
}

#[test]
fn a_slow_xenstored_is_waited_for() {
    let probe = Probe::take();
    let guest = Guest::new().with("stubdomain_timeout = 240");
    let done = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let stopped = xenstored::Stopped::now();
                thread::sleep(Duration::from_millis(300));
                drop(stopped);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let began = Instant::now();
        let create = stubctl::create(&guest);
        let destroy = stubctl(&["destroy", &guest.name]);
        done.store(true, Ordering::Relaxed);
        assert_eq!((create.status, destroy.status), (0, 0), "{create:?} {destroy:?}");
        began.elapsed()
    });
    println!("figure: create and destroy took {:.1} s with a slow xenstored", took.as_secs_f64());
    probe.assert_restored();
}

/// Has xenstored replaced by a new process image with the same state.
fn update() {
    let (pid, began) = (xenstored::pid(), Instant::now());
    // What the kernel tells a program when it starts, random addresses among it: another for each image.
    let image = || fs::read(format!("/proc/{pid}/auxv")).expect("xenstored's image");
    let before = image();
    let binary = fs::read_link(format!("/proc/{pid}/exe")).expect("xenstored's program");
    let out = Command::new("xenstore-control").args(["live-update", "-F"]).arg(&binary).output();
    let out = out.expect("xenstore-control in PATH");
    println!("{out:?} took {:.1} s", began.elapsed().as_secs_f64());
    assert!(out.status.success(), "no live update");
    wait_for("the new image", || (image() != before).then_some(()));
    assert_eq!(xenstored::pid(), pid, "it is another process");
}

#[test]
fn a_live_update_of_xenstored_disturbs_no_create_and_no_destroy() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config().display().to_string();
    for at in CREATE {
        let (run, last) = Stepper::stop_at(&["--json", "create", &config], at);
        update();
        let created = run.end();
        assert_eq!(created.status, 0, "a create at point {at}, after {last}: {}", created.stdout);
        let (run, last) = Stepper::stop_at(&["--json", "destroy", &guest.name], 3);
        update();
        let destroyed = run.end();
        assert_eq!(destroyed.status, 0, "a destroy after {last}: {}", destroyed.stdout);
        probe.assert_restored();
    }
}
