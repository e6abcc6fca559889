// SPDX-License-Identifier: GPL-3.0-only
//! What is looked at without being changed: the dry run, show, and what a host lacks.

use libstub::host::Hypervisor as _;
use libstub::host::fake::{Behaviour, Failure, Fault};
use libstub::{Cause, Code, JournalError, Name, PairState, ShowError, ShutdownReason, Stage};

use super::Bench;

#[test]
fn a_dry_run_changes_nothing_and_leaves_no_journal() {
    let bench = Bench::new(Behaviour::Ready);
    bench.host.fail(Fault::None);
    let preflight =
        libstub::preflight(&bench.host, &bench.journal, &bench.config).expect("it could be created");
    assert_eq!((preflight.name.as_str(), preflight.stubdom_name.as_str()), ("g", "g-dm"));
    assert_eq!(preflight.disks.len(), 2, "the disk and the rootfs: {preflight:?}");
    let looks = ["unfit", "boot id", "list domains", "read ", "free memory", "probe ", "look at "];
    for call in bench.host.calls() {
        assert!(looks.iter().any(|look| call.starts_with(look)), "{call} is more than a look");
    }
    assert_eq!(bench.remains(), Vec::<String>::new());
    assert!(!bench.journal.directory().exists(), "the dry run made the journal");
    bench.create().expect("what was predicted");
}

#[test]
fn a_dry_run_and_a_create_refuse_the_same() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    let refused = || libstub::preflight(&bench.host, &bench.journal, &bench.config).expect_err("refused");
    assert!(matches!(*refused().cause, Cause::PairExists));
    bench.host.reboot();
    libstub::preflight(&bench.host, &bench.journal, &bench.config).expect("a record of an earlier boot");
    bench.host.lack("xenconsoled");
    assert!(matches!(&*refused().cause, Cause::Unfit(lacks) if lacks[0].what == "xenconsoled"));
    let error = bench.create().expect_err("refused");
    assert!(matches!(&*error.cause, Cause::Unfit(lacks) if lacks[0].what == "xenconsoled"));
    assert_eq!(bench.host.remains(), Vec::<String>::new());
}

#[test]
fn a_name_that_a_create_works_on_is_busy_for_a_dry_run() {
    let bench = Bench::new(Behaviour::Ready);
    let operation =
        libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), bench.config.clone());
    let mut refused = None;
    let result = operation.expect("an event loop").wait(|event| {
        if matches!(event.milestone, libstub::Milestone::ShellsCreated { .. }) {
            refused = Some(libstub::preflight(&bench.host, &bench.journal, &bench.config));
        }
    });
    result.expect("an event loop").expect("created");
    let error = refused.expect("there were shells").expect_err("somebody works on it, or it exists");
    assert!(matches!(*error.cause, Cause::Journal(JournalError::Busy(_)) | Cause::PairExists), "{error:?}");
}

#[test]
fn show_tells_what_the_record_xen_and_xenstore_know() {
    let bench = Bench::new(Behaviour::Ready);
    let name = Name::new("g").expect("a name");
    let show = || libstub::show(&bench.host, &bench.journal, &name);
    assert!(matches!(show(), Err(ShowError::NoSuchPair(_))));
    let pair = bench.create().expect("created");
    let details = show().expect("shown");
    assert_eq!((details.info.guest, details.info.stubdom), (Some(pair.guest), Some(pair.stubdom)));
    assert_eq!(details.info.state, PairState::Running);
    assert_eq!(
        (details.report.stage, details.report.state.as_deref()),
        (Some(Stage::Ready), Some("running"))
    );
    assert!(details.created_at.is_some_and(|at| at.elapsed().is_ok_and(|ago| ago.as_secs() < 600)));
    assert!(details.image.is_some_and(|image| image.directory.as_deref() == Some(bench.directory.path())));
    let [disk, rootfs] = details.disks.as_slice() else { panic!("{:?}", details.disks) };
    assert_eq!((disk.vdev.as_deref(), disk.stubdom_vdev.as_deref()), (Some("xvda"), Some("xvda")));
    assert_eq!((disk.mode.as_str(), disk.device), ("w", Some((7, 1))));
    assert!(disk.guest_backend.is_some() && disk.stubdom_backend.is_some(), "{disk:?}");
    assert_eq!((rootfs.vdev.as_deref(), rootfs.stubdom_vdev.as_deref()), (None, Some("xvdz")));
    assert!(rootfs.guest_backend.is_none() && rootfs.stubdom_backend.is_some(), "{rootfs:?}");
    bench.host.reboot();
    let details = show().expect("shown");
    assert_eq!((details.info.state, details.info.guest), (PairState::Gone, None));
    assert!(!libstub::is_alive(&bench.host, &bench.journal, &name).expect("asked"));
}

#[test]
fn a_list_tells_the_state_of_a_pair_whatever_became_of_its_halves() {
    let bench = Bench::new(Behaviour::Ready);
    let state = || {
        let (pairs, unreadable) = libstub::list(&bench.host, &bench.journal).expect("listed");
        assert!(unreadable.is_empty(), "{unreadable:?}");
        let state = pairs[0].state;
        assert_eq!(state.in_words().replace(' ', "-"), state.as_str());
        state.as_str()
    };
    let pair = bench.create().expect("created");
    assert_eq!(state(), "running");
    bench.host.pause(pair.guest).expect("paused");
    assert_eq!(state(), "paused");
    bench.host.shut_down(pair.stubdom, ShutdownReason::Crash);
    assert_eq!(state(), "stubdom-dead");
    bench.host.shut_down(pair.guest, ShutdownReason::Poweroff);
    assert_eq!(state(), "shut-down");
    bench.host.shut_down(pair.guest, ShutdownReason::Crash);
    assert_eq!(state(), "crashed");
    bench.host.fail_with(Fault::From(8), Failure::StoreLost);
    bench.destroy().expect_err("xenstored is gone");
    bench.host.fail(Fault::None);
    assert_ne!(state(), "crashed", "its end has begun");
    bench.host.reboot();
    assert_eq!(state(), "gone");
}

#[test]
fn a_list_that_fails_at_any_call_says_so() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    bench.host.fail(Fault::None);
    libstub::list(&bench.host, &bench.journal).expect("listed");
    for at in 1..=bench.host.calls().len() {
        bench.host.fail(Fault::Once(at));
        match libstub::list(&bench.host, &bench.journal) {
            Err(error) => assert!(["host-call", "journal-io"].contains(&error.code().as_str()), "{error:?}"),
            // One record that cannot be read does not hide the others.
            Ok((pairs, unreadable)) => assert_eq!((pairs.len(), unreadable.len()), (0, 1), "call {at}"),
        }
    }
}

#[test]
fn a_look_that_fails_at_any_call_says_so() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    let name = Name::new("g").expect("a name");
    bench.host.fail(Fault::None);
    libstub::show(&bench.host, &bench.journal, &name).expect("shown");
    let calls = bench.host.calls().len();
    for at in 1..=calls {
        bench.host.fail(Fault::Once(at));
        let result = libstub::show(&bench.host, &bench.journal, &name);
        let code = result.expect_err("it was not all seen").code();
        assert!(matches!(code, Code::HostCall | Code::JournalIo), "call {at}: {code}");
    }
    assert!(calls > 8, "hardly a call was made");
}
