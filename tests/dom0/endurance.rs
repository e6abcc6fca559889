// SPDX-License-Identifier: GPL-3.0-only
//! Pairs that come and go, one after the other, in one process and under one daemon: nothing grows, in the host or in
//! the two.

use std::fs;
use std::time::{Duration, Instant};

use libstub::{GuestConfig, Journal, XenHost};
use stub_tests::guest::Guest;
use stub_tests::keeper::Keeper;
use stub_tests::kernel::ready_image;
use stub_tests::probe::Probe;

/// How many cycles there are, and how many if THOROUGH is set.
const CYCLES: usize = 20;
const ALL_CYCLES: usize = 1000;

/// Every so many cycles the stubdomain is a whole Linux with QEMU; the others have a kernel that only gets ready.
const LINUX_EVERY: usize = 5;

/// Every so many cycles the sizes of both processes are shown.
const SHOWN_EVERY: usize = 100;

/// From this cycle on both processes have seen all they can see.
const WARM: usize = LINUX_EVERY;

/// How much more memory a process may have at any time: the allocator keeps some for threads that are gone. It does
/// not depend on the number of cycles, so that what is lost in each shows in the thousand.
const SLACK_KIB: u64 = 2048;

/// What a process takes that could grow.
#[derive(Debug, Clone, Copy)]
struct Size {
    kib: u64,
    descriptors: usize,
}

impl Size {
    fn of_this() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("readable");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        let kib = line.trim().trim_end_matches(" kB").parse().expect("a number");
        Self { kib, descriptors: fs::read_dir("/proc/self/fd").expect("readable").count() }
    }

    fn of(daemon: &Keeper) -> Self {
        let (kib, _, descriptors) = daemon.figures();
        Self { kib, descriptors }
    }

    fn max(self, other: Self) -> Self {
        Self { kib: self.kib.max(other.kib), descriptors: self.descriptors.max(other.descriptors) }
    }

    /// As after the first cycles: the memory may have got a little more.
    fn is_flat(self, warm: Self) -> bool {
        self.descriptors <= warm.descriptors && self.kib <= warm.kib + SLACK_KIB
    }
}

/// Whether something comes to hold within what an event may take.
fn holds_soon(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
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
fn many_pairs_in_turn_leave_host_and_processes_as_they_were() {
    // Each thread of the daemon that asks QEMUs opens the host when it has its first question: in the first cycles.
    let daemon = Keeper::daemon(&["--ask-every", "1", "--ask-limit", "3600"]);
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
        if number <= WARM {
            let (process, keeper) = warm.unwrap_or((Size::of_this(), Size::of(&daemon)));
            warm = Some((Size::of_this().max(process), Size::of(&daemon).max(keeper)));
        } else if let Some((process, keeper)) = warm {
            assert!(Size::of_this().is_flat(process), "cycle {number}: {process:?}, {:?}", Size::of_this());
            // The daemon ends what it had for a pair when it hears of the pair's end.
            let mut now = Size::of(&daemon);
            let flat = || {
                now = Size::of(&daemon);
                now.is_flat(keeper)
            };
            assert!(holds_soon(flat), "cycle {number}: daemon {keeper:?}, {now:?}");
        }
        if number % SHOWN_EVERY == 0 {
            println!("figure: {number} cycles: {:?}, daemon {:?}", Size::of_this(), Size::of(&daemon));
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let (process, keeper) = warm.expect("a cycle");
    println!(
        "figure: {cycles} cycles, {} of them with Linux; the others: create {:.2} s, destroy {:.2} s; process {} KiB after \
         the {WARM}th, {} KiB at the end; daemon {} and {} KiB",
        cycles / LINUX_EVERY,
        median(&mut created),
        median(&mut destroyed),
        process.kib,
        Size::of_this().kib,
        keeper.kib,
        Size::of(&daemon).kib,
    );
    daemon.end();
    drop((small, linux, image));
}
