// SPDX-License-Identifier: GPL-3.0-only
//! The same faults against `stubctl` and against upstream's `xl`: how soon the command ends after the death, whether it
//! names the cause, and what it leaves behind.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stub_tests::guest::{Guest, xl};
use stub_tests::kernel::crashing_kernel;
use stub_tests::probe::Probe;
use stub_tests::program::Program;
use stub_tests::report::{Report, median, rounds};
use stub_tests::stubctl;
use xen_sys::{Ctrl, DomainKind};

/// The image that both start.
const IMAGE: &str = "/lab/put/image-ramdisk";

/// The deadline of `stubctl` where nobody dies; `xl` has its own.
const TIMEOUT: u32 = 30;

/// How often the domains are looked at for a death.
const LOOK: Duration = Duration::from_millis(5);

/// What goes wrong, and by which words a message names it.
struct Fault {
    what: &'static str,
    /// Whether the stubdomain dies of it: a toolstack that gives up ends it as well.
    dies: bool,
    names: &'static [&'static str],
    change: fn(Guest, &Path) -> Guest,
}

const FAULTS: [Fault; 8] = [
    Fault {
        what: "kernel dies at its first instruction",
        dies: true,
        names: &["died", "crash"],
        change: |guest, _| guest.with_file("kernel", &crashing_kernel(), "stubdomain_kernel = \"FILE\""),
    },
    Fault {
        what: "kernel panics",
        dies: true,
        names: &["panic"],
        change: |guest, _| guest.with(&format!("stubdomain_cmdline = \"{} rdinit=/nothing\"", cmdline())),
    },
    Fault {
        what: "QEMU refuses an argument",
        dies: true,
        names: &["-nonsense"],
        change: |guest, _| guest.with("device_model_args_hvm = [ \"-nonsense\" ]"),
    },
    Fault {
        what: "QEMU segfaults",
        dies: true,
        names: &["signal 11", "segfault", "SIGSEGV"],
        change: |guest, directory| with(guest, Program::Segfault, directory),
    },
    Fault {
        what: "QEMU says nothing",
        dies: false,
        names: &["QEMU"],
        change: |guest, directory| with(guest, Program::Silence, directory),
    },
    Fault {
        what: "no memory for the guest",
        dies: false,
        names: &["memory"],
        change: |guest, _| guest.with("memory = 65536"),
    },
    Fault {
        what: "a disk whose file is missing",
        dies: false,
        names: &["/nowhere"],
        change: |guest, _| guest.with("disk = [ \"/nowhere,raw,xvda,rw\" ]"),
    },
    Fault {
        what: "a disk that is no disk",
        dies: false,
        names: &["/dev/null"],
        change: |guest, _| guest.with("disk = [ \"/dev/null,raw,xvda,rw\" ]"),
    },
];

fn with(guest: Guest, program: Program, directory: &Path) -> Guest {
    let ramdisk = program.ramdisk(Path::new(IMAGE), directory);
    guest.with(&format!("stubdomain_ramdisk = \"{}\"", ramdisk.display()))
}

fn manifest() -> proto::manifest::Manifest {
    let text = fs::read(Path::new(IMAGE).join(proto::manifest::FILE)).expect("the image");
    proto::manifest::Manifest::from_json(&text).expect("a manifest")
}

fn cmdline() -> String {
    manifest().cmdline
}

/// A guest that either toolstack can start.
fn guest() -> Guest {
    Guest::new()
        // xl's own builder has too little room for a guest of 16.
        .with("memory = 64")
        .with("device_model_version = \"qemu-xen\"")
        .with("device_model_stubdomain_override = 1")
        .with(&format!("stubdomain_kernel = \"{IMAGE}/kernel\""))
        .with(&format!("stubdomain_ramdisk = \"{IMAGE}/ramdisk\""))
        .with(&format!("stubdomain_cmdline = \"{}\"", cmdline()))
        .with(&format!("stubdomain_memory = {}", manifest().min_memory_mib))
        .with("vnc = 0")
}

/// What became of one try.
struct Seen {
    /// From the command's start to its end.
    wall: Duration,
    /// From the stubdomain's death to the command's end, if it died before.
    told: Option<Duration>,
    named: bool,
    status: String,
    left: Option<String>,
}

/// The moment at which a PV domain shut down, or vanished after it was there.
fn death(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Option<Instant>> {
    std::thread::spawn(move || {
        let ctrl = Ctrl::open().expect("Xen's control interface");
        let mut seen = false;
        while !stop.load(Ordering::Relaxed) {
            let domains = ctrl.domains().expect("the list of domains");
            let mut stubdoms =
                domains.iter().filter(|info| info.domid.get() != 0 && info.kind == DomainKind::Pv);
            match stubdoms.next() {
                Some(info) if info.shutdown.is_some() || info.dying => return Some(Instant::now()),
                Some(_) => seen = true,
                None if seen => return Some(Instant::now()),
                None => {}
            }
            std::thread::sleep(LOOK);
        }
        None
    })
}

fn try_one(fault: &Fault, ours: bool) -> Seen {
    let probe = Probe::take().of_domains();
    let directory = tempfile::tempdir().expect("a directory");
    let guest = (fault.change)(guest(), directory.path());
    let guest = if ours { guest.with(&format!("stubdomain_timeout = {TIMEOUT}")) } else { guest };
    let config = guest.config();
    let stop = Arc::new(AtomicBool::new(false));
    let death = death(Arc::clone(&stop));
    let began = Instant::now();
    let program = if ours { Command::new("stubctl") } else { xl() };
    let mut program = program;
    let out = program.arg("create").arg(&config).output().expect("a toolstack");
    let ended = Instant::now();
    stop.store(true, Ordering::Relaxed);
    let died = death.join().expect("the look-out");
    let text = [&out.stdout[..], &out.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("$ {} create: {}\n{text}", if ours { "stubctl" } else { "xl" }, out.status);
    // A word of the config that is only repeated names nothing.
    let said = text.replace(&config.display().to_string(), "");
    let seen = Seen {
        wall: ended - began,
        told: died.filter(|died| fault.dies && *died <= ended).map(|died| ended - died),
        named: fault.names.iter().any(|name| said.contains(name)),
        status: out.status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string()),
        left: probe.left(),
    };
    if let Some(left) = &seen.left {
        println!("left behind:\n{left}");
    }
    for name in [guest.name.clone(), format!("{}-dm", guest.name)] {
        let _ = xl().args(["destroy", &name]).output();
    }
    stubctl::stubctl(&["reap"]);
    seen
}

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

fn main() {
    let rounds = rounds(3);
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for fault in &FAULTS {
        for ours in [true, false] {
            println!("== {}: {}", fault.what, if ours { "stubctl" } else { "xl" });
            let seen: Vec<Seen> = (0..rounds).map(|_| try_one(fault, ours)).collect();
            let told: Vec<f64> =
                seen.iter().filter_map(|seen| seen.told.map(|told| told.as_secs_f64())).collect();
            let wall: Vec<f64> = seen.iter().map(|seen| seen.wall.as_secs_f64()).collect();
            let named = seen.iter().filter(|seen| seen.named).count();
            let left = seen.iter().find_map(|seen| seen.left.as_ref());
            if ours && (named < rounds || left.is_some() || median(&told) > 1.0) {
                missed.push(fault.what);
            }
            rows.push(vec![
                fault.what.to_owned(),
                if ours { "stubctl" } else { "xl" }.to_owned(),
                if told.is_empty() { "-".to_owned() } else { format!("{:.2}", median(&told)) },
                format!("{:.1}", median(&wall)),
                if named == rounds { "yes" } else { "no" }.to_owned(),
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
