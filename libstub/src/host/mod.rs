// SPDX-License-Identifier: GPL-3.0-only
//! The host as the lifecycle sees it: four narrow traits.
//!
//! [`XenHost`] is the real one. `FakeHost` (feature `fake`) is in memory and can fail at any call; it exists
//! for fault sweeps, the truth is a real dom0. A host belongs to one operation and is used from one thread.

pub(crate) mod daemons;
mod disks;
#[cfg(feature = "fake")]
pub mod fake;
pub(crate) mod late_store;
mod store_thread;
mod turns;
mod vchan;
mod xen;

use std::fs::File;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use uuid::Uuid;
use xen_sys::{DomId, DomainInfo, EvtchnPort, Gfn, Kib};

pub use vchan::{Vchan, VchanError};
pub use xen::XenHost;
pub(crate) use xen::{SEABIOS, hvmloader};
pub use xen_sys::DomainKind;

use crate::code::Code;
use crate::config::DiskMode;
use crate::xenbus::Batch;

/// A call to the host that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed")]
pub struct HostError {
    /// The call, and on what.
    pub call: String,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Kinds of failure that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// xenstored died or does not answer; the connection is closed for good.
    StoreLost,
    /// No hypervisor lets this process control it.
    NotXen,
    /// The hypervisor is of another release.
    Version,
    /// Everything else.
    Other,
}

impl HostError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self.kind {
            FailureKind::StoreLost => Code::HostStore,
            FailureKind::NotXen => Code::HostNotXen,
            FailureKind::Version => Code::HostVersion,
            FailureKind::Other => Code::HostCall,
        }
    }
}

/// A domain to be created, paused and empty.
#[derive(Debug, Clone, Copy)]
pub struct NewDomain {
    /// Its identity.
    pub uuid: Uuid,
    /// HVM for a guest, PV for a stubdomain.
    pub kind: xen_sys::DomainKind,
    /// Its virtual CPUs.
    pub vcpus: u32,
}

/// What a HVM guest is built from.
#[derive(Debug, Clone)]
pub struct HvmSpec {
    /// Its memory.
    pub memory: Kib,
    /// What its memory can grow to; populated on demand above `memory`.
    pub max_memory: Kib,
    /// Its virtual CPUs.
    pub vcpus: u32,
}

/// What a PV stubdomain is built from.
#[derive(Debug, Clone)]
pub struct PvSpec {
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// Its kernel's command line.
    pub cmdline: String,
    /// Its memory.
    pub memory: Kib,
}

/// One page and one event channel: how a domain talks to xenstored or xenconsoled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// The page; a machine frame for a PV domain.
    pub gfn: Gfn,
    /// The domain's end of the channel.
    pub port: EvtchnPort,
}

/// What building a domain left for xenstore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// The xenstore ring.
    pub store: Ring,
    /// The console ring.
    pub console: Ring,
}

/// Xen itself.
pub trait Hypervisor {
    /// Creates a domain, paused and empty.
    fn create_domain(&self, new: &NewDomain) -> Result<DomId, HostError>;
    /// The domain with exactly this id, if there is one.
    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>, HostError>;
    /// All domains.
    fn domains(&self) -> Result<Vec<DomainInfo>, HostError>;
    /// Memory that a new domain could have.
    fn free_memory(&self) -> Result<Kib, HostError>;
    /// Loads hvmloader and firmware into a guest; blocks while its memory is populated.
    fn build_hvm(&self, domid: DomId, spec: &HvmSpec) -> Result<Built, HostError>;
    /// Loads a kernel into a stubdomain; blocks while its memory is populated.
    fn build_pv(&self, domid: DomId, spec: &PvSpec) -> Result<Built, HostError>;
    /// Gives a stubdomain its rights over a guest; works once in its life.
    fn set_target(&self, stubdom: DomId, guest: DomId) -> Result<(), HostError>;
    /// Takes one pause away.
    fn unpause(&self, domid: DomId) -> Result<(), HostError>;
    /// Adds one pause.
    fn pause(&self, domid: DomId) -> Result<(), HostError>;
    /// Ends a domain and frees its memory; blocks meanwhile. A domain that is gone is no failure.
    fn destroy(&self, domid: DomId) -> Result<(), HostError>;
    /// A copy of a domain's page, made once.
    fn copy_page(&self, domid: DomId, gfn: Gfn) -> Result<Vec<u8>, HostError>;
}

/// xenstored.
pub trait Xenstore {
    /// The value of a node; `None` if there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError>;
    /// The names below a node; none if there is no such node.
    fn list(&self, path: &str) -> Result<Vec<String>, HostError>;
    /// Does all of a batch, or nothing of it.
    fn apply(&self, batch: &Batch) -> Result<(), HostError>;
    /// Tells xenstored about a domain's ring.
    fn introduce(&self, domid: DomId, store: Ring) -> Result<(), HostError>;
    /// Gives a stubdomain its guest's rights in xenstore; both must be introduced.
    fn set_store_target(&self, stubdom: DomId, guest: DomId) -> Result<(), HostError>;
    /// Watches a path; events make [`watch_fd`](Self::watch_fd) readable.
    fn watch(&self, path: &str, token: &str) -> Result<(), HostError>;
    /// Takes a watch back; an event of it may still be queued.
    fn unwatch(&self, path: &str, token: &str) -> Result<(), HostError>;
    /// Takes all queued events; they are hints only, so all that counts is that they are gone.
    fn drain_watches(&self) -> Result<(), HostError>;
    /// Readable while events are queued. There is one from the first watch on.
    fn watch_fd(&self) -> Option<RawFd>;
}

/// dom0's kernel and files.
pub trait Machine {
    /// Why this machine cannot start a pair, one reason each; none if it can.
    fn unfit(&self) -> Result<Vec<Unfit>, HostError>;
    /// The release of Xen, as in directory names: `4.17`.
    fn xen_release(&self) -> String;
    /// Identifies this boot of dom0.
    fn boot_id(&self) -> Result<String, HostError>;
    /// A block device over a file, shared with whoever has the same file in the same mode.
    fn attach(&self, file: &std::path::Path, mode: DiskMode) -> Result<BlockDevice, HostError>;
    /// Whether a loop device still serves this file.
    fn serves(&self, file: &LoopFile) -> Result<bool, HostError>;
    /// Whether [`attach`](Self::attach) would succeed now; nothing is kept or changed.
    fn probe(&self, file: &std::path::Path, mode: DiskMode) -> Result<DiskKind, HostError>;
    /// How far blkback is with a vbd.
    fn backend(&self, domid: DomId, devid: u32) -> Result<BackendState, HostError>;
}

/// QEMU in a stubdomain.
pub trait Monitor {
    /// Asks a pair's QEMU whether it is there, and waits for the answer no longer than `limit`, or until `cancel` is
    /// set, which takes effect within a second.
    fn ask_qemu(
        &self,
        guest: DomId,
        stubdom: DomId,
        limit: Duration,
        cancel: &AtomicBool,
    ) -> Result<Answer, HostError>;
}

/// What became of a question to QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Alive,
    /// Somebody else talks to it.
    Busy,
    /// It did not answer in time, or not as a QEMU does.
    Silent(String),
    /// Its stubdomain offers no way to ask.
    NotOffered,
    /// The question was taken back.
    Cancelled,
}

/// Something that a pair needs and this host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// What is behind a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// A file, which is served through a loop device.
    File,
    /// A block device, which is served as it is.
    BlockDevice,
}

/// A block device that blkback can open.
#[derive(Debug, Clone)]
pub struct BlockDevice {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// The file behind it, if it is a loop device that nobody shares.
    pub file: Option<LoopFile>,
    /// Holds it until blkback does: a loop device frees itself on its last close.
    pub hold: Arc<dyn Hold>,
}

/// A file behind a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LoopFile {
    /// The loop device's number.
    pub number: u32,
    /// What tells this attachment from an earlier or a later one; none before Linux 5.15.
    pub sequence: Option<u64>,
    /// The device of the file system that the file is on.
    pub device: u64,
    /// The file's inode there.
    pub inode: u64,
}

/// Something that keeps a block device alive until it is dropped.
pub trait Hold: Send + Sync + std::fmt::Debug {}
impl Hold for File {}
impl Hold for xen_sys::LoopDevice {}

/// How far blkback is with a vbd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    /// No such device in dom0's kernel.
    Absent,
    /// The device is there, without its block device.
    Probed,
    /// It has opened its block device.
    Open,
}

/// All of the host.
pub trait Host: Hypervisor + Xenstore + Machine + Monitor + Send + std::fmt::Debug {}
impl<T: Hypervisor + Xenstore + Machine + Monitor + Send + std::fmt::Debug> Host for T {}
