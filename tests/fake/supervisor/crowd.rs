// SPDX-License-Identifier: GPL-3.0-only
//! What a thousand pairs cost.

use std::time::{Duration, Instant};

use libstub::host::fake::{Behaviour, Fault};
use libstub::host::{DomainKind, Hypervisor as _, NewDomain};
use libstub::{Pair, ShutdownReason, SupervisorOptions};

use super::{Driven, options, removed, supervised};
use crate::Bench;

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
    if !alone(
        "supervisor::crowd::the_host_is_asked_once_for_all_pairs_and_threads_and_descriptors_are_as_with_one",
    ) {
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
