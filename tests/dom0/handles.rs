// SPDX-License-Identifier: GPL-3.0-only
//! Handles that work on a live Xen, and handles that break while they are open.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use xen_sys::{Ctrl, DomId, Evtchn, ShutdownReason, Store};

/// Puts /dev/null in place of every open descriptor of `device`.
fn break_device(device: &str) -> usize {
    let null = fs::File::open("/dev/null").expect("/dev/null");
    let entries: Vec<_> = fs::read_dir("/proc/self/fd").expect("readable").flatten().collect();
    let numbers = entries.iter().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        (target.as_os_str() == device).then(|| entry.file_name().to_string_lossy().parse::<i32>().ok())?
    });
    let mut broken = 0;
    for number in numbers {
        // SAFETY: the number is an open descriptor; forgetting the owner below leaves it to the C library.
        let mut descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::dup2(&null, &mut descriptor).expect("replaced");
        assert_eq!(descriptor.as_raw_fd(), number);
        std::mem::forget(descriptor);
        broken += 1;
    }
    broken
}

#[test]
fn a_control_interface_whose_descriptor_was_replaced_fails_and_closes_cleanly() {
    let probe = Probe::take();
    let ctrl = Ctrl::open().expect("Xen's control interface");
    assert!(ctrl.domain_info(DomId::DOM0).expect("dom0").is_some());
    assert!(break_device("/dev/xen/privcmd") > 0, "no descriptor of privcmd is open");
    let nobody = DomId::new(32_000);
    let results = [
        ctrl.domains().map(drop),
        ctrl.domain_info(DomId::DOM0).map(drop),
        ctrl.phys_info().map(drop),
        ctrl.pause(nobody),
        ctrl.unpause(nobody),
        ctrl.destroy(nobody),
        ctrl.shutdown(nobody, ShutdownReason::Crash),
        ctrl.set_max_vcpus(nobody, 1),
        ctrl.set_target(nobody, DomId::DOM0),
        ctrl.alloc_unbound(nobody, DomId::DOM0).map(drop),
    ];
    for (index, result) in results.iter().enumerate() {
        let error = result.as_ref().expect_err("the descriptor is no device of Xen");
        assert!(error.errno().is_some(), "call {index}: {error}");
    }
    drop(ctrl);
    probe.assert_restored();
}

#[test]
fn event_channels_carry_a_notification_from_end_to_end() {
    let probe = Probe::take();
    let channels = Evtchn::open().expect("/dev/xen/evtchn");
    let unbound = channels.bind_unbound(DomId::DOM0).expect("an unbound port");
    let bound = channels.bind_interdomain(DomId::DOM0, unbound).expect("the other end");
    channels.notify(bound).expect("notified");
    let mut arrived = std::collections::BTreeSet::new();
    stub_tests::wait_for("the notification", || {
        while let Some(port) = channels.pending().expect("readable") {
            arrived.insert(port);
            channels.unmask(port).expect("unmasked");
        }
        arrived.contains(&unbound).then_some(())
    });
    channels.unbind(bound).expect("unbound");
    channels.unbind(unbound).expect("unbound");
    drop(channels);
    probe.assert_restored();
}

#[test]
fn a_domain_that_is_shut_down_keeps_its_reason() {
    let probe = Probe::take();
    let guest = Guest::new();
    let (domid, _) = stubctl::create_running(&guest);
    let domid = DomId::new(domid);
    let ctrl = Ctrl::open().expect("Xen's control interface");
    let store = Store::open().expect("xenstored");
    assert!(store.is_introduced(domid).expect("asked"));
    ctrl.shutdown(domid, ShutdownReason::Watchdog).expect("shut down");
    stub_tests::wait_for("the guest's end", || {
        let info = ctrl.domain_info(domid).expect("asked").expect("still listed");
        (info.shutdown == Some(ShutdownReason::Watchdog)).then_some(())
    });
    assert!(!store.is_introduced(DomId::new(32_000)).expect("asked"), "nobody has this id");
    // Whether xenstored then still calls the domain introduced is not claimed: 4.17 did.
    store.release(domid).expect("released");
    drop((ctrl, store));
    stubctl::destroy(&guest);
    probe.assert_restored();
}
