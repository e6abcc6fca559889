// SPDX-License-Identifier: GPL-3.0-only
//! What people ask of a host and of a pair: check, create -n, show, logs.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use stub_tests::guest::{Guest, image, image_cmdline};
use stub_tests::probe::Probe;
use stub_tests::stubctl::{self, stubctl};
use stub_tests::wait_for;

/// How much more a dry run may predict than a create takes: what Xen may need for two domains, and how
/// much of it a guest with one vCPU leaves.
const SLACK_KIB: u64 = 12 * 1024;

fn free_kib() -> u64 {
    let memory = xen_sys::Ctrl::open().and_then(|ctrl| ctrl.phys_info()).expect("Xen's memory");
    (memory.free_pages + memory.scrub_pages) * 4
}

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

fn says(report: &Value, name: &str, text: &str) {
    let what = finding(report, name)["what"].as_str().expect("text");
    assert!(what.contains(text), "{name}: no {text:?} in {what:?}");
}

#[test]
fn check_finds_this_host_whole_and_names_what_it_has() {
    let probe = Probe::take();
    let ran = stubctl(&["--json", "check"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(report["usable"], true);
    for finding in report["findings"].as_array().expect("findings") {
        assert_eq!(finding["status"], "ok", "{finding:#}");
    }
    says(&report, "xen-version", &format!("Xen {}", xen_sys::BUILT_FOR));
    says(&report, "xenstored", "xenstored (C)");
    says(&report, "xenstored-answers", "from dom0");
    says(&report, "console-log", "/var/log/xen/console");
    says(&report, "image", &image());
    says(&report, "memory", "MiB are free");
    let manifest = std::fs::read(format!("{}/manifest.json", image())).expect("the image's manifest");
    let manifest = proto::manifest::Manifest::from_json(&manifest).expect("a manifest");
    says(&report, "image", &manifest.kernel);
    // It is there already: nothing is waited for.
    let began = std::time::Instant::now();
    assert_eq!(stubctl(&["check", "--wait", "60"]).status, 0);
    assert!(began.elapsed().as_secs() < 30, "it waited for what was there");
    probe.assert_restored();
}

#[test]
fn a_wait_for_a_xenstored_that_never_comes_ends_at_its_deadline() {
    let probe = Probe::take();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("not/yet/socket");
    let run = |args: &[&str]| {
        let out =
            Command::new("stubctl").args(args).env("XENSTORED_PATH", &socket).output().expect("stubctl");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let began = std::time::Instant::now();
    let (status, text) = run(&["check", "--wait", "2"]);
    assert!(began.elapsed().as_secs() >= 2, "it did not wait");
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("no xenstored listens"), "{text}");
    let config = Guest::new();
    let (status, text) = run(&["create", "--wait", "1", &config.config().display().to_string()]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("wait of 1 s for xenstored"), "{text}");
    drop(directory);
    probe.assert_restored();
}

#[test]
fn a_xenstored_that_comes_late_is_waited_for() {
    let probe = Probe::take();
    let directory = tempfile::tempdir().expect("a directory");
    let late = directory.path().join("not/yet");
    let mut waiting = Command::new("stubctl")
        .args(["--json", "check", "--wait", "600"])
        .env("XENSTORED_PATH", late.join("socket"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("stubctl");
    let descriptors = format!("/proc/{}/fd", waiting.id());
    wait_for("the wait", || {
        let links = std::fs::read_dir(&descriptors).ok()?.flatten();
        let mut targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        targets.any(|target| target.as_os_str() == "anon_inode:inotify").then_some(())
    });
    assert!(waiting.try_wait().expect("asked").is_none(), "it did not wait");
    std::fs::create_dir(directory.path().join("not")).expect("made");
    std::os::unix::fs::symlink("/run/xenstored", &late).expect("made");
    let out = waiting.wait_with_output().expect("its end");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    drop(directory);
    probe.assert_restored();
}

#[test]
fn a_dry_run_leaves_no_trace_and_predicts_the_memory() {
    let probe = Probe::take();
    let guest = Guest::new().with("memory = 64");
    let ran = stubctl(&["--json", "create", "-n", &guest.config().display().to_string()]);
    assert_eq!(ran.status, 0, "{ran:?}");
    probe.assert_restored();
    let plan = ran.json();
    assert_eq!(plan["image"]["directory"], image(), "{plan:#}");
    assert_eq!(plan["disks"][0]["target"], guest.disk().display().to_string(), "{plan:#}");
    let total = plan["memory"]["total_kib"].as_u64().expect("a number");
    let before = free_kib();
    stubctl::create_running(&guest);
    let taken = before - free_kib();
    println!("figure: memory of a pair: {taken} KiB taken, {total} KiB predicted");
    assert!(taken <= total, "{taken} KiB taken, {total} KiB predicted");
    assert!(total - taken <= SLACK_KIB, "{taken} KiB taken, {total} KiB predicted");
    let again = stubctl(&["--json", "create", "-n", &guest.config().display().to_string()]);
    assert_eq!(again.status, 1, "the name is taken: {again:?}");
    let disk = format!("disk = [ \"{},raw,xvda,rw\" ]", guest.disk().display());
    let thief = Guest::new().with(&disk);
    let ran = stubctl(&["--json", "create", "-n", &thief.config().display().to_string()]);
    assert_eq!(ran.status, 1, "the disk has a writer: {ran:?}");
    assert!(ran.stdout.contains("writes it already"), "{ran:?}");
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn show_tells_a_pairs_disks_image_and_stage() {
    let probe = Probe::take();
    let guest = Guest::new();
    let (domid, stubdom) = stubctl::create_running(&guest);
    let pair = stubctl(&["--json", "show", &guest.name]).json();
    assert_eq!((&pair["guest"], &pair["stubdom"]), (&domid.into(), &stubdom.into()), "{pair:#}");
    assert_eq!((&pair["state"], &pair["guest_shutdown"]), (&"running".into(), &Value::Null), "{pair:#}");
    assert_eq!((&pair["report"]["stage"], &pair["report"]["state"]), (&"ready".into(), &"running".into()));
    assert_eq!(pair["image"]["directory"], image(), "{pair:#}");
    assert_eq!(pair["config"], guest.config().display().to_string(), "{pair:#}");
    assert!(pair["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{pair:#}");
    let disks = pair["disks"].as_array().expect("disks");
    assert_eq!(disks.len(), 2, "{pair:#}");
    // The boot sector has no PV driver: the guest's own end waits for ever. QEMU reads through the stubdom's.
    assert_eq!(disks[0]["guest_backend"], "waiting for its frontend", "{pair:#}");
    assert_eq!(disks[0]["stubdom_backend"], "connected", "{pair:#}");
    assert_eq!(disks[0]["target"], guest.disk().display().to_string(), "{pair:#}");
    assert!(disks[0]["device"].as_str().is_some_and(|device| device.starts_with("7:")), "{pair:#}");
    assert_eq!((&disks[1]["vdev"], &disks[1]["stubdom_backend"]), (&Value::Null, &"connected".into()));
    assert!(pair["logs"].as_array().is_some_and(|logs| !logs.is_empty()), "{pair:#}");
    let ran = stubctl(&["show", &guest.name]);
    assert!(ran.status == 0 && ran.stdout.contains("connected"), "{ran:?}");
    stubctl::destroy(&guest);
    assert_eq!(stubctl(&["show", &guest.name]).status, 2);
    probe.assert_restored();
}

#[test]
fn logs_have_the_stubdoms_kernel_and_outlive_the_pair() {
    let probe = Probe::take();
    let cmdline = image_cmdline().replace(" quiet", "");
    let guest = Guest::new().with(&format!("stubdomain_cmdline = \"{cmdline}\""));
    stubctl::create_running(&guest);
    let kernel = |ran: &stubctl::Ran| ran.stdout.lines().any(|line| line.contains("[    0."));
    // xenconsoled has its own pace.
    wait_for("the stubdom's kernel in its log", || {
        let ran = stubctl(&["--json", "logs", "--stubdom", "-n", "100000", &guest.name]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let first: Value = serde_json::from_str(ran.stdout.lines().next()?).expect("JSON lines");
        assert_eq!(first["domain"], "stubdom");
        kernel(&ran).then_some(())
    });
    // What there would be without xenconsoled's log: the same words, from the ring.
    let host = libstub::XenHost::open().expect("a dom0");
    let journal = libstub::Journal::new(libstub::DIRECTORY);
    let name = libstub::Name::new(&guest.name).expect("a name");
    let words = libstub::last_words(&host, &journal, &name, &libstub::LogSource::ALL).expect("its ring");
    let log = stubctl(&["logs", "--stubdom", "-n", "100000", &guest.name]).stdout;
    let last = words.last().expect("a line");
    assert!(last.domain == libstub::LogSource::Stubdom && log.contains(&last.line), "{words:?}");
    drop(host);
    let three = stubctl(&["logs", "--stubdom", "-n", "3", &guest.name]);
    assert_eq!(three.stdout.lines().count(), 3, "{three:?}");
    assert!(three.stdout.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{three:?}");
    stubctl::destroy(&guest);
    let left = stubctl(&["logs", "-n", "100000", &guest.name]);
    assert!(left.status == 0 && kernel(&left), "{left:?}");
    assert!(left.stderr.contains("not there any more"), "{left:?}");
    assert_eq!(stubctl(&["logs", "nobody"]).status, 2);
    probe.assert_restored();
}

#[test]
fn logs_that_are_followed_end_with_the_pair() {
    let probe = Probe::take();
    let guest = Guest::new();
    stubctl::create_running(&guest);
    let follower = Command::new("stubctl").args(["logs", "-f", &guest.name]).stdout(Stdio::piped()).spawn();
    let mut follower = follower.expect("stubctl");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().expect("a line").expect("text").starts_with("stubdom |"));
    stubctl::destroy(&guest);
    lines.for_each(drop);
    assert!(follower.wait().expect("its status").success());
    probe.assert_restored();
}
