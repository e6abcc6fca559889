// SPDX-License-Identifier: GPL-3.0-only
//! Many pairs in one dom0: what one more costs when there are many, and what each leaves in dom0.

use std::time::Instant;

use stub_tests::guest::Guest;
use stub_tests::keeper::Keeper;
use stub_tests::report::{Report, median};
use stub_tests::{stubctl, wait_for};
use xen_sys::Ctrl;

use crate::dom0::Reading;
use crate::way::OURS;

/// So many are started, one after the other.
const PAIRS: usize = 60;
/// The least memory that the minimal kernel and the boot-sector guest need, in MiB.
const STUBDOM_MIB: u32 = 48;
const GUEST_MIB: u32 = 16;
/// So many at each end are compared.
const END: usize = 5;
/// So many share the daemon when the memory of dom0's processes is looked at.
const WATCHED: usize = 10;

fn small() -> Guest {
    OURS.guest().with(&format!("stubdomain_memory = {STUBDOM_MIB}")).with(&format!("memory = {GUEST_MIB}"))
}

/// dom0's processes with a daemon that looks after some pairs.
pub(crate) fn processes(ctrl: &Ctrl, report: &mut Report) {
    let before = Reading::take(ctrl);
    let daemon = Keeper::daemon(&[]);
    let guests: Vec<Guest> = (0..WATCHED).map(|_| small()).collect();
    for guest in &guests {
        stubctl::create_running(guest);
    }
    let supervised = || {
        let list = stubctl::stubctl(&["--json", "list"]).json();
        let pairs = list["pairs"].as_array().expect("pairs").clone();
        (pairs.len() == WATCHED && pairs.iter().all(|pair| pair["supervised"] == true)).then_some(())
    };
    wait_for("a daemon that looks after all", supervised);
    let after = Reading::take(ctrl);
    let count = f64::from(u32::try_from(WATCHED).expect("few"));
    let per_pair = (after.processes - before.processes) / count;
    let kernel = (after.kernel - before.kernel) / count;
    report.note(format!(
        "{WATCHED} pairs and their daemon: {per_pair:.2} MiB of processes in dom0 for each pair, {kernel:.2} MiB of dom0's \
         kernel."
    ));
    report.goal("processes in dom0 per pair, MiB", per_pair, 1.0);
    for guest in &guests {
        stubctl::destroy(guest);
    }
    daemon.end();
}

/// Pairs until there are many.
pub(crate) fn many(ctrl: &Ctrl, report: &mut Report) {
    let mut guests = Vec::new();
    let mut costs = Vec::new();
    let mut rows = Vec::new();
    for number in 1..=PAIRS {
        let guest = small();
        let (before, began) = (Reading::take(ctrl), Instant::now());
        stubctl::create_running(&guest);
        let wall = began.elapsed().as_secs_f64();
        let cpu = Reading::take(ctrl).cpu - before.cpu;
        costs.push(cpu);
        if number == 1 || number % 10 == 0 {
            rows.push(vec![number.to_string(), format!("{cpu:.2}"), format!("{wall:.2}")]);
        }
        guests.push(guest);
    }
    for guest in &guests {
        wait_for("the guest's word", || (guest.times_spoken() > 0).then_some(()));
    }
    let list = stubctl::stubctl(&["--json", "list"]).json();
    let running = list["pairs"].as_array().expect("pairs").iter().filter(|pair| pair["state"] == "running");
    assert_eq!(running.count(), PAIRS, "{list}");
    report.table(
        &format!("{PAIRS} pairs, one after the other"),
        &["the n-th pair", "dom0's CPU, s", "create, s"],
        &rows,
    );
    let growth = median(&costs[PAIRS - END..]) / median(&costs[..END]);
    report.goal(&format!("dom0's CPU of a create with {PAIRS} pairs, to one with none"), growth, 1.3);
    for guest in &guests {
        stubctl::destroy(guest);
    }
}
