// SPDX-License-Identifier: GPL-3.0-only
//! What a host and a stubdomain can do to a create: the cause is named, and nothing is left.

use std::fs;
use std::path::Path;

use serde_json::Value;
use stub_tests::guest::{Guest, image, xl};
use stub_tests::host::{Away, Full};
use stub_tests::kernel::crashing_kernel;
use stub_tests::probe::Probe;
use stub_tests::program::Program;
use stub_tests::stepper::Stepper;
use stub_tests::stubctl::{self, Ran, stubctl};
use xen_sys::Ctrl;

fn error_of(ran: &Ran, status: i32) -> Value {
    println!("{}", ran.stdout);
    assert_eq!(ran.status, status, "{ran:?}");
    let error = ran.json()["error"].clone();
    assert_eq!(error["owed"], serde_json::json!([]), "{error:#}");
    error
}

fn says(error: &Value, text: &str) {
    assert!(error.to_string().contains(text), "no {text:?} in {error:#}");
}

/// A create with this program in QEMU's place.
fn with_program(program: Program, timeout: u32) -> Value {
    let probe = Probe::take();
    let directory = tempfile::tempdir().expect("a directory");
    let guest = program.guest(directory.path()).with(&format!("stubdomain_timeout = {timeout}"));
    let error = error_of(&stubctl::create(&guest), 1);
    drop((guest, directory));
    probe.assert_restored();
    error
}

#[test]
fn a_qemu_that_segfaults_is_named_with_its_signal() {
    let error = with_program(Program::Segfault, 3600);
    assert_eq!(error["qemu_exit"], "signal 11", "{error:#}");
    assert_eq!(error["shutdown"], "crash", "{error:#}");
}

#[test]
fn a_qemu_that_does_what_only_an_intruder_does_is_killed() {
    let error = with_program(Program::Intrude, 3600);
    // SIGSYS, by the filter of system calls.
    assert_eq!(error["qemu_exit"], "signal 31", "{error:#}");
    assert_eq!(error["shutdown"], "crash", "{error:#}");
}

#[test]
fn a_root_that_is_a_ramdisk_is_read_only() {
    let error = with_program(Program::AskRoot, 3600);
    assert_eq!(error["qemu_exit"], "exit 21", "{error:#}");
}

#[test]
fn a_qemu_that_says_nothing_ends_the_create_at_its_deadline() {
    let error = with_program(Program::Silence, 20);
    assert_eq!(error["code"], "timed-out");
    says(&error, "QEMU");
}

#[test]
fn a_qemu_that_is_stopped_ends_the_create_at_its_deadline() {
    let error = with_program(Program::Stop, 20);
    assert_eq!(error["code"], "timed-out");
    says(&error, "QEMU");
}

/// A create that stands still before the stubdomain runs, with a root filesystem of its own.
fn before_the_stubdom_runs(rootfs: &Path) -> (Guest, Stepper) {
    fs::copy(Path::new(&image()).join("rootfs.img"), rootfs).expect("a copy");
    let guest = Guest::new()
        .with(&format!("stubdomain_rootfs = \"{}\"", rootfs.display()))
        .with("stubdomain_timeout = 3600");
    let mut create = Stepper::start(&["--json", "create", &guest.config().display().to_string()]);
    create.run_to("unpause");
    create.settle();
    (guest, create)
}

#[test]
fn a_root_filesystem_that_is_cut_under_the_stubdom_is_reported() {
    let probe = Probe::take();
    let directory = tempfile::tempdir().expect("a directory");
    let rootfs = directory.path().join("rootfs");
    let (guest, create) = before_the_stubdom_runs(&rootfs);
    fs::File::options().write(true).open(&rootfs).and_then(|file| file.set_len(4096)).expect("cut");
    let error = error_of(&create.end(), 1);
    says(&error, "/dev/xvdz");
    drop((guest, directory));
    probe.assert_restored();
}

#[test]
fn a_host_without_loop_control_is_refused_untouched() {
    let probe = Probe::take();
    let away = Away::hide("/dev/loop-control");
    let ran = stubctl::create(&Guest::new());
    drop(away);
    assert_eq!(ran.status, 3, "{ran:?}");
    says(&ran.json()["error"], "/dev/loop-control");
    probe.assert_restored();
}

#[test]
fn a_full_disk_under_the_journal_is_named_before_any_domain_exists() {
    let probe = Probe::take();
    let full = Full::over("/var/lib/stubctl");
    let ran = stubctl::create(&Guest::new());
    drop(full);
    let error = error_of(&ran, 1);
    says(&error, "No space left on device");
    assert_eq!((&error["guest"], &error["stubdom"]), (&Value::Null, &Value::Null), "{error:#}");
    probe.assert_restored();
}

#[test]
fn a_full_disk_under_the_logs_harms_no_create() {
    let probe = Probe::take();
    let guest = Guest::new();
    {
        let _full = Full::over("/var/log/xen/console");
        stubctl::create_running(&guest);
        stubctl::destroy(&guest);
    }
    // xenconsoled made no file, and says so where it was not asked: there is nothing to show, and no failure.
    let ran = stubctl(&["logs", &guest.name]);
    assert_eq!(ran.status, 2, "{ran:?}");
    probe.assert_restored();
}

/// A paused domain that leaves so little of Xen's memory free.
struct Hog(String, #[expect(dead_code, reason = "its kernel and config")] tempfile::TempDir);

impl Hog {
    /// What a domain takes beside its memory, in MiB.
    const OVERHEAD: u64 = 6;

    fn leave(mib: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let kernel = directory.path().join("kernel");
        fs::write(&kernel, crashing_kernel()).expect("written");
        let memory = Ctrl::open().and_then(|ctrl| ctrl.phys_info()).expect("Xen's memory");
        let free = (memory.free_pages + memory.scrub_pages) / 256;
        let name = format!("hog-{}", std::process::id());
        let config = directory.path().join("hog.cfg");
        let size = free.saturating_sub(mib + Self::OVERHEAD);
        let text =
            format!("name = \"{name}\"\ntype = \"pv\"\nkernel = \"{}\"\nmemory = {size}\n", kernel.display());
        fs::write(&config, text).expect("written");
        let out = xl().args(["create", "-p"]).arg(&config).output().expect("xl");
        println!("a hog of {size} of {free} MiB: {out:?}");
        assert!(out.status.success());
        Self(name, directory)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = xl().args(["destroy", &self.0]).status();
    }
}

/// Takes Xen's memory away just before a call; the create must fail with status 1 and undo itself.
fn without_memory_at(call: &str, skip: usize, left: u64) -> Value {
    let probe = Probe::take().of_domains();
    let guest = Guest::new().with("memory = 64");
    let mut create = Stepper::start(&["--json", "create", &guest.config().display().to_string()]);
    for _ in 0..=skip {
        create.run_to(call);
    }
    create.settle();
    let hog = Hog::leave(left);
    let ran = create.end();
    drop(hog);
    let error = error_of(&ran, 1);
    drop(guest);
    probe.assert_restored();
    error
}

#[test]
fn memory_that_is_gone_when_the_guest_is_made_is_named() {
    let error = without_memory_at("create", 0, 0);
    says(&error, "memory");
}

#[test]
fn memory_that_is_gone_when_the_stubdom_is_built_is_named() {
    let error = without_memory_at("build_pv", 0, 16);
    says(&error, "building the stubdom");
    says(&error, "memory");
}

#[test]
fn memory_that_is_gone_when_the_guest_is_built_is_named() {
    let error = without_memory_at("build_hvm", 0, 16);
    says(&error, "building the guest");
    says(&error, "memory");
}

#[test]
fn a_frontend_that_never_connects_is_named() {
    let probe = Probe::take();
    let cmdline = format!("{} module_blacklist=xen_blkfront", stub_tests::guest::image_cmdline());
    let guest =
        Guest::new().with(&format!("stubdomain_cmdline = \"{cmdline}\"")).with("stubdomain_timeout = 15");
    let error = error_of(&stubctl::create(&guest), 1);
    says(&error, "xen_blkfront");
    let unconnected = error["unconnected"].to_string();
    assert!(unconnected.contains("frontend initialising, backend waiting for its frontend"), "{error:#}");
    drop(guest);
    probe.assert_restored();
}
