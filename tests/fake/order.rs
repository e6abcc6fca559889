// SPDX-License-Identifier: GPL-3.0-only
//! What must come before what.

use libstub::host::fake::{Behaviour, Failure, Fault};
use libstub::{Cause, ImageError};
use proto::manifest::{Arguments, Kind, Manifest};

use super::Bench;

/// The place of the first call that starts with `call`.
fn place(calls: &[String], call: &str) -> usize {
    calls.iter().position(|made| made.contains(call)).unwrap_or_else(|| panic!("no {call:?} in {calls:#?}"))
}

#[test]
fn a_guest_runs_last_and_only_after_the_ready_key() {
    let bench = Bench::new(Behaviour::Ready);
    bench.host.fail(Fault::None);
    let pair = bench.create().expect("created");
    let calls = bench.host.calls();
    let (guest, stubdom) = (pair.guest, pair.stubdom);
    let unpause_stubdom = place(&calls, &format!("unpause {stubdom}"));
    let unpause_guest = place(&calls, &format!("unpause {guest}"));
    assert!(place(&calls, &format!("write /local/domain/{stubdom}/target")) < unpause_stubdom);
    assert!(place(&calls, &format!("set_target {stubdom}")) < unpause_stubdom);
    assert!(place(&calls, "watch @releaseDomain") < unpause_stubdom);
    let release = place(&calls, "stub/go");
    assert!(place(&calls, &format!("set_store_target {stubdom}")) < release);
    let ready = place(&calls, &format!("read /local/domain/{stubdom}/device-model/{guest}/state"));
    assert!(release < ready && ready < unpause_guest);
    assert!(
        unpause_stubdom < place(&calls, &format!("build_hvm {guest}")),
        "the guest is built while the stubdom boots"
    );
    assert_eq!(unpause_guest, calls.len() - 1, "something came after the guest's unpause: {calls:#?}");
}

#[test]
fn a_create_tells_its_milestones_in_their_order() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    // What is left of an earlier pair is a milestone as well.
    bench.host.fail_with(Fault::From(8), Failure::StoreLost);
    bench.destroy().expect_err("xenstored is gone");
    bench.host.fail(Fault::None);
    let operation =
        libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), bench.config.clone());
    let mut told = Vec::new();
    let result = operation.expect("an event loop").wait(|event| told.push(event.milestone.to_string()));
    let pair = result.expect("an event loop").expect("created");
    let shells = format!("shells created: guest {}, stubdom {}", pair.guest, pair.stubdom);
    let wanted = [
        "the remains of an earlier pair are removed",
        "checked",
        &shells,
        "stubdom built",
        "stubdom unpaused",
        "guest built",
        "QEMU released",
        "kernel up",
        "rootfs mounted",
        "devices set up",
        "QEMU started",
        "stubdom says ready",
        "ready key seen",
        "guest unpaused",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn an_image_that_may_not_wait_finds_everything_ready_when_it_runs() {
    let files = "stubdomain_kernel = \"DIR/kernel\"\nstubdomain_ramdisk = \"DIR/ramdisk\"";
    let bench = Bench::with(Behaviour::Ready, files);
    bench.host.fail(Fault::None);
    let pair = bench.create().expect("created");
    let calls = bench.host.calls();
    let unpause = place(&calls, &format!("unpause {}", pair.stubdom));
    for before in [
        format!("build_hvm {}", pair.guest),
        format!("set_store_target {}", pair.stubdom),
        "dm-argv/001".into(),
    ] {
        assert!(place(&calls, &before) < unpause, "{before}");
    }
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_made() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    let before = bench.remains();
    let error = bench.create().expect_err("the name is taken");
    assert!(matches!(*error.cause, Cause::PairExists), "{error:?}");
    assert_eq!(bench.remains(), before);
}

#[test]
fn a_damaged_image_is_refused_before_anything_is_made() {
    for name in ["kernel", "ramdisk", "rootfs.img"] {
        let bench = Bench::new(Behaviour::Ready);
        std::fs::write(bench.directory.path().join(name), [1; 512]).expect("a file");
        let error = bench.create().expect_err("it is not what the manifest says");
        let Cause::Image(ImageError::Corrupt { path, .. }) = &*error.cause else { panic!("{error:?}") };
        assert!(path.ends_with(name), "{error:?}");
        assert_eq!(bench.remains(), Vec::<String>::new());
        assert!(!bench.host.calls().iter().any(|call| call == "create"), "{:?}", bench.host.calls());
    }
}

#[test]
fn a_kernel_that_is_all_of_its_image_finds_its_arguments_in_one_node_when_it_runs() {
    let bench = Bench::new(Behaviour::Ready);
    let mut manifest = Manifest { kind: Kind::KernelOnly, arguments: Arguments::Dmargs, ..super::manifest() };
    manifest.digests.retain(|name, _| name == "kernel");
    std::fs::write(bench.directory.path().join("manifest.json"), manifest.to_json()).expect("a file");
    bench.host.fail(Fault::None);
    let pair = bench.create().expect("created");
    let calls = bench.host.calls();
    let unpause = place(&calls, &format!("unpause {}", pair.stubdom));
    assert!(place(&calls, "image/dmargs") < unpause);
    assert!(place(&calls, &format!("build_hvm {}", pair.guest)) < unpause);
    assert!(!calls.iter().any(|call| call.contains("dm-argv") || call.contains("rootfs.img")), "{calls:#?}");
}
