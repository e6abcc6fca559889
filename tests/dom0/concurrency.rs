// SPDX-License-Identifier: GPL-3.0-only
//! Several `stubctl` at once, on one pair and on many.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stepper::Stepper;
use stub_tests::stubctl::{self, Ran, stubctl};

/// How many pairs are started at once, and how many if THOROUGH is set.
const MANY: usize = 6;
const ALL_AT_ONCE: usize = 20;

fn many() -> usize {
    if std::env::var_os("THOROUGH").is_some() { ALL_AT_ONCE } else { MANY }
}

fn start(args: &[&str]) -> Child {
    let mut command = Command::new("stubctl");
    command.arg("--json").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("stubctl in PATH")
}

fn end(child: Child) -> Ran {
    let ran = Ran::from(child.wait_with_output().expect("its output"));
    println!("{ran:?}");
    ran
}

/// The code of its error, or `done`.
fn outcome(ran: &Ran) -> String {
    match ran.status {
        0 => "done".to_owned(),
        _ => ran.json()["error"]["code"].as_str().expect("a code").to_owned(),
    }
}

fn config(guest: &Guest) -> String {
    guest.config().display().to_string()
}

/// The points of a create at which something else is tried: before its record, among its domains, in its wait.
const POINTS: [usize; 3] = [2, 20, 45];

#[test]
fn of_two_creates_of_one_name_one_wins() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = config(&guest);
    let runs = [(); 2].map(|()| start(&["create", &config])).map(end);
    let mut outcomes = runs.each_ref().map(outcome);
    outcomes.sort_unstable();
    assert_eq!(outcomes[0], "done", "{outcomes:?}");
    assert!(["pair-busy", "pair-exists"].contains(&outcomes[1].as_str()), "{outcomes:?}");
    let list = stubctl(&["--json", "list"]).json();
    assert_eq!(list["pairs"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["pairs"][0]["state"], "running", "{list}");
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn a_destroy_and_a_reap_leave_a_create_alone_that_is_under_way() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = config(&guest);
    for at in POINTS {
        let (create, last) = Stepper::stop_at(&["create", &config], at);
        println!("stopped at point {at}, after {last}");
        let destroy = stubctl(&["--json", "destroy", &guest.name]);
        let second = stubctl(&["--json", "create", &config]);
        let reap = stubctl(&["--json", "reap"]);
        assert_eq!(reap.status, 0, "{reap:?}");
        assert_eq!(reap.json()["pairs"], serde_json::json!([]), "a create under way was reaped");
        assert_eq!([outcome(&destroy), outcome(&second)], ["pair-busy", "pair-busy"]);
        assert!(create.finish().success(), "it was disturbed at point {at}");
        stubctl::destroy(&guest);
        probe.assert_restored();
    }
}

#[test]
fn of_two_destroys_one_ends_the_pair_and_the_other_says_so() {
    let probe = Probe::take();
    let guest = Guest::new();
    for at in [2, 10] {
        stubctl::create_running(&guest);
        let (first, last) = Stepper::stop_at(&["destroy", &guest.name], at);
        println!("stopped at point {at}, after {last}");
        assert_eq!(outcome(&stubctl(&["--json", "destroy", &guest.name])), "pair-busy");
        assert!(first.finish().success(), "it was disturbed at point {at}");
        probe.assert_restored();
    }
    stubctl::create_running(&guest);
    let runs = [(); 2].map(|()| start(&["destroy", &guest.name])).map(end);
    let mut outcomes = runs.each_ref().map(outcome);
    outcomes.sort_unstable();
    assert_eq!(outcomes[0], "done", "{outcomes:?}");
    assert!(["pair-busy", "no-such-pair"].contains(&outcomes[1].as_str()), "{outcomes:?}");
    probe.assert_restored();
}

#[test]
fn creates_destroys_and_reaps_of_what_a_killed_create_left_end_well() {
    let probe = Probe::take();
    let guest = Guest::new();
    let config = config(&guest);
    for _ in 0..2 {
        let (create, last) = Stepper::stop_at(&["create", &config], 30);
        println!("killed after {last}");
        create.signal("KILL");
        create.finish();
        let runs = [
            start(&["reap"]),
            start(&["create", &config]),
            start(&["destroy", &guest.name]),
            start(&["reap", &guest.name]),
        ];
        let [reap, create, destroy, again] = runs.map(end).each_ref().map(outcome);
        assert_eq!((reap.as_str(), again.as_str()), ("done", "done"));
        assert!(["done", "pair-busy"].contains(&create.as_str()), "{create}");
        assert!(["done", "pair-busy", "no-such-pair"].contains(&destroy.as_str()), "{destroy}");
        // Whichever came first: nothing is half there.
        let list = stubctl(&["--json", "list"]).json();
        let states: Vec<&str> = list["pairs"]
            .as_array()
            .expect("pairs")
            .iter()
            .filter_map(|pair| pair["state"].as_str())
            .collect();
        assert!(states.is_empty() || states == ["running"], "{list}");
        if !states.is_empty() {
            stubctl::destroy(&guest);
        }
        probe.assert_restored();
    }
}

/// Runs one command for each guest, all at once; gives those that failed.
fn all_at_once(what: &str, guests: &[Guest], args: impl Fn(&Guest) -> [String; 2]) -> Vec<Ran> {
    let began = Instant::now();
    let run = |guest: &Guest| start(&args(guest).each_ref().map(String::as_str));
    let runs: Vec<Child> = guests.iter().map(run).collect();
    let ends = runs.into_iter().map(|run| Ran::from(run.wait_with_output().expect("its output")));
    let failed: Vec<Ran> = ends.filter(|ran| ran.status != 0).collect();
    println!("figure: {} {what} at once took {:.1} s", guests.len(), began.elapsed().as_secs_f64());
    failed
}

#[test]
fn many_creates_at_once_all_end_in_a_running_guest() {
    let probe = Probe::take();
    // As much as fits twenty times, and as long as twenty take that share two emulated processors.
    let small =
        |_| Guest::new().with("stubdomain_memory = 104").with("memory = 16").with("stubdomain_timeout = 240");
    let guests: Vec<Guest> = (0..many()).map(small).collect();
    let failed = all_at_once("creates", &guests, |guest| ["create".to_owned(), config(guest)]);
    let list = stubctl(&["--json", "list"]).json();
    let left = all_at_once("destroys", &guests, |guest| ["destroy".to_owned(), guest.name.clone()]);
    assert!(failed.is_empty(), "{failed:#?}");
    let pairs = list["pairs"].as_array().expect("pairs");
    assert_eq!(pairs.len(), guests.len());
    assert!(pairs.iter().all(|pair| pair["state"] == "running"), "{list}");
    assert!(left.is_empty(), "{left:#?}");
    // dom0's table of event channels grows by pages that Xen keeps.
    probe.assert_restored_but_for_pages(4);
}
