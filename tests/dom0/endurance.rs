// SPDX-License-Identifier: GPL-3.0-only
//! Pairs that come and go, one after the other, in one process: nothing grows, in the host or in the process.

use std::fs;
use std::time::{Duration, Instant};

use libstub::{GuestConfig, Journal, XenHost};
use stub_tests::guest::Guest;
use stub_tests::kernel::ready_image;
use stub_tests::probe::Probe;

/// How many cycles there are, and how many if THOROUGH is set.
const CYCLES: usize = 20;
const ALL_CYCLES: usize = 1000;

/// Every so many cycles the stubdomain is a whole Linux with QEMU; the others have a kernel that only gets ready.
const LINUX_EVERY: usize = 5;

/// From this cycle on the process has seen all it can see.
const WARM: usize = LINUX_EVERY;

/// How much more memory the process may have at any time: the allocator keeps some for threads that are gone. It does
/// not depend on the number of cycles, so that what is lost in each shows in the thousand.
const SLACK_KIB: u64 = 2048;

/// What this process has in memory, and how many descriptors.
fn process() -> (u64, usize) {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib = line.trim().trim_end_matches(" kB").parse().expect("a number");
    (kib, fs::read_dir("/proc/self/fd").expect("readable").count())
}

fn cycle(guest: &Guest) -> (Duration, Duration) {
    let began = Instant::now();
    let config = GuestConfig::read(&guest.config()).expect("a valid config");
    let name = config.name.clone();
    let host = || Box::new(XenHost::open().expect("a dom0"));
    let create = libstub::create(host(), Journal::new(libstub::DIRECTORY), config).expect("an event loop");
    create.wait(|_| {}).expect("an event loop").expect("a pair");
    let created = began.elapsed();
    let destroy = libstub::destroy(host(), Journal::new(libstub::DIRECTORY), name).expect("an event loop");
    destroy.wait(|_| {}).expect("an event loop").expect("nothing owed");
    (created, began.elapsed() - created)
}

#[test]
fn many_pairs_in_turn_leave_host_and_process_as_they_were() {
    let probe = Probe::take();
    let cycles = if std::env::var_os("THOROUGH").is_some() { ALL_CYCLES } else { CYCLES };
    let image = ready_image();
    let small = Guest::new().with(&format!("stubdomain_image = \"{}\"", image.path().display()));
    let linux = Guest::new();
    let mut warm = None;
    let (mut created, mut destroyed) = (Vec::new(), Vec::new());
    for number in 1..=cycles {
        let (create, destroy) = cycle(if number % LINUX_EVERY == 0 { &linux } else { &small });
        if number % LINUX_EVERY != 0 {
            created.push(create);
            destroyed.push(destroy);
        }
        probe.assert_restored();
        let (kib, descriptors) = process();
        let (warm_kib, warm_descriptors) = *warm.get_or_insert((kib, descriptors));
        assert_eq!(descriptors, warm_descriptors, "descriptors after cycle {number}");
        if number <= WARM {
            warm = Some((kib.max(warm_kib), descriptors));
        } else {
            assert!(kib <= warm_kib + SLACK_KIB, "{warm_kib} KiB, after cycle {number} {kib} KiB");
        }
        if number % 100 == 0 {
            println!("{number} cycles: {kib} KiB, {descriptors} descriptors");
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    println!(
        "figure: {cycles} cycles, {} of them with Linux; the others: create {:.2} s, destroy {:.2} s; \
         {} KiB after the {WARM}th, {} KiB at the end",
        cycles / LINUX_EVERY,
        median(&mut created),
        median(&mut destroyed),
        warm.map_or(0, |(kib, _)| kib),
        process().0
    );
    drop((small, linux, image));
}
