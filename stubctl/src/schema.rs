// SPDX-License-Identifier: GPL-3.0-only
//! Every JSON object that is printed, as a type; `docs/src/json.md` shows each, and a test compares the two.

use std::path::PathBuf;
use std::time::SystemTime;

use libstub::{
    CheckReport, Destroyed, End, Event, Finding, ImageOrigin, LogSource, Name, Owed, Pair, PairDetails, PairInfo,
    Preflight, Reaped, ReapedPair,
};
use serde::Serialize;

/// The version of all objects: raised when a key goes or changes its meaning, not when one is added.
const VERSION: u32 = 1;

/// An object with the version that it has.
#[derive(Serialize)]
pub(crate) struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

impl<T> Versioned<T> {
    pub(crate) fn new(body: T) -> Self {
        Self { version: VERSION, body }
    }
}

/// `stubctl create`
#[derive(Serialize)]
pub(crate) struct Created {
    name: Name,
    uuid: String,
    guest: u16,
    stubdom: u16,
    timeline: Vec<TimelineEvent>,
}

#[derive(Serialize)]
struct TimelineEvent {
    ms: u64,
    what: String,
}

impl Created {
    pub(crate) fn new(pair: &Pair, events: &[Event]) -> Self {
        let event = |event: &Event| TimelineEvent {
            ms: u64::try_from(event.at.as_millis()).unwrap_or(u64::MAX),
            what: event.milestone.to_string(),
        };
        Self {
            name: pair.name.clone(),
            uuid: pair.uuid.to_string(),
            guest: pair.guest.get(),
            stubdom: pair.stubdom.get(),
            timeline: events.iter().map(event).collect(),
        }
    }
}

/// `stubctl create --dry-run`
#[derive(Serialize)]
pub(crate) struct DryRun {
    name: Name,
    uuid: Option<String>,
    stubdom_name: String,
    image: DryImage,
    memory: Memory,
    disks: Vec<DryDisk>,
}

#[derive(Serialize)]
struct DryImage {
    directory: Option<PathBuf>,
    kernel: PathBuf,
    kernel_release: Option<String>,
    qemu: Option<String>,
    ramdisk: Option<PathBuf>,
    rootfs: Option<PathBuf>,
    cmdline: String,
}

#[derive(Serialize)]
struct Memory {
    guest_kib: u64,
    paging_pool_kib: u64,
    stubdom_kib: u64,
    overhead_kib: u64,
    total_kib: u64,
    free_kib: u64,
}

#[derive(Serialize)]
struct DryDisk {
    vdev: Option<String>,
    target: PathBuf,
    mode: &'static str,
    kind: libstub::host::DiskKind,
}

impl From<&Preflight> for DryRun {
    fn from(preflight: &Preflight) -> Self {
        let Preflight { name, uuid, stubdom_name, image, memory, free, disks } = preflight.clone();
        let disk = |disk: libstub::PreflightDisk| DryDisk {
            vdev: disk.vdev.map(|vdev| vdev.to_string()),
            target: disk.target,
            mode: disk.mode.as_str(),
            kind: disk.kind,
        };
        Self {
            name,
            uuid: uuid.map(|uuid| uuid.to_string()),
            stubdom_name,
            memory: Memory {
                guest_kib: memory.guest.get(),
                paging_pool_kib: memory.paging_pool.get(),
                stubdom_kib: memory.stubdom.get(),
                overhead_kib: memory.overhead.get(),
                total_kib: memory.total().get(),
                free_kib: free.get(),
            },
            image: DryImage {
                directory: image.directory,
                kernel: image.kernel,
                kernel_release: image.kernel_release,
                qemu: image.qemu,
                ramdisk: image.ramdisk,
                rootfs: image.rootfs,
                cmdline: image.cmdline,
            },
            disks: disks.into_iter().map(disk).collect(),
        }
    }
}

/// `stubctl run`, when it is over
#[derive(Serialize)]
pub(crate) struct Ran {
    name: Name,
    uuid: String,
    outcome: &'static str,
    end: Option<String>,
    restarts: usize,
}

impl Ran {
    pub(crate) fn new(pair: &Pair, outcome: &'static str, end: Option<&End>, restarts: usize) -> Self {
        let (name, uuid) = (pair.name.clone(), pair.uuid.to_string());
        Self { name, uuid, outcome, end: end.map(ToString::to_string), restarts }
    }
}

/// `stubctl destroy`
#[derive(Serialize)]
pub(crate) struct Gone {
    name: Name,
    uuid: String,
    removed: Vec<String>,
}

impl From<Destroyed> for Gone {
    fn from(Destroyed { name, uuid, undone }: Destroyed) -> Self {
        Self { name, uuid: uuid.to_string(), removed: undone }
    }
}

/// `stubctl reap`
#[derive(Serialize)]
pub(crate) struct Reapings {
    dry_run: bool,
    pairs: Vec<Reaping>,
    set_aside: Vec<PathBuf>,
    busy: Vec<Name>,
}

#[derive(Serialize)]
struct Reaping {
    name: Name,
    why: &'static str,
    removed: Vec<String>,
    owed: Vec<Left>,
}

/// Something that could not be removed.
#[derive(Serialize)]
struct Left {
    what: String,
    why: String,
}

impl Reapings {
    pub(crate) fn new(reaped: Reaped, dry_run: bool) -> Self {
        let left = |Owed { what, why }: Owed| Left { what, why };
        let pair = |pair: ReapedPair| Reaping {
            name: pair.name,
            why: pair.why.as_str(),
            removed: pair.undone,
            owed: pair.owed.into_iter().map(left).collect(),
        };
        let pairs = reaped.pairs.into_iter().map(pair).collect();
        Self { dry_run, pairs, set_aside: reaped.set_aside, busy: reaped.busy }
    }
}

/// `stubctl list`
#[derive(Serialize)]
pub(crate) struct Listed {
    pub(crate) pairs: Vec<PairInfo>,
    pub(crate) unreadable: Vec<String>,
}

/// `stubctl check`
#[derive(Serialize)]
pub(crate) struct Checked {
    findings: Vec<Finding>,
    usable: bool,
}

impl From<&CheckReport> for Checked {
    fn from(report: &CheckReport) -> Self {
        Self { findings: report.findings.clone(), usable: report.usable() }
    }
}

/// `stubctl show`
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    info: PairInfo,
    stubdom_name: String,
    created_at: Option<String>,
    config: Option<PathBuf>,
    image: Option<ImageOrigin>,
    guest_shutdown: Option<String>,
    stubdom_shutdown: Option<String>,
    report: Report,
    disks: Vec<ShownDisk>,
    logs: Vec<LogFile>,
}

#[derive(Serialize)]
struct Report {
    protocol: Option<String>,
    stage: Option<String>,
    state: Option<String>,
    failed: Option<String>,
    qemu_exit: Option<String>,
}

#[derive(Serialize)]
struct ShownDisk {
    vdev: Option<String>,
    stubdom_vdev: Option<String>,
    target: PathBuf,
    mode: String,
    device: Option<String>,
    guest_backend: Option<String>,
    stubdom_backend: Option<String>,
}

/// A console's log file.
#[derive(Serialize)]
pub(crate) struct LogFile {
    pub(crate) domain: LogSource,
    pub(crate) path: PathBuf,
}

impl Shown {
    pub(crate) fn new(details: &PairDetails, logs: Vec<LogFile>) -> Self {
        let details = details.clone();
        let disk = |disk: libstub::DiskDetails| ShownDisk {
            device: disk.device.map(|(major, minor)| format!("{major}:{minor}")),
            vdev: disk.vdev,
            stubdom_vdev: disk.stubdom_vdev,
            target: disk.target,
            mode: disk.mode,
            guest_backend: disk.guest_backend,
            stubdom_backend: disk.stubdom_backend,
        };
        Self {
            info: details.info,
            stubdom_name: details.stubdom_name,
            created_at: details.created_at.map(timestamp),
            config: details.config,
            image: details.image,
            guest_shutdown: details.guest_shutdown.map(|reason| reason.to_string()),
            stubdom_shutdown: details.stubdom_shutdown.map(|reason| reason.to_string()),
            report: Report {
                protocol: details.report.protocol,
                stage: details.report.stage.map(|stage| stage.to_string()),
                state: details.report.state,
                failed: details.report.failed,
                qemu_exit: details.report.qemu_exit,
            },
            disks: details.disks.into_iter().map(disk).collect(),
            logs,
        }
    }
}

/// A moment in the form of RFC 3339, in UTC.
pub(crate) fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use libstub::config::{DiskMode, Vdev};
    use libstub::host::DiskKind;
    use libstub::{
        DiskDetails, DomId, FindingStatus, Image, Kib, LogLine, MemoryNeed, Milestone, PairState,
        PreflightDisk, StubdomReport,
    };
    use serde_json::Value;

    use super::*;

    const PAGE: &str = include_str!("../../docs/src/json.md");

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
}
