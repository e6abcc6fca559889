// SPDX-License-Identifier: GPL-3.0-only
//! The real host: Xen through `xen-sys`, dom0's kernel through its files.
//!
//! Each call is told to `tracing` under the target `libstub::call` before it is made; the dom0 ring reads the
//! order of a create from there.

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use xen_sys::{
    Access as _, BuiltPages, Channel, Commit, CpuidPolicy, CreateDomain, Ctrl, DomId, DomainInfo, DomainKind,
    EvtchnPort, ForeignMemory, Gfn, HvmBuild, HvmParam, Kib, PvBuild, Store,
};

use super::store_thread::StoreThread;
use super::{
    Answer, BackendState, BlockDevice, Built, DiskKind, FailureKind, HostError, HvmSpec, Hypervisor,
    LoopFile, Machine, Monitor, NewDomain, PvSpec, Ring, Unfit, Xenstore,
};
use super::{disks, late_store};
use crate::check::Facts;
use crate::config::DiskMode;
use crate::lifecycle::paging_pool;
use crate::qmp;
use crate::xenbus::{Batch, Op, STORE_DOMAIN};

/// The firmware that hvmloader starts (Debian's package seabios).
pub(crate) const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";
/// What libxl gives every domain.
const MAX_EVENT_CHANNEL: u32 = 1023;
/// What Xen may need above a domain's memory for special pages and option ROMs (LIBXL_MAXMEM_CONSTANT).
const MEMORY_SLACK: Kib = Kib::new(1024);
/// A transaction that conflicts this often meets somebody who never stops writing.
const COMMIT_ATTEMPTS: u32 = 64;

/// Xen, xenstored and dom0's kernel.
#[derive(Debug)]
pub struct XenHost {
    ctrl: Ctrl,
    store: StoreThread,
    release: String,
}

impl XenHost {
    /// Opens Xen; xenstored is connected to when it is first needed, because to kill a pair it is not.
    ///
    /// # Errors
    /// When this is no dom0, or its Xen is not the one this library was built for.
    pub fn open() -> Result<Self, HostError> {
        let ctrl = Ctrl::open().map_err(|error| unusable("open of Xen's control interface", error))?;
        let version = ctrl.version().map_err(|error| unusable("ask Xen for its version", error))?;
        let release = format!("{}.{}", version.major, version.minor);
        Ok(Self { ctrl, store: StoreThread::default(), release })
    }

    /// The same when xenstored may be started later: waits until it answers, at most this long.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when xenstored does not answer in time.
    pub fn open_waiting(limit: Duration) -> Result<Self, HostError> {
        let (socket, deadline) = (late_store::socket(), Instant::now() + limit);
        let host = Self::open()?;
        late_store::wait(&socket, deadline).map_err(|source| HostError {
            call: format!("wait of {} s for xenstored on {}", limit.as_secs(), socket.display()),
            kind: FailureKind::StoreLost,
            source: source.into(),
        })?;
        host.store_domain(deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)))?;
        Ok(host)
    }

    /// The domain that xenstored runs in, if it answers within `limit`.
    pub(crate) fn store_domain(&self, limit: Duration) -> Result<DomId, HostError> {
        let node = STORE_DOMAIN;
        let value =
            self.store.request_within(limit, || format!("read of {node}"), |store| store.read(node))?;
        let domid = value.and_then(|value| String::from_utf8(value).ok()?.parse().ok());
        Ok(DomId::new(domid.unwrap_or(0)))
    }

    /// What Xen says about itself and its host.
    pub(crate) fn facts(&self) -> Result<Facts, HostError> {
        let version = self.ctrl.version().map_err(|error| fail("ask Xen for its version", error))?;
        let abilities = self.ctrl.phys_info().map_err(|error| fail("ask Xen for its abilities", error))?;
        Ok(Facts { release: self.release.clone(), version: version.to_string(), abilities })
    }

    /// An event channel to a daemon in dom0.
    fn channel(&self, domid: DomId) -> Result<Channel, xen_sys::Error> {
        Ok(Channel { port: self.ctrl.alloc_unbound(domid, DomId::DOM0)?, remote: DomId::DOM0 })
    }

    fn hvm(&self, domid: DomId, spec: &HvmSpec) -> Result<Built, xen_sys::Error> {
        let ctrl = &self.ctrl;
        ctrl.set_max_vcpus(domid, spec.vcpus)?;
        // Not max_memory: until a balloon driver runs, Xen must not give the guest more than it has.
        ctrl.set_max_memory(domid, spec.memory.saturating_add(MEMORY_SLACK))?;
        let (store, console) = (self.channel(domid)?, self.channel(domid)?);
        for param in [HvmParam::HPET_ENABLED, HvmParam::VPT_ALIGN, HvmParam::TIMER_MODE] {
            ctrl.set_hvm_param(domid, param, 1)?;
        }
        ctrl.set_tsc_default(domid)?;
        ctrl.set_paging_pool(domid, paging_pool(spec.max_memory, spec.vcpus))?;
        ctrl.apply_cpuid_policy(domid, CpuidPolicy { pae: true, itsc: false, nested: false })?;
        let firmware = fs::read(SEABIOS).map_err(|source| xen_sys::Error::Call {
            call: "read",
            source,
            detail: Some(SEABIOS.to_owned()),
        })?;
        let hvmloader = hvmloader(&self.release);
        let build = HvmBuild {
            hvmloader: Path::new(&hvmloader),
            firmware: &firmware,
            memory: spec.memory,
            max_memory: spec.max_memory,
            vcpus: spec.vcpus,
            console,
            store,
        };
        Ok(built(xen_sys::build_hvm(ctrl, domid, &build)?, store.port, console.port))
    }

    fn pv(&self, domid: DomId, spec: &PvSpec) -> Result<Built, xen_sys::Error> {
        let ctrl = &self.ctrl;
        ctrl.set_max_vcpus(domid, 1)?;
        ctrl.set_max_memory(domid, spec.memory.saturating_add(MEMORY_SLACK))?;
        let (store, console) = (self.channel(domid)?, self.channel(domid)?);
        ctrl.set_memmap_limit(domid, spec.memory)?;
        ctrl.set_tsc_default(domid)?;
        ctrl.apply_cpuid_policy(domid, CpuidPolicy { pae: true, itsc: false, nested: false })?;
        let build = PvBuild {
            kernel: &spec.kernel,
            ramdisk: spec.ramdisk.as_deref(),
            cmdline: &spec.cmdline,
            memory: spec.memory,
            console,
            store,
        };
        Ok(built(xen_sys::build_pv(ctrl, domid, &build)?, store.port, console.port))
    }
}

/// Where Xen's utilities of a release have hvmloader.
pub(crate) fn hvmloader(release: &str) -> String {
    format!("/usr/lib/xen-{release}/boot/hvmloader")
}

fn built(pages: BuiltPages, store: EvtchnPort, console: EvtchnPort) -> Built {
    Built {
        store: Ring { gfn: pages.store, port: store },
        console: Ring { gfn: pages.console, port: console },
    }
}

fn tell(call: &str, on: impl std::fmt::Display) {
    tracing::debug!(target: "libstub::call", call, on = %on);
}

/// A hypervisor that nothing can be asked of.
fn unusable(call: &str, error: xen_sys::Error) -> HostError {
    let kind = match error {
        xen_sys::Error::Version { .. } => FailureKind::Version,
        _ => FailureKind::NotXen,
    };
    HostError { kind, ..fail(call, error) }
}

pub(super) fn fail(call: impl Into<String>, error: xen_sys::Error) -> HostError {
    HostError { call: call.into(), kind: FailureKind::Other, source: error.into() }
}

pub(super) fn fail_io(call: impl Into<String>, error: std::io::Error) -> HostError {
    HostError { call: call.into(), kind: FailureKind::Other, source: error.into() }
}

impl Hypervisor for XenHost {
    fn create_domain(&self, new: &NewDomain) -> Result<DomId, HostError> {
        tell("create", new.uuid);
        let create = CreateDomain {
            uuid: new.uuid,
            kind: new.kind,
            max_vcpus: new.vcpus,
            max_evtchn_port: MAX_EVENT_CHANNEL,
            max_grant_frames: None,
            max_maptrack_frames: None,
            grant_version: 1,
            ssidref: 0,
        };
        let kind = if new.kind == DomainKind::Hvm { "HVM" } else { "PV" };
        self.ctrl.create_domain(&create).map_err(|error| fail(format!("create of a {kind} domain"), error))
    }

    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>, HostError> {
        self.ctrl.domain_info(domid).map_err(|error| fail(format!("look at domain {domid}"), error))
    }

    fn domains(&self) -> Result<Vec<DomainInfo>, HostError> {
        self.ctrl.domains().map_err(|error| fail("list of all domains", error))
    }

    fn free_memory(&self) -> Result<Kib, HostError> {
        let info = self.ctrl.phys_info().map_err(|error| fail("ask Xen for its memory", error))?;
        // Pages to be scrubbed are free for who waits; claimed ones are not free at all.
        let pages = (info.free_pages + info.scrub_pages).saturating_sub(info.outstanding_pages);
        Ok(Kib::new(pages * 4))
    }

    fn build_hvm(&self, domid: DomId, spec: &HvmSpec) -> Result<Built, HostError> {
        tell("build_hvm", domid);
        self.hvm(domid, spec).map_err(|error| fail(format!("build of guest {domid}"), error))
    }

    fn build_pv(&self, domid: DomId, spec: &PvSpec) -> Result<Built, HostError> {
        tell("build_pv", domid);
        self.pv(domid, spec)
            .map_err(|error| fail(format!("build of stubdom {domid} from {}", spec.kernel.display()), error))
    }

    fn set_target(&self, stubdom: DomId, guest: DomId) -> Result<(), HostError> {
        tell("set_target", stubdom);
        self.ctrl
            .set_target(stubdom, guest)
            .map_err(|error| fail(format!("set_target of stubdom {stubdom} to guest {guest}"), error))
    }

    fn unpause(&self, domid: DomId) -> Result<(), HostError> {
        tell("unpause", domid);
        self.ctrl.unpause(domid).map_err(|error| fail(format!("unpause of domain {domid}"), error))
    }

    fn pause(&self, domid: DomId) -> Result<(), HostError> {
        tell("pause", domid);
        self.ctrl.pause(domid).map_err(|error| fail(format!("pause of domain {domid}"), error))
    }

    fn destroy(&self, domid: DomId) -> Result<(), HostError> {
        tell("destroy", domid);
        match self.ctrl.destroy(domid) {
            Err(error) if error.errno() == Some(3) => Ok(()),
            result => result.map_err(|error| fail(format!("destroy of domain {domid}"), error)),
        }
    }

    fn copy_page(&self, domid: DomId, gfn: Gfn) -> Result<Vec<u8>, HostError> {
        let copy = || Ok(ForeignMemory::open()?.copy_page(domid, gfn)?.to_vec());
        copy().map_err(|error| fail(format!("copy of page {gfn} of domain {domid}"), error))
    }
}

impl Xenstore for XenHost {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        tell("read", path);
        let node = path.to_owned();
        self.store.request(|| format!("read of {path}"), move |store| store.read(&node))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        tell("list", path);
        let node = path.to_owned();
        let list = move |store: &Store| Ok(store.list(&node)?.unwrap_or_default());
        self.store.request(|| format!("list of {path}"), list)
    }

    fn apply(&self, batch: &Batch) -> Result<(), HostError> {
        for op in batch.ops() {
            tell(op.verb(), op.path());
        }
        let first = batch.ops().first().map(|op| op.path().to_owned());
        let call = || format!("transaction from {} on", first.clone().unwrap_or_default());
        let ops = batch.clone();
        // Not on the store's thread: who waits for others does not wait for xenstored.
        let _turn = super::turns::wait();
        self.store.request(call, move |store| transact(store, &ops))
    }

    fn introduce(&self, domid: DomId, ring: Ring) -> Result<(), HostError> {
        tell("introduce", domid);
        let call = || format!("introduction of domain {domid}");
        self.store.request(call, move |store| store.introduce(domid, ring.gfn, ring.port))
    }

    fn set_store_target(&self, stubdom: DomId, guest: DomId) -> Result<(), HostError> {
        tell("set_store_target", stubdom);
        let call = || format!("SET_TARGET of stubdom {stubdom} to guest {guest}");
        self.store.request(call, move |store| store.set_target(stubdom, guest))
    }

    fn watch(&self, path: &str, token: &str) -> Result<(), HostError> {
        tell("watch", path);
        let (node, token) = (path.to_owned(), token.to_owned());
        self.store.request(|| format!("watch of {path}"), move |store| store.watch(&node, &token))
    }

    fn unwatch(&self, path: &str, token: &str) -> Result<(), HostError> {
        let (node, token) = (path.to_owned(), token.to_owned());
        self.store.request(|| format!("unwatch of {path}"), move |store| store.unwatch(&node, &token))
    }

    fn drain_watches(&self) -> Result<(), HostError> {
        self.store.request(
            || "take watch events".to_owned(),
            |store| {
                while store.check_watch()?.is_some() {}
                Ok(())
            },
        )
    }

    fn watch_fd(&self) -> Option<RawFd> {
        self.store.watch_fd()
    }
}

fn transact(store: &Store, batch: &Batch) -> xen_sys::Result<()> {
    for _ in 0..COMMIT_ATTEMPTS {
        let transaction = store.transaction()?;
        for op in batch.ops() {
            match op {
                Op::Write { path, value, permissions } => {
                    transaction.write(path, value)?;
                    if let Some(permissions) = permissions {
                        transaction.set_permissions(path, permissions)?;
                    }
                }
                Op::Remove { path } => transaction.rm(path)?,
                Op::RemoveEmpty { path } => {
                    if transaction.list(path)?.is_some_and(|names| names.is_empty()) {
                        transaction.rm(path)?;
                    }
                }
            }
        }
        if transaction.commit()? == Commit::Done {
            return Ok(());
        }
    }
    let source = std::io::Error::from_raw_os_error(11);
    let detail = Some(format!("in conflict {COMMIT_ATTEMPTS} times in a row"));
    Err(xen_sys::Error::Call { call: "xs_transaction_end", source, detail })
}

impl Machine for XenHost {
    fn unfit(&self) -> Result<Vec<Unfit>, HostError> {
        Ok(crate::check::unfit(Path::new("/"), &self.facts()?))
    }

    fn xen_release(&self) -> String {
        self.release.clone()
    }

    fn boot_id(&self) -> Result<String, HostError> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        let id = fs::read_to_string(BOOT_ID).map_err(|error| fail_io(format!("read of {BOOT_ID}"), error))?;
        Ok(id.trim_end().to_owned())
    }

    fn attach(&self, path: &Path, mode: DiskMode) -> Result<BlockDevice, HostError> {
        tell("attach", path.display());
        disks::attach(path, mode)
    }

    fn serves(&self, file: &LoopFile) -> Result<bool, HostError> {
        disks::serves(file)
    }

    fn probe(&self, path: &Path, mode: DiskMode) -> Result<DiskKind, HostError> {
        tell("probe", path.display());
        disks::probe(path, mode)
    }

    fn backend(&self, domid: DomId, devid: u32) -> Result<BackendState, HostError> {
        // Gone from here only when the driver has let go; the link on the bus goes before.
        let device = format!("/sys/devices/vbd-{domid}-{devid}");
        if !Path::new(&device).exists() {
            return Ok(BackendState::Absent);
        }
        // blkback shows the attribute when it has opened the device.
        let open = fs::read_to_string(format!("{device}/physical_device")).is_ok();
        Ok(if open { BackendState::Open } else { BackendState::Probed })
    }
}

impl Monitor for XenHost {
    fn ask_qemu(
        &self,
        guest: DomId,
        stubdom: DomId,
        limit: Duration,
        cancel: &AtomicBool,
    ) -> Result<Answer, HostError> {
        tell("ask_qemu", stubdom);
        qmp::ask(self, guest, stubdom, limit, cancel)
    }
}
