// SPDX-License-Identifier: GPL-3.0-only
//! Every JSON object that is printed, as a type; `docs/src/json.md` shows each, and a test compares the two.

use std::path::PathBuf;
use std::time::SystemTime;

use libstub::{
    CheckReport, Destroyed, End, Event, Finding, ImageOrigin, LogSource, Name, Owed, Pair, PairDetails,
    PairInfo, Preflight, Reaped, ReapedPair,
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
    left: Option<&'static str>,
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
        let Preflight { name, uuid, stubdom_name, image, memory, free, disks, left } = preflight.clone();
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
            left: left.map(libstub::Remains::as_str),
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
pub(crate) mod tests;
