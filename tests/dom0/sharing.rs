// SPDX-License-Identifier: GPL-3.0-only
//! The root filesystem: blkback serves it, read-only, one loop device for all stubdomains.

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use xen_sys::{Access as _, Store};

/// xvdz as a vbd's number.
const ROOTFS: u32 = 1 << 28 | 25 << 8;

fn backend(store: &Store, stubdom: u16, node: &str) -> String {
    let path = format!("/local/domain/0/backend/vbd/{stubdom}/{ROOTFS}/{node}");
    let value = store.read(&path).expect("readable").unwrap_or_else(|| panic!("{path} is missing"));
    String::from_utf8(value).expect("text")
}

#[test]
fn two_stubdoms_share_one_read_only_loop_device() {
    let probe = Probe::take();
    let (first, second) = (Guest::new(), Guest::new());
    let (_, one) = stubctl::create_running(&first);
    let (_, two) = stubctl::create_running(&second);
    let store = Store::open().expect("xenstored");
    for stubdom in [one, two] {
        assert_eq!(backend(&store, stubdom, "mode"), "r");
        assert_eq!(backend(&store, stubdom, "state"), "4", "not connected");
        let sysfs = format!("/sys/bus/xen-backend/devices/vbd-{stubdom}-{ROOTFS}/mode");
        let mode = std::fs::read_to_string(&sysfs).expect("blkback's own word");
        assert_eq!(mode.trim(), "r");
    }
    let device = backend(&store, one, "physical-device");
    assert!(device.starts_with("7:"), "{device} is no loop device");
    assert_eq!(device, backend(&store, two, "physical-device"));
    // The first to go takes nothing from the second.
    stubctl::destroy(&first);
    assert_eq!(backend(&store, two, "state"), "4");
    stubctl::destroy(&second);
    drop(store);
    probe.assert_restored();
}

#[test]
fn both_vbds_of_a_disk_are_one_loop_device() {
    let probe = Probe::take();
    let guest = Guest::new();
    let (domid, stubdom) = stubctl::create_running(&guest);
    let store = Store::open().expect("xenstored");
    let device = |domid: u16| {
        let path = format!("/local/domain/0/backend/vbd/{domid}/51712/physical-device");
        store.read(&path).expect("readable").expect("a device")
    };
    assert_eq!(device(domid), device(stubdom));
    stubctl::destroy(&guest);
    drop(store);
    probe.assert_restored();
}

#[test]
fn a_disk_that_somebody_writes_is_not_given_to_a_second_guest() {
    let probe = Probe::take();
    let first = Guest::new();
    stubctl::create_running(&first);
    let disk = format!("disk = [ \"{},raw,xvda,rw\" ]", first.disk().display());
    let second = Guest::new().with(&disk);
    let ran = stubctl::create(&second);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("writes it already"), "{ran:?}");
    stubctl::destroy(&first);
    probe.assert_restored();
}
