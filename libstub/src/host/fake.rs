// SPDX-License-Identifier: GPL-3.0-only
//! A host in memory that counts calls and can fail at any of them, for fault sweeps.
//!
//! It keeps what matters for leaks and order: domains with their pause counts, the store with its owners, block
//! devices held open, blkback's devices. It proves nothing about Xen.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use proto::{Stage, keys};
use xen_sys::{DomId, DomainInfo, DomainKind, EvtchnPort, Gfn, Kib, Permission, ShutdownReason};

use super::{
    BackendState, BlockDevice, Built, FailureKind, Hold, HostError, HvmSpec, Hypervisor, Machine, NewDomain, PvSpec,
    Ring, Unfit, Xenstore,
};
use crate::config::DiskMode;
use crate::xenbus::{Batch, Op};

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

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None.
    None,
    /// The n-th, from 1.
    Once(usize),
    /// The n-th and all after it.
    From(usize),
}

#[derive(Debug)]
struct World {
    behaviour: Behaviour,
    fault: Fault,
    calls: Vec<String>,
    domains: BTreeMap<u16, DomainInfo>,
    store: BTreeMap<String, (Vec<u8>, DomId)>,
    held: Vec<Weak<Held>>,
    watch: (UnixStream, UnixStream),
    free: Kib,
}

/// A block device of the fake that somebody holds.
#[derive(Debug)]
struct Held {
    path: PathBuf,
}

impl Hold for Held {}

/// A handle on a host in memory; clones share it.
#[derive(Debug, Clone)]
pub struct FakeHost {
    world: Arc<Mutex<World>>,
    watch: RawFd,
}

impl FakeHost {
    /// An empty host.
    ///
    /// # Errors
    /// When the pipe for watch events cannot be made.
    pub fn new(behaviour: Behaviour) -> std::io::Result<Self> {
        let watch = UnixStream::pair()?;
        watch.0.set_nonblocking(true)?;
        watch.1.set_nonblocking(true)?;
        let fd = watch.0.as_raw_fd();
        let world = World {
            behaviour,
            fault: Fault::None,
            calls: Vec::new(),
            domains: BTreeMap::new(),
            store: BTreeMap::new(),
            held: Vec::new(),
            watch,
            free: Kib::from_mib(4096),
        };
        Ok(Self { world: Arc::new(Mutex::new(world)), watch: fd })
    }

    /// Chooses which of the coming calls fail; counting begins anew.
    pub fn fail(&self, fault: Fault) {
        let mut world = self.lock();
        world.calls.clear();
        world.fault = fault;
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

    /// Whether a guest was ever let run: only a finished create does that.
    pub fn guest_runs(&self) -> bool {
        self.lock().domains.values().any(|info| info.kind == DomainKind::Hvm && !info.paused)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn call(&self, call: String) -> Result<MutexGuard<'_, World>, HostError> {
        let mut world = self.lock();
        world.calls.push(call.clone());
        let number = world.calls.len();
        let fails = match world.fault {
            Fault::None => false,
            Fault::Once(at) => number == at,
            Fault::From(at) => number >= at,
        };
        if fails {
            let source = std::io::Error::from_raw_os_error(22).into();
            return Err(HostError { call, kind: FailureKind::Other, source });
        }
        Ok(world)
    }

    fn new_ring(&self) -> Ring {
        Ring { gfn: Gfn::new(1), port: EvtchnPort::new(1) }
    }
}

fn missing(call: &str) -> HostError {
    let source = std::io::Error::from_raw_os_error(3).into();
    HostError { call: call.to_owned(), kind: FailureKind::Other, source }
}

impl World {
    fn domain(&mut self, domid: DomId, call: &str) -> Result<&mut DomainInfo, HostError> {
        self.domains.get_mut(&domid.get()).ok_or_else(|| missing(call))
    }

    fn put(&mut self, path: &str, value: &[u8], owner: Option<DomId>) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let inherited = self.store.get(parent).map_or(DomId::DOM0, |(_, owner)| *owner);
        self.store.insert(path.to_owned(), (value.to_vec(), owner.unwrap_or(inherited)));
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.store.retain(|node, _| node != path && !node.starts_with(&below));
    }

    /// Lets the stubdomain do what it does, if it can by now.
    fn play(&mut self) {
        let Some((stubdom, _)) = self.domains.iter().find(|(_, info)| info.kind == DomainKind::Pv && !info.paused)
        else {
            return;
        };
        let stubdom = DomId::new(*stubdom);
        let target = format!("{}/{}", keys::home(stubdom.get()), keys::TARGET);
        let target = self.store.get(&target).and_then(|(value, _)| String::from_utf8_lossy(value).parse().ok());
        let Some(guest) = target else { return };
        let report = keys::device_model(stubdom.get(), guest);
        let stage = |world: &mut Self, stage: Stage| {
            world.put(&format!("{report}/{}", keys::name::STAGE), stage.as_str().as_bytes(), None);
        };
        let end = |world: &mut Self, reason| {
            if let Some(info) = world.domains.get_mut(&stubdom.get()) {
                info.shutdown = Some(reason);
            }
        };
        match self.behaviour {
            Behaviour::Silence => {}
            Behaviour::Panic => end(self, ShutdownReason::Crash),
            Behaviour::Report => {
                stage(self, Stage::Waiting);
                self.put(&format!("{report}/{}", keys::name::FAILED), b"waiting: no target", None);
                end(self, ShutdownReason::Poweroff);
            }
            Behaviour::Ready if self.store.contains_key(&format!("{report}/{}", keys::name::GO)) => {
                stage(self, Stage::Ready);
                self.put(&format!("{report}/{}", keys::name::STATE), keys::READY, None);
            }
            Behaviour::Ready => stage(self, Stage::Waiting),
        }
        let _ = self.watch.1.write(b"!");
    }
}

impl Hypervisor for FakeHost {
    fn create_domain(&self, new: &NewDomain) -> Result<DomId, HostError> {
        let mut world = self.call("create".to_owned())?;
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
    }

    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>, HostError> {
        Ok(self.call(format!("look {domid}"))?.domains.get(&domid.get()).cloned())
    }

    fn domains(&self) -> Result<Vec<DomainInfo>, HostError> {
        Ok(self.call("list domains".to_owned())?.domains.values().cloned().collect())
    }

    fn free_memory(&self) -> Result<Kib, HostError> {
        Ok(self.call("free memory".to_owned())?.free)
    }

    fn build_hvm(&self, domid: DomId, _: &HvmSpec) -> Result<Built, HostError> {
        self.call(format!("build_hvm {domid}"))?.domain(domid, "build_hvm")?.pages = 1;
        Ok(Built { store: self.new_ring(), console: self.new_ring() })
    }

    fn build_pv(&self, domid: DomId, _: &PvSpec) -> Result<Built, HostError> {
        self.call(format!("build_pv {domid}"))?.domain(domid, "build_pv")?.pages = 1;
        Ok(Built { store: self.new_ring(), console: self.new_ring() })
    }

    fn set_target(&self, stubdom: DomId, _: DomId) -> Result<(), HostError> {
        self.call(format!("set_target {stubdom}"))?.domain(stubdom, "set_target").map(drop)
    }

    fn unpause(&self, domid: DomId) -> Result<(), HostError> {
        let mut world = self.call(format!("unpause {domid}"))?;
        world.domain(domid, "unpause")?.paused = false;
        world.play();
        Ok(())
    }

    fn pause(&self, domid: DomId) -> Result<(), HostError> {
        self.call(format!("pause {domid}"))?.domain(domid, "pause")?.paused = true;
        Ok(())
    }

    fn destroy(&self, domid: DomId) -> Result<(), HostError> {
        let mut world = self.call(format!("destroy {domid}"))?;
        world.domains.remove(&domid.get());
        // xenstored drops what a dead domain owned.
        let own: Vec<String> =
            world.store.iter().filter(|(_, (_, owner))| *owner == domid).map(|(path, _)| path.clone()).collect();
        own.iter().for_each(|path| world.remove(path));
        Ok(())
    }

    fn copy_page(&self, domid: DomId, _: Gfn) -> Result<Vec<u8>, HostError> {
        self.call(format!("copy_page {domid}"))?.domain(domid, "copy_page")?;
        Ok(vec![0; 4096])
    }
}

impl Xenstore for FakeHost {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.call(format!("read {path}"))?.store.get(path).map(|(value, _)| value.clone()))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        let world = self.call(format!("list {path}"))?;
        let below = format!("{path}/");
        let names = world.store.keys().filter_map(|node| node.strip_prefix(&below));
        let mut names: Vec<String> = names.filter_map(|rest| Some(rest.split('/').next()?.to_owned())).collect();
        names.dedup();
        Ok(names)
    }

    fn apply(&self, batch: &Batch) -> Result<(), HostError> {
        let paths = batch.ops().iter().map(|op| match op {
            Op::Write { path, .. } => format!("write {path}"),
            Op::Remove { path } => format!("remove {path}"),
        });
        let mut world = self.call(paths.collect::<Vec<_>>().join("; "))?;
        for op in batch.ops() {
            match op {
                Op::Write { path, value, permissions } => {
                    let owner = permissions.as_ref().and_then(|p: &Vec<Permission>| p.first()).map(|p| p.domid);
                    world.put(path, value, owner);
                }
                Op::Remove { path } => world.remove(path),
            }
        }
        world.play();
        Ok(())
    }

    fn introduce(&self, domid: DomId, _: Ring) -> Result<(), HostError> {
        self.call(format!("introduce {domid}"))?.domain(domid, "introduce").map(drop)
    }

    fn set_store_target(&self, stubdom: DomId, _: DomId) -> Result<(), HostError> {
        self.call(format!("set_store_target {stubdom}"))?.domain(stubdom, "set_store_target").map(drop)
    }

    fn watch(&self, path: &str, _: &str) -> Result<(), HostError> {
        self.call(format!("watch {path}")).map(drop)
    }

    fn drain_watches(&self) -> Result<(), HostError> {
        let world = self.call("drain watches".to_owned())?;
        while let Ok(1..) = std::io::Read::read(&mut &world.watch.0, &mut [0; 64]) {}
        Ok(())
    }

    fn watch_fd(&self) -> RawFd {
        self.watch
    }
}

impl Machine for FakeHost {
    fn unfit(&self) -> Result<Vec<Unfit>, HostError> {
        self.call("unfit".to_owned()).map(|_| Vec::new())
    }

    fn xen_release(&self) -> String {
        "4.17".to_owned()
    }

    fn boot_id(&self) -> Result<String, HostError> {
        self.call("boot id".to_owned()).map(|_| "this boot".to_owned())
    }

    fn attach(&self, file: &Path, _: DiskMode) -> Result<BlockDevice, HostError> {
        let mut world = self.call(format!("attach {}", file.display()))?;
        let hold = Arc::new(Held { path: file.to_owned() });
        world.held.push(Arc::downgrade(&hold));
        Ok(BlockDevice { major: 7, minor: 0, hold })
    }

    fn backend(&self, domid: DomId, devid: u32) -> Result<BackendState, HostError> {
        let world = self.call(format!("backend {domid} {devid}"))?;
        let state = world.store.get(&format!("/local/domain/0/backend/vbd/{domid}/{devid}/state"));
        let open = state.is_some_and(|(value, _)| value != b"5");
        Ok(if open { BackendState::Open } else { BackendState::Absent })
    }
}
