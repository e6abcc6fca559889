// SPDX-License-Identifier: GPL-3.0-only
//! Every kind of failure as a person and as a script reads it; `UPDATE_EXPECT=1` renews the texts.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::expect_file;
use libstub::host::{FailureKind, Unfit};
use libstub::{ArgvError, DomId, GuestConfig, ImageError, Kib, ShutdownReason};

use super::*;

fn name() -> Name {
    Name::new("web").expect("a name")
}

fn host(kind: FailureKind, call: &str, errno: i32) -> HostError {
    HostError { call: call.to_owned(), kind, source: io::Error::from_raw_os_error(errno).into() }
}

/// A create that failed before it made anything.
fn refused(cause: Cause) -> Failure {
    CreateError {
        name: name(),
        stage: CreateStage::Preflight,
        guest: None,
        stubdom: None,
        cause: Box::new(cause),
        findings: Box::default(),
        undone: Vec::new(),
        owed: Vec::new(),
    }
    .into()
}

fn words() -> Vec<String> {
    vec!["qemu: unknown option -frob".to_owned(), "init: QEMU ended: exit 1".to_owned()]
}

/// A create that failed when both domains were there.
fn broken(stage: CreateStage, cause: Cause) -> CreateError {
    let domid = |number| Some(DomId::new(number));
    let undone = ["stubdom 8", "guest 7", "nodes in xenstore"].map(str::to_owned).into();
    CreateError {
        name: name(),
        stage,
        guest: domid(7),
        stubdom: domid(8),
        cause: Box::new(cause),
        findings: Box::new(Findings { console: words(), ..Findings::default() }),
        undone,
        owed: Vec::new(),
    }
}

fn config(text: &str) -> Failure {
    GuestConfig::parse(text, Path::new("web.cfg")).expect_err("a wrong config").into()
}

fn died() -> End {
    let words = Some("QEMU ended: signal 9".to_owned());
    End::StubdomDied { reason: Some(ShutdownReason::Crash), words }
}

fn silent() -> String {
    "QEMU did not answer query-status in time".to_owned()
}

fn failures() -> Vec<Failure> {
    let path = || PathBuf::from("/var/lib/stubctl/web.json");
    let ready = CreateStage::Ready(Some(libstub::Stage::QemuStarted));
    let owed = || Owed { what: "vbd 51712 of domain 7".to_owned(), why: "blkback still holds it".to_owned() };
    let domid = DomId::new(3);
    let mebibytes = Kib::from_mib;
    vec![
        ConfigError::Unreadable { file: "web.cfg".into(), source: io::Error::from_raw_os_error(2) }.into(),
        config("name = \"web\"\nmemory = 64\nvcpus 2\n"),
        config("memroy = 64\nname = \"web\"\nvcpus = 0\n"),
        config("vif = [ 'bridge=xenbr0' ]\nname = \"web\"\nmemory = 64\n"),
        config("name = \"web\"\nmemory = 64\ntype = \"pv\"\n"),
        config("name = \"web\"\n"),
        config("name = \"web\"\nmemory = 64\nvcpus = 0\n"),
        config("name = \"web\"\nmemory = 64\ndisk = [ '/nowhere/web.img,raw,xvda' ]\n"),
        config("name = \"web\"\nmemory = 64\ndisk = [ '/dev/null,raw,xvda,rwx' ]\n"),
        config("name = \"web\"\nmemory = 64\nmaxmem = 32\n"),
        refused(Cause::Config(vec!["129 vcpus are not 1 to 128".to_owned()])),
        Failure::from(host(FailureKind::NotXen, "open of Xen's control interface", 2)),
        Failure::from(HostError {
            source: "libxenctrl's hypervisor is 4.20, this program is built for 4.17".into(),
            ..host(FailureKind::Version, "ask Xen for its version", 0)
        }),
        refused(Cause::Unfit(vec![Unfit {
            what: "/dev/loop-control is missing".to_owned(),
            remedy: "modprobe loop".to_owned(),
        }])),
        refused(Cause::Host(host(FailureKind::StoreLost, "introduction of domain 7", 111))),
        broken(CreateStage::Guest, Cause::Host(host(FailureKind::Other, "build of guest 7", 12))).into(),
        refused(Cause::Image(ImageError::NotFound(vec!["/usr/lib/stubctl/image/4.17".into()]))),
        refused(Cause::Image(ImageError::Unusable {
            path: "/srv/image".into(),
            reason: "it speaks stubdom protocol 2, not 1".to_owned(),
        })),
        refused(Cause::Image(ImageError::Corrupt {
            path: "/srv/image/rootfs.img".into(),
            expected: "5e".repeat(32),
            found: "0f".repeat(32),
        })),
        anyhow::anyhow!("/srv/root has no kernel").context("no image in /srv/image").into(),
        Failure::name(&Name::new("../web").expect_err("no name")),
        DestroyError::NoSuchPair(name()).into(),
        refused(Cause::PairExists),
        refused(Cause::NobodyActs(vec!["on_crash", "on_reboot"])),
        refused(Cause::Superseded),
        refused(Cause::ConfigNotKept),
        SupervisorError::Daemon("/var/lib/stubctl".into()).into(),
        SupervisorError::Pair(name()).into(),
        Failure::ended(&name(), &End::Guest(ShutdownReason::Crash), Code::GuestCrashed),
        Failure::ended(&name(), &died(), Code::StubdomDied),
        Failure::ended(&name(), &End::QemuSilent { why: silent() }, Code::QmpFailed),
        DestroyError::Journal(JournalError::Busy(name())).into(),
        refused(Cause::NameTaken { by: domid }),
        refused(Cause::UuidTaken { by: domid }),
        refused(Cause::NotEnoughMemory { need: mebibytes(300), free: mebibytes(200) }),
        refused(Cause::Disk {
            path: "/srv/web.img".into(),
            source: HostError {
                source: "/dev/loop0 writes it already".into(),
                ..host(FailureKind::Other, "attach of /srv/web.img", 0)
            },
        }),
        refused(Cause::Argv(ArgvError::TooLong { index: 1, len: 4000 })),
        broken(CreateStage::Unpause, Cause::BackendStuck { domid, devid: 51712 }).into(),
        CreateError {
            findings: Box::new(Findings {
                shutdown: Some(ShutdownReason::Poweroff),
                qemu_exit: Some("exit 1".to_owned()),
                console: words(),
                unconnected: Vec::new(),
            }),
            ..broken(ready, Cause::StubdomFailed { report: "qemu-started: exit 1".to_owned() })
        }
        .into(),
        CreateError {
            findings: Box::new(Findings {
                shutdown: Some(ShutdownReason::Crash),
                unconnected: vec![
                    "vbd 51952 of domain 8: frontend initialising, backend waiting for its frontend"
                        .to_owned(),
                ],
                console: words(),
                qemu_exit: None,
            }),
            ..broken(CreateStage::Ready(None), Cause::StubdomDied { reason: Some(ShutdownReason::Crash) })
        }
        .into(),
        broken(ready, Cause::QemuEnded { exit: "signal 11".to_owned() }).into(),
        broken(ready, Cause::GuestDied { reason: None }).into(),
        broken(ready, Cause::TimedOut { after: Duration::from_secs(120) }).into(),
        broken(CreateStage::Devices, Cause::Cancelled).into(),
        CreateError { owed: vec![owed()], ..broken(ready, Cause::Cancelled) }.into(),
        Failure::interrupted(
            &io::Error::new(io::ErrorKind::Interrupted, "a second signal came before it was over"),
            Some(&name()),
        ),
        DestroyError::Owed { name: name(), undone: vec!["stubdom 8".to_owned()], owed: vec![owed()] }.into(),
        Failure::from(DestroyError::Journal(JournalError::Io {
            action: "write",
            path: path(),
            source: io::Error::from_raw_os_error(28),
        })),
        Failure::from(DestroyError::Journal(JournalError::Unreadable {
            path: path(),
            reason: "EOF while parsing an object at line 1 column 1".to_owned(),
        })),
        Failure::from(DestroyError::Journal(JournalError::OtherVersion { path: path(), version: 2 })),
        refused(Cause::LeftBehind),
        refused(Cause::Panicked("index out of bounds".to_owned())),
        Failure::unwritable(Path::new("/nowhere/create.svg"), &io::Error::from_raw_os_error(2)),
    ]
}

#[test]
fn every_failure_is_told_in_the_words_that_were_reviewed() {
    let texts: Vec<String> = failures()
        .iter()
        .map(|failure| format!("exit {}\n{}", failure.status.number(), failure.as_text()))
        .collect();
    expect_file!["golden.txt"].assert_eq(&texts.join("\n"));
    let objects: Vec<String> =
        failures().iter().map(|failure| format!("{:#}\n", failure.as_json())).collect();
    expect_file!["golden.json"].assert_eq(&objects.concat());
}

#[test]
fn the_object_of_an_error_is_on_the_page() {
    let error = CreateError {
        owed: vec![Owed { what: "a".to_owned(), why: "b".to_owned() }],
        findings: Box::new(Findings {
            shutdown: Some(ShutdownReason::Crash),
            qemu_exit: Some("exit 1".to_owned()),
            console: words(),
            unconnected: vec!["vbd 51952 of domain 8: frontend initialising, backend gone".to_owned()],
        }),
        ..broken(CreateStage::Ready(Some(libstub::Stage::Ready)), Cause::Cancelled)
    };
    let mut failure = Failure::from(error);
    failure.causes = vec!["a cause".to_owned()];
    failure.details.faults = config("memory = 0\n").details.faults;
    failure.details.faults[0].suggestion = None;
    crate::schema::tests::on_the_page("An error", &failure.as_json());
}

#[test]
fn every_code_is_among_the_texts() {
    let told: BTreeSet<Code> = failures().iter().map(|failure| failure.code).collect();
    // Warnings, and what no command does so far.
    let others = [Code::ConfigDuplicate, Code::ConfigIgnored, Code::ImageDebugShell];
    let missing: Vec<&Code> =
        Code::ALL.iter().filter(|code| !told.contains(code) && !others.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
