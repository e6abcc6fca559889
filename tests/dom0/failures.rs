// SPDX-License-Identifier: GPL-3.0-only
//! Creates that fail: the cause is named, nothing is left.

use std::process::Command;

use serde_json::Value;
use stub_tests::guest::{Guest, image, image_cmdline, xen_console, xl};
use stub_tests::kernel::crashing_kernel;
use stub_tests::probe::Probe;
use stub_tests::stamps::last;
use stub_tests::stubctl::{self, Ran, stubctl};
use stub_tests::wait_for;

/// Creates a guest that must fail with status 1 and everything undone; gives the error.
fn fails(guest: &Guest) -> Value {
    let probe = Probe::take();
    let ran = stubctl::create(guest);
    let error = error_of(&ran, 1);
    probe.assert_restored();
    error
}

fn error_of(ran: &Ran, status: i32) -> Value {
    assert_eq!(ran.status, status, "{ran:?}");
    let error = ran.json()["error"].clone();
    assert_eq!(error["owed"], serde_json::json!([]), "{error:#}");
    error
}

fn says(error: &Value, text: &str) {
    assert!(error.to_string().contains(text), "no {text:?} in {error:#}");
}

#[test]
fn a_corrupt_kernel_is_named() {
    let guest = Guest::new().with_file("kernel", &[0x5a; 65536], "stubdomain_kernel = \"FILE\"");
    let error = fails(&guest);
    says(&error, "building the stubdom");
    says(&error, "kernel");
}

#[test]
fn a_corrupt_rootfs_is_reported_by_the_stubdom() {
    let guest = Guest::new().with_file("rootfs", &[0; 1 << 20], "stubdomain_rootfs = \"FILE\"");
    let error = fails(&guest);
    assert_eq!(error["code"], "stubdom-failed");
    says(&error, "the stubdom reports");
    says(&error, "/dev/xvdz");
    assert!(!error["console"].as_array().expect("lines").is_empty(), "no last words: {error:#}");
}

#[test]
fn a_guest_larger_than_memory_is_refused_untouched() {
    let error = fails(&Guest::new().with("memory = 65536"));
    assert_eq!(error["code"], "memory-short");
    says(&error, "preflight");
    says(&error, "not enough memory");
}

#[test]
fn of_two_guests_that_fit_only_alone_no_half_is_left() {
    let probe = Probe::take();
    let free = {
        let memory = xen_sys::Ctrl::open().and_then(|ctrl| ctrl.phys_info()).expect("Xen's memory");
        (memory.free_pages + memory.scrub_pages) / 256
    };
    let line = format!("memory = {}", free * 2 / 3);
    let guests = [Guest::new().with(&line), Guest::new().with(&line)];
    let configs = guests.each_ref().map(Guest::config);
    let children =
        configs.map(|config| Command::new("stubctl").arg("create").arg(config).spawn().expect("stubctl"));
    let statuses = children.map(|mut child| child.wait().expect("its status").code());
    assert!(statuses.iter().all(|status| matches!(status, Some(0 | 1))), "something is owed: {statuses:?}");
    assert!(statuses.contains(&Some(1)), "both fit: {statuses:?}");
    let running: Vec<&Guest> =
        guests.iter().filter(|guest| stubctl(&["list"]).stdout.contains(&guest.name)).collect();
    assert!(running.len() <= 1, "two guests share one memory");
    running.iter().for_each(|guest| stubctl::destroy(guest));
    probe.assert_restored();
}

#[test]
fn an_argument_that_qemu_refuses_is_named() {
    let error = fails(&Guest::new().with("device_model_args_hvm = [ \"-nonsense\" ]"));
    says(&error, "QEMU ended: exit 1");
    says(&error, "-nonsense");
}

#[test]
fn a_stubdom_that_panics_is_named_with_its_last_words() {
    // Without its ramdisk's init the kernel has nothing to run.
    let cmdline = format!("{} rdinit=/nothing", image_cmdline());
    let guest =
        Guest::new().with(&format!("stubdomain_cmdline = \"{cmdline}\"")).with("stubdomain_timeout = 3600");
    let error = fails(&guest);
    assert_eq!(error["code"], "stubdom-died");
    says(&error, "the stubdom died (crash)");
    says(&error, "waiting for the stubdom's kernel");
    let words = error["console"].to_string();
    assert!(words.contains("Kernel panic"), "no last words: {words}");
}

#[test]
fn a_stubdom_that_dies_ends_the_create_at_once() {
    let probe = Probe::take();
    let line = "stubdomain_kernel = \"FILE\"";
    let guest = Guest::new().with_file("kernel", &crashing_kernel(), line).with("stubdomain_timeout = 3600");
    let error = error_of(&stubctl::create(&guest), 1);
    // A key that Xen answers on its console marks the moment after the create.
    xl().args(["debug-keys", "g"]).status().expect("xl");
    says(&error, "the stubdom died (crash)");
    let stubdom = error["stubdom"].as_u64().expect("its id");
    let console = xen_console();
    let find = |text: &str| {
        last(&console, text).unwrap_or_else(|| panic!("no {text:?} on Xen's console:\n{console}"))
    };
    let (death, told) = (find(&format!("Domain {stubdom} (vcpu#0) crashed")), find("key 'g' pressed"));
    println!("figure: told {:.2} s after the death, by Xen's time stamps", (told - death).as_secs_f64());
    probe.assert_restored();
}

#[test]
fn a_name_that_is_taken_is_refused_and_the_first_lives_on() {
    let probe = Probe::take();
    let first = Guest::new();
    stubctl::create_running(&first);
    let error = error_of(&stubctl::create(&Guest::new().named(&first.name)), 1);
    assert_eq!(error["code"], "pair-exists");
    says(&error, "is recorded already");
    first.await_word();
    stubctl::destroy(&first);
    probe.assert_restored();
}

#[test]
fn a_stubdom_that_never_becomes_ready_ends_at_the_deadline() {
    let error = fails(&Guest::new().with("stubdomain_timeout = 1"));
    assert_eq!(error["code"], "timed-out");
    // It boots, which prolongs the wait up to four times.
    let words = error["causes"].to_string();
    assert!((1..=4).any(|seconds| words.contains(&format!("was not seen within {seconds} s"))), "{error:#}");
}

#[test]
fn a_signal_ends_the_create_and_undoes_it() {
    let probe = Probe::take();
    let guest = Guest::new();
    let mut child = Command::new("stubctl").arg("create").arg(guest.config()).spawn().expect("stubctl");
    wait_for("a second domain", || {
        let domains = xen_sys::Ctrl::open().and_then(|ctrl| ctrl.domains()).expect("the list of domains");
        (domains.len() == 3).then_some(())
    });
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert_eq!(child.wait().expect("its status").code(), Some(1));
    probe.assert_restored();
}

#[test]
fn what_a_killed_create_left_is_destroyed_by_name() {
    let probe = Probe::take();
    let guest = Guest::new();
    let mut child = Command::new("stubctl").arg("create").arg(guest.config()).spawn().expect("stubctl");
    wait_for("a stubdomain with a disk", || {
        let backends = stub_tests::probe::names("/sys/bus/xen-backend/devices");
        backends.iter().any(|name| name.starts_with("vbd-")).then_some(())
    });
    child.kill().expect("killed");
    child.wait().expect("its status");
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn a_config_with_faults_is_refused_with_their_places() {
    let probe = Probe::take();
    let ran = stubctl(&[
        "create",
        &Guest::new().with("vif = [ '' ]").with("memroy = 64").config().display().to_string(),
    ]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("guest.cfg:8:1: error[config-not-yet]: `vif` is not supported yet"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains(
            "guest.cfg:9:1: error[config-unknown-key]: `memroy` is no key of xl.cfg; did you mean `memory`?"
        ),
        "{}",
        ran.stderr
    );
    assert!(std::path::Path::new(&image()).exists());
    probe.assert_restored();
}
