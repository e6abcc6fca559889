// SPDX-License-Identifier: GPL-3.0-only
//! A pair that comes up, is listed, and goes.

use std::fs;

use stub_tests::guest::{Guest, xen_console};
use stub_tests::probe::{Probe, processes};
use stub_tests::stubctl::{self, stubctl};
use stub_tests::wait_for;
use xen_sys::{Access as _, Ctrl, DomId, Store};

#[test]
fn a_guest_boots_from_its_disk_and_leaves_nothing() {
    let probe = Probe::take();
    let guest = Guest::new();
    stubctl::create_running(&guest);
    guest.await_word();
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn ide_disks_work_as_well() {
    let probe = Probe::take();
    let guest = Guest::new().with("hdtype = \"ide\"");
    stubctl::create_running(&guest);
    guest.await_word();
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn two_vcpus_work_as_well() {
    let probe = Probe::take();
    let guest = Guest::new().with("vcpus = 2");
    stubctl::create_running(&guest);
    guest.await_word();
    stubctl::destroy(&guest);
    // Xen 4.17 itself keeps a page, now and then two, of each guest whose second vCPU ran: `xl create` without any
    // stubdomain loses the same.
    probe.assert_restored_but_for_pages(2);
}

#[test]
fn no_process_of_dom0_serves_a_pair() {
    let probe = Probe::take();
    // A forked child that was waited for shows in the fault counters, one that was not is still there.
    let before = (processes(), child_faults());
    let guest = Guest::new();
    let config = libstub::GuestConfig::read(&guest.config()).expect("a valid config");
    let host = Box::new(libstub::XenHost::open().expect("a dom0"));
    let journal = libstub::Journal::new(libstub::DIRECTORY);
    let operation = libstub::create(host, journal, config).expect("an event loop");
    operation.wait(|_| {}).expect("an event loop").expect("a pair");
    // blkback names its threads when the guest's drivers connect, which a boot sector has not; the rootfs has one.
    let new: Vec<String> = processes().into_iter().filter(|line| !before.0.contains(line)).collect();
    let (kernel, programs): (Vec<_>, Vec<_>) = new.iter().partition(|line| line.contains(".xvd"));
    assert!(programs.is_empty(), "{programs:?}");
    assert!(!kernel.is_empty(), "blkback's own threads should have shown");
    assert_eq!(child_faults(), before.1, "the create ran a child process");
    stubctl::destroy(&guest);
    probe.assert_restored();
}

/// Page faults of children that were waited for: proc(5), cminflt.
fn child_faults() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("readable");
    let behind_name = stat.rsplit_once(") ").expect("a name").1;
    behind_name.split(' ').nth(8).and_then(|field| field.parse().ok()).expect("a number")
}

#[test]
fn a_pair_is_listed_while_it_lives() {
    let probe = Probe::take();
    let guest = Guest::new();
    let (domid, stubdom) = stubctl::create_running(&guest);
    let pairs = stubctl(&["--json", "list"]).json();
    let pair = &pairs["pairs"][0];
    assert_eq!(pair["name"], guest.name.as_str(), "{pairs}");
    assert_eq!((&pair["guest"], &pair["stubdom"]), (&domid.into(), &stubdom.into()), "{pairs}");
    assert_eq!((&pair["state"], &pair["memory_kib"]), (&"running".into(), &(16 * 1024).into()), "{pairs}");
    assert!(stubctl(&["list"]).stdout.contains(&guest.name));
    stubctl::destroy(&guest);
    assert_eq!(stubctl(&["--json", "list"]).json()["pairs"], serde_json::json!([]));
    probe.assert_restored();
}

#[test]
fn the_guest_is_paused_until_its_qemu_is_ready() {
    let probe = Probe::take();
    let guest = Guest::new();
    let ran = stubctl::create(&guest);
    let timeline = ran.json()["timeline"].as_array().expect("a timeline").clone();
    let place = |what: &str| timeline.iter().position(|event| event["what"] == what).expect(what);
    let order = [
        "stubdom unpaused",
        "kernel up",
        "rootfs mounted",
        "QEMU started",
        "ready key seen",
        "guest unpaused",
    ];
    let places: Vec<usize> = order.iter().map(|what| place(what)).collect();
    assert!(places.is_sorted(), "{timeline:?}");
    assert_eq!(place("guest unpaused"), timeline.len() - 1);
    wait_for("the boot sector's word", || xen_console().contains(&guest.word).then_some(()));
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn a_guest_with_room_to_grow_takes_what_it_has_now() {
    let probe = Probe::take();
    let guest = Guest::new().with("memory = 32").with("maxmem = 64");
    let (domid, _) = stubctl::create_running(&guest);
    guest.await_word();
    let info = Ctrl::open().and_then(|ctrl| ctrl.domain_info(DomId::new(domid))).expect("Xen's word");
    let info = info.expect("the guest");
    let mib = |pages: u64| pages / 256;
    assert!((31..40).contains(&mib(info.pages)), "it has {} MiB", mib(info.pages));
    // Until its memory is set to more it can hold no more, and it knows how much it could be.
    assert!((32..40).contains(&mib(info.max_pages)), "it may hold {} MiB", mib(info.max_pages));
    let most = format!("{}/memory/static-max", proto::keys::home(domid));
    let most = Store::open().and_then(|store| store.read(&most)).expect("readable");
    assert_eq!(most.as_deref(), Some(&b"65536"[..]));
    stubctl::destroy(&guest);
    probe.assert_restored();
}
