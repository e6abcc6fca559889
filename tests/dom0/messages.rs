// SPDX-License-Identifier: GPL-3.0-only
//! What is logged of a real create and destroy, for people and for programs.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stubctl::{self, Ran};

/// What a run logged as JSON, one object a line.
fn logged(ran: &Ran) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    ran.stderr.lines().map(object).collect()
}

/// Runs stubctl with the log of every call, as JSON.
fn run(args: &[&str]) -> Ran {
    let out = Command::new("stubctl").args(["-vv", "--log-format", "json"]).args(args).output();
    let ran: Ran = out.expect("stubctl in PATH").into();
    assert_eq!(ran.status, 0, "{ran:?}");
    ran
}

#[test]
fn every_call_is_logged_with_its_stage_and_the_domains_it_is_about() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config().display().to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let drawing = directory.path().join("create.svg");
    let ran = run(&["--json", "create", "--timeline", &drawing.display().to_string(), &config]);
    let pair = ran.json();
    let drawing = fs::read_to_string(drawing).expect("a drawing");
    let told = pair["timeline"].as_array().expect("a timeline").len();
    // All milestones but the stubdomain's own word that it is ready, which nothing waits for.
    assert!([told, told - 1].contains(&drawing.matches("<rect").count()), "{pair:#} is not in {drawing}");
    for stage in ["unpause of the guest", "kernel, ", "QEMU's start"] {
        assert!(drawing.contains(stage), "no {stage} in {drawing}");
    }
    let mut stages = BTreeSet::new();
    for event in logged(&ran) {
        if event["target"] != "libstub::call" {
            continue;
        }
        let span = &event["span"];
        assert_eq!(span["pair"], guest.name, "outside of the pair's span: {event}");
        let stage = span["stage"].as_str().unwrap_or_else(|| panic!("no stage: {event}")).to_owned();
        if !matches!(stage.as_str(), "preflight" | "shells") {
            assert_eq!(span["guest"], pair["guest"], "{event}");
            assert_eq!(span["stubdom"], pair["stubdom"], "{event}");
        }
        stages.insert(stage);
    }
    let all = ["preflight", "shells", "stubdom", "rootfs", "guest", "devices", "ready", "unpause"];
    assert_eq!(stages, all.map(str::to_owned).into(), "stages with calls");
    let destroyed = run(&["destroy", &guest.name]);
    let events = logged(&destroyed);
    let calls: Vec<&Value> = events.iter().filter(|event| event["target"] == "libstub::call").collect();
    assert!(!calls.is_empty());
    let inside = |event: &&Value| event["span"]["guest"] == pair["guest"];
    assert!(calls.iter().all(inside), "a call outside of the teardown's span: {calls:#?}");
    probe.assert_restored();
}

#[test]
fn a_drawing_that_cannot_be_written_is_told_before_anything_is_made() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = guest.config();
    let ran =
        stubctl::stubctl(&["create", "--timeline", "/nowhere/create.svg", &config.display().to_string()]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("error[output-unwritable]: /nowhere/create.svg"), "{ran:?}");
    drop(guest);
    probe.assert_restored();
}

#[test]
fn three_pairs_start_side_by_side_from_one_loop() {
    let probe = Probe::take();
    let guests = [Guest::new(), Guest::new(), Guest::new()];
    let configs = guests.each_ref().map(Guest::config);
    let ran: Ran = Command::new("three_pairs").args(configs).output().expect("the example in PATH").into();
    println!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.status, 0, "{ran:?}");
    for guest in &guests {
        assert!(ran.stdout.contains(&format!("{}: runs as domain", guest.name)), "{ran:?}");
        guest.await_word();
    }
    // One after the other, the last pair's shells would come after the first pair's guest ran.
    let place = |text: &str| ran.stdout.lines().position(|line| line.contains(text)).expect("an event");
    let last_begin = ran.stdout.lines().enumerate().filter(|(_, line)| line.contains("shells created"));
    assert!(last_begin.map(|(at, _)| at).max() < Some(place("guest unpaused")), "{}", ran.stdout);
    guests.iter().for_each(stubctl::destroy);
    // Three pairs at once have more event channels with dom0 than any before: Xen adds a page to dom0's table of them,
    // once, and keeps it. (Of three such rounds in one boot the second and the third lost nothing.)
    probe.assert_restored_but_for_pages(1);
}
