// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl` ended between any two calls of a create or a destroy: what it left is found and removed.

use std::time::Duration;

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stepper::{Stepper, is_point, words};
use stub_tests::stubctl::{self, stubctl};

/// How many points of a sweep are tried when not all are.
const CHOICE: usize = 8;

/// By so many points two creates of the same guest may differ.
const LOOKS: usize = 60;

/// Longer than two signals are one for `stubctl`.
const TOGETHER: Duration = Duration::from_secs(4);

/// All points of a run that is left alone, in order.
fn points(args: &[&str]) -> Vec<String> {
    let mut run = Stepper::start(args);
    let mut points = Vec::new();
    while let Some(event) = run.step() {
        if is_point(&event) {
            points.push(words(&event));
        }
    }
    assert!(run.finish().success(), "{args:?} failed");
    points
}

/// An even choice of points, or all of them if THOROUGH is set.
fn chosen(points: &[String]) -> Vec<usize> {
    let all = std::env::var_os("THOROUGH").is_some();
    let step = if all { 1 } else { points.len().div_ceil(CHOICE).max(1) };
    let chosen: Vec<usize> = (1..=points.len()).step_by(step).collect();
    println!("figure: {} points, {} of them tried: {chosen:?}", points.len(), chosen.len());
    chosen
}

fn reap() {
    let ran = stubctl(&["reap"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let again = stubctl(&["reap"]);
    assert!(again.stdout.contains("nothing is left"), "{again:?}");
}

/// Kills a run at each chosen one of its points; `before` each, and a reap pays for what it left. A pair that was made by
/// then runs on: how often a create looks before that is never the same.
fn kill_at(chosen: &[usize], args: &[&str], probe: &Probe, before: impl Fn()) {
    for &at in chosen {
        before();
        let (run, last) = Stepper::stop_at(args, at);
        run.signal("KILL");
        run.finish();
        println!("killed at point {at}, after {last}");
        reap();
        let list = stubctl(&["--json", "list"]).json();
        for pair in list["pairs"].as_array().expect("pairs") {
            assert!(args[0] == "create" && last.starts_with("unpause "), "left after {last}: {pair:#}");
            let name = pair["name"].as_str().expect("a name");
            assert_eq!(stubctl(&["destroy", name]).status, 0, "{pair:#}");
        }
        probe.assert_restored();
    }
}

#[test]
fn a_create_that_is_killed_at_any_point_is_reaped() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config().display().to_string();
    let points = points(&["create", &config]);
    stubctl::destroy(&guest);
    probe.assert_restored();
    kill_at(&chosen(&points), &["create", &config], &probe, || {});
}

#[test]
fn a_destroy_that_is_killed_at_any_point_is_reaped() {
    let probe = Probe::take();
    let guest = Guest::new();
    stubctl::create_running(&guest);
    let points = points(&["destroy", &guest.name]);
    probe.assert_restored();
    kill_at(&chosen(&points), &["destroy", &guest.name], &probe, || {
        stubctl::create_running(&guest);
    });
}

#[test]
fn a_create_that_is_told_to_end_at_any_point_undoes_itself() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config().display().to_string();
    let points = points(&["create", &config]);
    stubctl::destroy(&guest);
    // With the guest's unpause the pair is made. How often a create looks before that is never the same, and the last calls may
    // be over before the signal is taken.
    let last = points.len().saturating_sub(LOOKS);
    for (at, signal) in chosen(&points).into_iter().zip(["INT", "TERM"].into_iter().cycle()) {
        let (run, before) = Stepper::stop_at(&["create", &config], at);
        // As a terminal does that closes: the two are one.
        run.signals(&[signal, "HUP"]);
        let status = run.finish().code();
        println!("told by SIG{signal} at point {at}, after {before}: {status:?}");
        if at >= last && status == Some(0) {
            stubctl::destroy(&guest);
        } else {
            assert_eq!(status, Some(1));
        }
        probe.assert_restored();
    }
}

#[test]
fn an_operation_that_is_told_twice_ends_at_once_and_is_reaped() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config().display().to_string();
    for args in [["create", &config], ["destroy", &guest.name]] {
        if args[0] == "destroy" {
            stubctl::create_running(&guest);
        }
        let (run, last) = Stepper::stop_at(&args, 9);
        run.signal("INT");
        // It takes two that come together for one.
        std::thread::sleep(TOGETHER);
        run.signal("TERM");
        assert_eq!(run.finish().code(), Some(4), "{args:?}, after {last}");
        reap();
        probe.assert_restored();
    }
}
