// SPDX-License-Identifier: GPL-3.0-only
//! The same faults against `stubctl` and against upstream's `xl`: how soon the command ends after the death, whether it
//! names the cause, and what it leaves behind.
#![forbid(unsafe_code)]

mod attempt;
mod fault;

use stub_tests::report::{Report, median, rounds};

use attempt::{LOOK, Seen, TIMEOUT, try_one};
use fault::{Ends, FAULTS};

/// What the probe found, in a cell of a table.
fn short(left: Option<&String>) -> String {
    let Some(left) = left else { return "nothing".to_owned() };
    let domains = left.lines().filter(|line| line.starts_with("domains: +")).count();
    let processes: Vec<&str> =
        left.lines().filter_map(|line| line.strip_prefix("processes: + ")?.split(' ').next_back()).collect();
    let loops = left.lines().filter(|line| line.starts_with("loop devices: +")).count();
    let numbers = left.lines().find_map(|line| {
        let line = line.strip_prefix("free pages: ")?;
        let mut words = line.split(' ').filter_map(|word| word.parse::<u64>().ok());
        Some(words.next()?.saturating_sub(words.next()?) / 256)
    });
    let mut parts = Vec::new();
    for (count, what) in [(domains, "domains"), (loops, "loop devices")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if let Some(mib) = numbers.filter(|mib| *mib > 0) {
        parts.push(format!("{mib} MiB"));
    }
    if !processes.is_empty() {
        parts.push(processes.join(", "));
    }
    if parts.is_empty() { "other traces".to_owned() } else { parts.join("; ") }
}

/// `ONLY` names the toolstacks and the faults that are wanted; without either, all of them are.
fn wanted(fault: &str, toolstack: &str) -> bool {
    let only = std::env::var("ONLY").unwrap_or_default();
    let (toolstacks, faults): (Vec<&str>, Vec<&str>) =
        only.split(',').filter(|part| !part.is_empty()).partition(|part| ["stubctl", "xl"].contains(part));
    (toolstacks.is_empty() || toolstacks.contains(&toolstack))
        && (faults.is_empty() || faults.contains(&fault))
}

fn main() {
    let rounds = rounds(3);
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for fault in &FAULTS {
        for ours in [true, false] {
            let toolstack = if ours { "stubctl" } else { "xl" };
            if (fault.ends == Ends::OursDies && !ours) || !wanted(fault.what, toolstack) {
                continue;
            }
            println!("== {}: {toolstack}", fault.what);
            let seen: Vec<Seen> = (0..rounds).map(|_| try_one(fault, ours)).collect();
            let told: Vec<f64> =
                seen.iter().filter_map(|seen| seen.told.map(|told| told.as_secs_f64())).collect();
            let wall: Vec<f64> = seen.iter().map(|seen| seen.wall.as_secs_f64()).collect();
            let named = seen.iter().filter(|seen| seen.named).count() == rounds;
            let left = seen.iter().find_map(|seen| seen.left.as_ref());
            let harmless = seen.iter().all(|seen| seen.status == "0");
            let well = if fault.ends == Ends::Harmless { harmless } else { named && !harmless };
            let late = fault.dies() && (told.len() < rounds || median(&told) > 1.0);
            if ours && (!well || left.is_some() || late) {
                missed.push(fault.what);
            }
            rows.push(vec![
                fault.what.to_owned(),
                toolstack.to_owned(),
                if told.is_empty() { "-".to_owned() } else { format!("{:.2}", median(&told)) },
                format!("{:.1}", median(&wall)),
                if harmless {
                    "-"
                } else if named {
                    "yes"
                } else {
                    "no"
                }
                .to_owned(),
                seen.first().map(|seen| seen.status.clone()).unwrap_or_default(),
                short(left),
            ]);
        }
    }
    let columns = [
        "fault",
        "toolstack",
        "told after the death, s",
        "create took, s",
        "cause named",
        "exit status",
        "left behind",
    ];
    let mut report = Report::new("Faults, stubctl against xl");
    report.table(&format!("Medians of {rounds}"), &columns, &rows);
    report.note(format!(
        "The stubdomain is the same for both: our image, all in its ramdisk. A death is seen by asking Xen every \
         {} ms. Where nobody dies, stubctl has a deadline of {TIMEOUT} s and xl its own. What is left behind is what \
         of domains, memory, processes and loop devices was not there before.",
        LOOK.as_millis()
    ));
    report.publish();
    assert!(missed.is_empty(), "a cause not named, something left, or told later than 1 s: {missed:?}");
}
