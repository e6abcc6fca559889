// SPDX-License-Identifier: GPL-3.0-only
//! The order of calls to Xen and xenstored, as the host recorded them.

use std::fmt;
use std::sync::{Arc, Mutex};

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use stub_tests::wait_for;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use xen_sys::{Access as _, Store};

/// Keeps every call that libstub tells of.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Call {
    call: String,
    on: String,
}

impl Visit for Call {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "call" => self.call = format!("{value:?}").trim_matches('"').to_owned(),
            "on" => self.on = format!("{value:?}"),
            _ => {}
        }
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "libstub::call" {
            let mut call = Call::default();
            event.record(&mut call);
            self.0.lock().expect("not poisoned").push(format!("{} {}", call.call, call.on));
        }
    }
}

#[test]
fn target_comes_before_the_stubdom_and_the_ready_key_before_the_guest() {
    let probe = Probe::take();
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    let guest = Guest::new();
    let config = libstub::GuestConfig::read(&guest.config()).expect("a valid config");
    let host = Box::new(libstub::XenHost::open().expect("a dom0"));
    let journal = libstub::Journal::new(libstub::DIRECTORY);
    let operation = libstub::create(host, journal, config).expect("an event loop");
    let pair = operation.wait(|_| {}).expect("an event loop").expect("a pair");
    let calls = recorder.0.lock().expect("not poisoned").clone();
    let (domid, stubdom) = (pair.guest, pair.stubdom);
    let place = |call: String| {
        calls.iter().position(|made| *made == call).unwrap_or_else(|| panic!("no {call:?} in {calls:#?}"))
    };
    let stubdom_runs = place(format!("unpause {stubdom}"));
    for before in [
        format!("write /local/domain/{stubdom}/target"),
        format!("set_target {stubdom}"),
        format!("introduce {stubdom}"),
        format!("write /local/domain/0/backend/vbd/{stubdom}/{}/physical-device", 1 << 28 | 25 << 8),
        "watch @releaseDomain".to_owned(),
        format!("watch /local/domain/{stubdom}/device-model/{domid}"),
    ] {
        assert!(place(before.clone()) < stubdom_runs, "{before} came after the stubdom's unpause");
    }
    let release = place(format!("write /local/domain/{stubdom}/device-model/{domid}/stub/go"));
    assert!(place(format!("set_store_target {stubdom}")) < release, "SET_TARGET came after QEMU's release");
    let ready = format!("read /local/domain/{stubdom}/device-model/{domid}/state");
    let guest_runs = place(format!("unpause {domid}"));
    let last_look =
        calls[..guest_runs].iter().rposition(|made| *made == ready).expect("the ready key was read");
    assert!(release < last_look);
    assert_eq!(
        guest_runs,
        calls.len() - 1,
        "the guest's unpause is the last act: {:#?}",
        &calls[guest_runs..]
    );
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn a_stubdom_tells_each_stage_once() {
    let probe = Probe::take();
    let store = Store::open().expect("xenstored");
    // Each write of a node below is an event, even of what it had before.
    store.watch("/local/domain", "stages").expect("a watch");
    let guest = Guest::new();
    let (domid, stubdom) = stubctl::create_running(&guest);
    let node = proto::keys::device_model(stubdom, domid) + "/" + proto::keys::name::STAGE;
    let mut written = 0;
    let last = || store.read(&node).expect("readable").is_some_and(|stage| stage == b"ready");
    wait_for("the last stage", || last().then_some(()));
    while let Some(event) = store.check_watch().expect("events") {
        written += usize::from(event.path == node);
    }
    store.unwatch("/local/domain", "stages").expect("no watch any more");
    assert_eq!(written, proto::Stage::ALL.len(), "writes of {node}");
    stubctl::destroy(&guest);
    drop(store);
    probe.assert_restored();
}
