// SPDX-License-Identifier: GPL-3.0-only
//! The smallest memory with which a stubdomain serves a guest, found by halving, then proven again and again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use libstub::{Journal, Name, XenHost};
use stub_tests::guest::Guest;
use stub_tests::report::Report;
use stub_tests::{stubctl, wait_for};

use super::Image;
use super::account::start;

/// Does not work with any image.
const TOO_SMALL: u32 = 16;
/// Works with every image that has a root filesystem.
const ENOUGH: u32 = 144;
/// How exactly it is found.
const STEP: u32 = 2;
/// How often the smallest must work.
const PROOFS: u32 = 3;
/// What a stubdomain with too little memory takes at most to say so.
const TIMEOUT: &str = "stubdomain_timeout = 90";

/// How much of a failure's reason is shown.
const REASON: usize = 160;

/// The disk of a Linux guest, if the lab has one.
const LINUX: &str = "/lab/put/guest.img";
/// What its PID 1 says when it has written to its disk and read it back.
const PROVEN: &str = ": ok";

/// The images whose smallest memory is looked for, and what it may be.
const LOOKED_FOR: [(&str, u32); 2] = [("minimal-erofs", 48), ("distro-erofs", 96)];

/// Finds it; gives the goals that were missed.
pub(super) fn run(images: &[Image], report: &mut Report) -> Vec<String> {
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for (name, goal) in LOOKED_FOR {
        let image = images.iter().find(|image| image.name == name).expect("an image");
        let (smallest, why) = smallest(image);
        let verdict = if smallest <= goal { "reached" } else { "MISSED" };
        rows.push(
            [name, &smallest.to_string(), &goal.to_string(), verdict, &why].map(str::to_owned).to_vec(),
        );
        if smallest > goal {
            missed.push(format!("{name} needs {smallest} MiB"));
        }
    }
    let columns = ["image", "smallest, MiB", "at most", "", "with less"];
    report.table("Smallest memory that works", &columns, &rows);
    missed
}

/// The smallest memory that works every time, and what happens with less.
fn smallest(image: &Image) -> (u32, String) {
    let name = &image.name;
    let tried = |guest: Guest, mib: u32, what: &str| {
        let began = Instant::now();
        let result = serves(guest, &image.path, mib);
        let took = began.elapsed().as_secs_f64();
        match &result {
            Ok(()) => println!("{name}: {mib} MiB: {what}: works ({took:.1} s)"),
            Err(why) => println!("{name}: {mib} MiB: {what}: {why} ({took:.1} s)"),
        }
        result
    };
    let (mut fails, mut works, mut why) = (TOO_SMALL, ENOUGH, String::new());
    while works - fails > STEP {
        let middle = (fails + works) / 2;
        match tried(Guest::new(), middle, "a boot sector") {
            Ok(()) => works = middle,
            Err(reason) => (fails, why) = (middle, reason),
        }
    }
    while works < ENOUGH {
        let proven = (0..PROOFS).all(|_| tried(Guest::new(), works, "a boot sector").is_ok())
            && linux().is_none_or(|guest| tried(guest, works, "Linux").is_ok());
        if proven {
            break;
        }
        works += STEP;
    }
    let why: String = why.replace(['|', '\n'], " ").chars().take(REASON).collect();
    (works, format!("{fails} MiB: {why}"))
}

/// A guest with a real operating system.
fn linux() -> Option<Guest> {
    let guest = Guest::new();
    fs::copy(LINUX, guest.disk()).ok()?;
    Some(guest.with("memory = 128"))
}

/// Whether a stubdomain with so much memory starts the guest, the guest runs, and QEMU answers.
fn serves(guest: Guest, image: &Path, mib: u32) -> Result<(), String> {
    let is_linux = fs::metadata(guest.disk()).is_ok_and(|disk| disk.len() > 1 << 20);
    let guest = guest
        .with(&format!("stubdomain_image = \"{}\"", image.display()))
        .with(&format!("stubdomain_memory = {mib}"))
        .with(TIMEOUT);
    start(&guest)?;
    let result = std::panic::catch_unwind(|| {
        if is_linux {
            let log = format!("/var/log/xen/console/guest-{}.log", guest.name);
            wait_for("the Linux guest's proof of its disk", || {
                let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
                text.contains(PROVEN).then_some(())
            });
        } else {
            guest.await_word();
        }
        answers(&guest)
    });
    stubctl::destroy(&guest);
    result.unwrap_or_else(|_| Err("the guest says nothing".to_owned()))
}

/// Whether QEMU's monitor answers.
fn answers(guest: &Guest) -> Result<(), String> {
    let host = XenHost::open().expect("a dom0");
    let name = Name::new(&guest.name).expect("a name");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut qmp = libstub::qmp::connect(&host, &Journal::new(libstub::DIRECTORY), &name, deadline)
        .map_err(|error| error.to_string())?;
    let status = qmp.execute("query-status", None, deadline).map_err(|error| error.to_string())?;
    if status["status"] == "running" { Ok(()) } else { Err(format!("QEMU says {status}")) }
}
