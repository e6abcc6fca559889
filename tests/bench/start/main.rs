// SPDX-License-Identifier: GPL-3.0-only
//! Starts and ends of guests, ours and upstream's in turns: wall time, CPU, calls, memory; alone, and many at once.
#![forbid(unsafe_code)]

mod crowd;
mod dom0;
mod sample;
mod way;

use stub_tests::report::{Report, rounds};
use stub_tests::stamps::Clocks;
use stub_tests::stubctl;
use xen_sys::Ctrl;

/// Guests at once.
const AT_ONCE: [usize; 3] = [5, 10, 20];

/// The most that this many at once may take of upstream's time.
const AT_ONCE_MOST: f64 = 0.25;

/// `ONLY` names the parts that are wanted; without it all are.
fn wanted(part: &str) -> bool {
    std::env::var("ONLY").map_or(true, |only| only.split(',').any(|only| only == part))
}

fn main() {
    let ctrl = Ctrl::open().expect("a dom0");
    dom0::count_calls();
    let clocks = Clocks::compare();
    let mut report = Report::new("Start and end of guests, stubctl against xl");
    let tools = (&ctrl, &clocks);
    if wanted("same") {
        for comparison in &way::SAME {
            sample::compare(tools, comparison, (1, rounds(5)), &mut report);
        }
    }
    if wanted("best") {
        sample::compare(tools, &way::BEST, (1, rounds(5)), &mut report);
    }
    for count in AT_ONCE {
        if wanted(&format!("at-once-{count}")) {
            let comparison = way::Comparison { most: AT_ONCE_MOST, ..way::BEST };
            sample::compare(tools, &comparison, (count, rounds(5)), &mut report);
        }
    }
    if wanted("processes") {
        crowd::processes(&ctrl, &mut report);
    }
    if wanted("many") {
        crowd::many(&ctrl, &mut report);
    }
    report.note(
        "Medians; ratios are medians of the ratios of runs that followed each other. CPU is Xen's own accounting; calls \
         into Xen are those of dom0's programs, and for many guests at once calls and CPU are those of all.",
    );
    let missed = report.missed();
    report.publish();
    stubctl::stubctl(&["list"]);
    assert!(missed.is_empty(), "missed: {missed:?}");
}
