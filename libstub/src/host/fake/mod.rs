// SPDX-License-Identifier: GPL-3.0-only
//! A host in memory that counts calls and can fail at any of them, for fault sweeps.
//!
//! It keeps what matters for leaks and order: domains with their pause counts, the store with its owners, block
//! devices held open, blkback's devices. It proves nothing about Xen.

mod fault;
mod stubdom;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use xen_sys::{DomId, DomainInfo, EvtchnPort, Gfn, Kib, Permission};

pub use fault::{Failure, Fault};
use world::{Held, World};

use super::{
    BackendState, BlockDevice, Built, DiskKind, HostError, HvmSpec, Hypervisor, LoopFile, Machine, NewDomain,
    PvSpec, Ring, Unfit, Xenstore,
};
use crate::config::DiskMode;
use crate::xenbus::{Batch, Op, VbdMark};

/// What the stubdomain does once it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Its QEMU becomes ready.
    Ready,
    /// Its kernel panics.
    Panic,
    /// Its PID 1 reports a failure and powers off.
    Report,
    /// Nothing, for ever.
    Silence,
}

/// A handle on a host in memory; clones share it, and its watches.
#[derive(Debug, Clone)]
pub struct FakeHost {
    world: Arc<Mutex<World>>,
    watch: Arc<UnixStream>,
    /// Whether the process that has this handle died; none if it lives on, as the tests' own.
    dead: Option<Arc<AtomicBool>>,
}

impl FakeHost {
    /// An empty host.
    ///
    /// # Errors
    /// When the pipe for watch events cannot be made.
    pub fn new(behaviour: Behaviour) -> std::io::Result<Self> {
        let world = World {
            behaviour,
            fault: Fault::None,
            failure: Failure::Errno(22),
            store_lost: false,
            events_lost: false,
            stuck: None,
            console: vec![0; 4096],
            calls: Vec::new(),
            boot: 1,
            domains: BTreeMap::new(),
            targets: BTreeMap::new(),
            store: BTreeMap::new(),
            held: Vec::new(),
            kept: Vec::new(),
            watches: Vec::new(),
            silent: BTreeSet::new(),
            free: Kib::from_mib(4096),
            unfit: Vec::new(),
        };
        Self::handle(Arc::new(Mutex::new(world)), None)
    }

    /// Another handle on the same host, with watches of its own.
    ///
    /// # Errors
    /// When the pipe for watch events cannot be made.
    pub fn open(&self) -> std::io::Result<Self> {
        Self::handle(Arc::clone(&self.world), self.dead.clone())
    }

    /// The same for another process: it dies alone, and makes no call from then on, whatever fault is chosen later.
    ///
    /// # Errors
    /// When the pipe for watch events cannot be made.
    pub fn another_process(&self) -> std::io::Result<Self> {
        Self::handle(Arc::clone(&self.world), Some(Arc::default()))
    }

    /// The process that has this handle dies, unless it is the first.
    pub fn kill(&self) {
        self.dead.iter().for_each(|dead| dead.store(true, Ordering::Relaxed));
    }

    fn handle(world: Arc<Mutex<World>>, dead: Option<Arc<AtomicBool>>) -> std::io::Result<Self> {
        let (watch, tell) = UnixStream::pair()?;
        watch.set_nonblocking(true)?;
        tell.set_nonblocking(true)?;
        let host = Self { world, watch: Arc::new(watch), dead };
        host.lock().watches.push(tell);
        Ok(host)
    }

    /// Chooses which of the coming calls fail; counting begins anew, with a connection to xenstored of its own.
    pub fn fail(&self, fault: Fault) {
        self.fail_with(fault, Failure::Errno(22));
    }

    /// The same, and how they fail.
    pub fn fail_with(&self, fault: Fault, failure: Failure) {
        let mut world = self.lock();
        world.calls.clear();
        (world.fault, world.failure, world.store_lost) = (fault, failure, false);
    }

    /// All calls since the last [`fail`](Self::fail), in order.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Everything on this host that a pair would leave behind.
    pub fn remains(&self) -> Vec<String> {
        let world = self.lock();
        let domains = world.domains.keys().map(|domid| format!("domain {domid}"));
        let nodes = world.store.keys().cloned();
        let held = world.held.iter().filter_map(Weak::upgrade).map(|held| held.path.display().to_string());
        domains.chain(nodes).chain(held).collect()
    }

    /// Lacks something from now on.
    pub fn lack(&self, what: &str) {
        self.lock().unfit.push(Unfit { what: what.to_owned(), remedy: "get it".to_owned() });
    }

    /// Loses everything that does not live on disk.
    pub fn reboot(&self) {
        let mut world = self.lock();
        world.domains.clear();
        world.targets.clear();
        world.store.clear();
        world.boot += 1;
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn call<T>(
        &self,
        call: String,
        effect: impl FnOnce(&mut World) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.alive().call(&call, effect)
    }

    /// An access to a file, which counts as a call and fails like one.
    pub(crate) fn disk<T>(
        &self,
        call: &str,
        access: impl FnOnce() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        self.alive().call(call, |_| access())
    }

    fn store<T>(
        &self,
        call: String,
        effect: impl FnOnce(&mut World) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.alive().store_call(&call, effect)
    }

    /// The world, for a process that lives.
    fn alive(&self) -> MutexGuard<'_, World> {
        let world = self.lock();
        if let Some(dead) = &self.dead {
            if world.is_fatal() {
                self.kill();
            }
            if dead.load(Ordering::Relaxed) {
                drop(world);
                std::panic::panic_any("died at this call or an earlier one".to_owned());
            }
        }
        world
    }

    fn on_domain(
        &self,
        call: &str,
        domid: DomId,
        effect: impl FnOnce(&mut DomainInfo),
    ) -> Result<(), HostError> {
        self.call(format!("{call} {domid}"), |world| world.domain(domid, call).map(effect))
    }

    fn new_ring(&self) -> Ring {
        Ring { gfn: Gfn::new(1), port: EvtchnPort::new(1) }
    }
}

impl Hypervisor for FakeHost {
    fn create_domain(&self, new: &NewDomain) -> Result<DomId, HostError> {
        self.call("create".to_owned(), |world| {
            let domid = (1..).find(|domid| !world.domains.contains_key(domid)).unwrap_or(u16::MAX);
            let info = DomainInfo {
                domid: DomId::new(domid),
                uuid: new.uuid,
                kind: new.kind,
                dying: false,
                paused: true,
                blocked: false,
                running: false,
                shutdown: None,
                pages: 0,
                max_pages: 0,
                cpu_time: std::time::Duration::ZERO,
                vcpus: new.vcpus,
            };
            world.domains.insert(domid, info);
            Ok(DomId::new(domid))
        })
    }

    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>, HostError> {
        self.call(format!("look {domid}"), |world| Ok(world.domains.get(&domid.get()).cloned()))
    }

    fn domains(&self) -> Result<Vec<DomainInfo>, HostError> {
        self.call("list domains".to_owned(), |world| Ok(world.domains.values().cloned().collect()))
    }

    fn free_memory(&self) -> Result<Kib, HostError> {
        self.call("free memory".to_owned(), |world| Ok(world.free))
    }

    fn build_hvm(&self, domid: DomId, _: &HvmSpec) -> Result<Built, HostError> {
        self.on_domain("build_hvm", domid, |info| info.pages = 1)?;
        Ok(Built { store: self.new_ring(), console: self.new_ring() })
    }

    fn build_pv(&self, domid: DomId, _: &PvSpec) -> Result<Built, HostError> {
        self.on_domain("build_pv", domid, |info| info.pages = 1)?;
        Ok(Built { store: self.new_ring(), console: self.new_ring() })
    }

    fn set_target(&self, stubdom: DomId, guest: DomId) -> Result<(), HostError> {
        self.call(format!("set_target {stubdom}"), |world| {
            world.domain(stubdom, "set_target")?;
            world.targets.insert(stubdom.get(), guest.get());
            Ok(())
        })
    }

    fn unpause(&self, domid: DomId) -> Result<(), HostError> {
        self.call(format!("unpause {domid}"), |world| {
            let info = world.domain(domid, "unpause")?;
            (info.paused, info.cpu_time) = (false, std::time::Duration::from_millis(1));
            world.play();
            Ok(())
        })
    }

    fn pause(&self, domid: DomId) -> Result<(), HostError> {
        self.on_domain("pause", domid, |info| info.paused = true)
    }

    fn destroy(&self, domid: DomId) -> Result<(), HostError> {
        self.call(format!("destroy {domid}"), |world| {
            world.destroy(domid);
            Ok(())
        })
    }

    fn copy_page(&self, domid: DomId, _: Gfn) -> Result<Vec<u8>, HostError> {
        self.call(format!("copy_page {domid}"), |world| {
            world.domain(domid, "copy_page")?;
            Ok(world.console.clone())
        })
    }
}

impl Xenstore for FakeHost {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.store(format!("read {path}"), |world| Ok(world.store.get(path).map(|(value, _)| value.clone())))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        let below = format!("{path}/");
        self.store(format!("list {path}"), |world| {
            let names = world.store.keys().filter_map(|node| node.strip_prefix(&below)?.split('/').next());
            let names: std::collections::BTreeSet<String> = names.map(str::to_owned).collect();
            Ok(names.into_iter().collect())
        })
    }

    fn apply(&self, batch: &Batch) -> Result<(), HostError> {
        let paths = batch.ops().iter().map(|op| format!("{} {}", op.verb(), op.path()));
        self.store(paths.collect::<Vec<_>>().join("; "), |world| {
            for op in batch.ops() {
                match op {
                    Op::Write { path, value, permissions } => {
                        let owner =
                            permissions.as_ref().and_then(|p: &Vec<Permission>| p.first()).map(|p| p.domid);
                        world.put(path, value, owner);
                        world.complain(path, value);
                    }
                    Op::Remove { path } => world.remove(path),
                    Op::RemoveEmpty { path } if world.has_below(path) => (),
                    Op::RemoveEmpty { path } => world.remove(path),
                }
            }
            world.release();
            world.play();
            Ok(())
        })
    }

    fn introduce(&self, domid: DomId, _: Ring) -> Result<(), HostError> {
        self.store(format!("introduce {domid}"), |world| world.domain(domid, "introduce").map(drop))
    }

    fn set_store_target(&self, stubdom: DomId, _: DomId) -> Result<(), HostError> {
        self.store(format!("set_store_target {stubdom}"), |world| {
            world.domain(stubdom, "set_store_target").map(drop)
        })
    }

    fn watch(&self, path: &str, _: &str) -> Result<(), HostError> {
        self.store(format!("watch {path}"), |_| Ok(()))
    }

    fn unwatch(&self, path: &str, _: &str) -> Result<(), HostError> {
        self.store(format!("unwatch {path}"), |_| Ok(()))
    }

    fn drain_watches(&self) -> Result<(), HostError> {
        self.store("drain watches".to_owned(), |_| {
            while let Ok(1..) = std::io::Read::read(&mut &*self.watch, &mut [0; 64]) {}
            Ok(())
        })
    }

    fn watch_fd(&self) -> Option<RawFd> {
        Some(self.watch.as_raw_fd())
    }
}

impl Machine for FakeHost {
    fn unfit(&self) -> Result<Vec<Unfit>, HostError> {
        self.call("unfit".to_owned(), |world| Ok(world.unfit.clone()))
    }

    fn xen_release(&self) -> String {
        "4.17".to_owned()
    }

    fn boot_id(&self) -> Result<String, HostError> {
        self.call("boot id".to_owned(), |world| Ok(format!("boot {}", world.boot)))
    }

    fn attach(&self, file: &Path, mode: DiskMode) -> Result<BlockDevice, HostError> {
        self.call(format!("attach {}", file.display()), |world| {
            let hold = Arc::new(Held { path: file.to_owned() });
            world.held.push(Arc::downgrade(&hold));
            let number = u32::try_from(world.held.len()).unwrap_or(u32::MAX);
            let file = LoopFile { number, sequence: None, device: 1, inode: u64::from(number) };
            let file = Some(file).filter(|_| mode == DiskMode::ReadWrite);
            Ok(BlockDevice { major: 7, minor: number, file, hold })
        })
    }

    fn serves(&self, file: &LoopFile) -> Result<bool, HostError> {
        self.call(format!("serves {}", file.number), |world| {
            let held = world.held.get(file.number as usize - 1);
            Ok(held.is_some_and(|held| held.strong_count() > 0))
        })
    }

    fn probe(&self, file: &Path, _: DiskMode) -> Result<DiskKind, HostError> {
        self.call(format!("probe {}", file.display()), |_| Ok(DiskKind::File))
    }

    fn backend(&self, domid: DomId, devid: u32) -> Result<BackendState, HostError> {
        self.call(format!("backend {domid} {devid}"), |world| {
            let state = world.store.get(&format!("{}/state", VbdMark { domid, devid }.backend()));
            let open = state.is_some_and(|(value, _)| value != b"5");
            Ok(world.stuck.unwrap_or(if open { BackendState::Open } else { BackendState::Absent }))
        })
    }
}
