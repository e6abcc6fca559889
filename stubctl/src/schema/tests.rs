// SPDX-License-Identifier: GPL-3.0-only
//! The documented JSON is what the types make.

use std::time::Duration;

use libstub::config::{DiskMode, Vdev};
use libstub::host::DiskKind;
use libstub::{
    DiskDetails, DomId, FindingStatus, Image, Kib, LogLine, MemoryNeed, Milestone, PairState, PreflightDisk,
    StubdomReport,
};
use serde_json::Value;

use super::*;

const PAGE: &str = include_str!("../../../docs/src/json.md");

/// The example below the heading of a command.
fn example(command: &str) -> Value {
    let heading = format!("\n## {command}\n");
    let section = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section {command}")).1;
    let section = section.split("\n## ").next().expect("a section");
    let block = section.split_once("```json\n").expect("an example").1;
    let block = block.split_once("```").expect("an end").0;
    serde_json::from_str(block).unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// Checks that two objects have the same keys, at every depth, and values of the same type.
fn compare(at: &str, page: &Value, printed: &Value) {
    match (page, printed) {
        (Value::Object(page), Value::Object(printed)) => {
            let (page_keys, keys): (Vec<_>, Vec<_>) = (page.keys().collect(), printed.keys().collect());
            assert_eq!(page_keys, keys, "{at}");
            page.iter().for_each(|(key, value)| compare(&format!("{at}.{key}"), value, &printed[key]));
        }
        (Value::Array(page), Value::Array(printed)) => {
            assert!(!page.is_empty() && !printed.is_empty(), "{at}: an empty list shows nothing");
            compare(&format!("{at}[]"), &page[0], &printed[0]);
        }
        _ => assert_eq!(
            std::mem::discriminant(page),
            std::mem::discriminant(printed),
            "{at}: {page} and {printed}"
        ),
    }
}

fn documented(command: &str, body: &impl Serialize) {
    let printed = serde_json::to_value(Versioned::new(body)).expect("JSON");
    on_the_page(&format!("`{command}`"), &printed);
}

/// Checks that the page has what is printed, below a heading.
pub(crate) fn on_the_page(heading: &str, printed: &Value) {
    compare(heading, &example(heading), printed);
}

fn info() -> PairInfo {
    PairInfo {
        name: Name::new("web").expect("a name"),
        uuid: Default::default(),
        guest: Some(DomId::new(7)),
        stubdom: Some(DomId::new(8)),
        state: PairState::Running,
        supervised: true,
        memory_kib: 1,
        stubdom_memory_kib: 1,
        vcpus: 1,
        cpu_ms: 1,
        stubdom_cpu_ms: 1,
    }
}

#[test]
fn what_create_destroy_and_list_print_is_on_the_page() {
    let PairInfo { name, uuid, .. } = info();
    let (guest, stubdom) = (DomId::new(7), DomId::new(8));
    let pair = Pair { name: name.clone(), uuid, guest, stubdom };
    let event = Event { milestone: Milestone::GuestUnpaused, at: Duration::from_millis(3) };
    documented("stubctl create", &Created::new(&pair, &[event]));
    let gone = Destroyed { name, uuid, undone: vec!["guest 7".to_owned()] };
    let end = libstub::End::Guest(libstub::ShutdownReason::Poweroff);
    documented("stubctl run", &Ran::new(&pair, "removed", Some(&end), 0));
    documented("stubctl destroy", &Gone::from(gone));
    let owed = vec![Owed { what: String::new(), why: String::new() }];
    let undone = vec![String::new()];
    let name = Name::new("g").expect("a name");
    let pair = ReapedPair { name: name.clone(), why: libstub::Remains::Orphan, undone, owed };
    let reaped = Reaped { pairs: vec![pair], set_aside: vec!["/file".into()], busy: vec![name] };
    documented("stubctl reap", &Reapings::new(reaped, false));
    documented("stubctl list", &Listed { pairs: vec![info()], unreadable: vec![String::new()] });
}

#[test]
fn what_a_dry_run_prints_is_on_the_page() {
    let path = || Some(PathBuf::from("/image/file"));
    let image = Image {
        kernel: "/image/kernel".into(),
        ramdisk: path(),
        rootfs: path(),
        cmdline: String::new(),
        memory: Kib::new(1),
        waits_for_go: true,
        arguments: libstub::Arguments::DmArgv,
        debug_shell: false,
        directory: path(),
        kernel_release: Some(String::new()),
        qemu: Some(String::new()),
        digests: std::collections::BTreeMap::new(),
    };
    let one = Kib::new(1);
    let preflight = Preflight {
        name: info().name,
        uuid: Some(info().uuid),
        stubdom_name: String::new(),
        image,
        memory: MemoryNeed { guest: one, paging_pool: one, stubdom: one, overhead: one },
        free: one,
        disks: vec![PreflightDisk {
            vdev: Vdev::parse("xvda"),
            target: PathBuf::new(),
            mode: DiskMode::ReadWrite,
            kind: DiskKind::File,
        }],
        left: Some(libstub::Remains::Unfinished),
    };
    documented("stubctl create --dry-run", &DryRun::from(&preflight));
}

#[test]
fn what_show_prints_is_on_the_page() {
    let text = || Some(String::new());
    let details = PairDetails {
        info: info(),
        stubdom_name: String::new(),
        created_at: Some(SystemTime::UNIX_EPOCH),
        config: Some(PathBuf::new()),
        image: Some(ImageOrigin {
            directory: Some(PathBuf::new()),
            kernel: PathBuf::new(),
            kernel_release: text(),
            qemu: text(),
        }),
        guest_shutdown: Some(libstub::ShutdownReason::Crash),
        stubdom_shutdown: Some(libstub::ShutdownReason::Poweroff),
        report: StubdomReport {
            protocol: text(),
            stage: Some(libstub::Stage::Ready),
            state: text(),
            failed: text(),
            qemu_exit: text(),
        },
        disks: vec![DiskDetails {
            vdev: text(),
            stubdom_vdev: text(),
            target: PathBuf::new(),
            mode: String::new(),
            device: Some((7, 0)),
            guest_backend: text(),
            stubdom_backend: text(),
        }],
    };
    let log = LogFile { domain: LogSource::Stubdom, path: PathBuf::new() };
    documented("stubctl show", &Shown::new(&details, vec![log]));
    assert_eq!(timestamp(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
}

#[test]
fn what_check_and_logs_print_is_on_the_page() {
    let finding = Finding {
        name: "blkback",
        status: FindingStatus::Failure,
        what: String::new(),
        remedy: Some(String::new()),
    };
    documented("stubctl check", &Checked::from(&CheckReport { findings: vec![finding] }));
    let line = LogLine { domain: LogSource::Guest, line: String::new() };
    compare("stubctl logs", &example("`stubctl logs`"), &serde_json::to_value(&line).expect("JSON"));
}

#[test]
fn every_state_and_finding_of_the_page_has_its_name() {
    let states = [
        PairState::Incomplete,
        PairState::Running,
        PairState::Paused,
        PairState::ShutDown,
        PairState::Crashed,
        PairState::StubdomDead,
        PairState::Gone,
    ];
    for state in states {
        assert!(PAGE.contains(&format!("`{}`", state.as_str())), "{state:?}");
        assert_eq!(serde_json::to_value(state).expect("JSON"), state.as_str());
    }
    let options = libstub::CheckOptions { journal: libstub::Journal::new("/nowhere"), wait: None };
    for finding in libstub::check(&options).findings {
        assert!(PAGE.contains(&format!("`{}`", finding.name)), "{finding:?}");
    }
}
