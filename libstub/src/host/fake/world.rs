// SPDX-License-Identifier: GPL-3.0-only
//! What the host in memory holds, and what its stubdomain does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use proto::{Stage, keys};
use xen_sys::{DomId, DomainInfo, DomainKind, Kib, ShutdownReason};

use super::fault::Failed as _;
use super::{Behaviour, Failure, Fault};
use crate::console;
use crate::host::{BackendState, Hold, HostError, Unfit};
use crate::xenbus::VbdMark;

#[derive(Debug)]
pub(super) struct World {
    pub(super) behaviour: Behaviour,
    pub(super) fault: Fault,
    pub(super) failure: Failure,
    /// No call to xenstored succeeds any more.
    pub(super) store_lost: bool,
    /// Nobody hears of what changes in xenstore.
    pub(super) events_lost: bool,
    /// How far blkback is with every disk, whatever it is told.
    pub(super) stuck: Option<BackendState>,
    /// The page of the stubdomain's console.
    pub(super) console: Vec<u8>,
    pub(super) calls: Vec<String>,
    pub(super) boot: u32,
    pub(super) domains: BTreeMap<u16, DomainInfo>,
    /// Which guest a stubdomain holds a reference on.
    pub(super) targets: BTreeMap<u16, u16>,
    pub(super) store: BTreeMap<String, (Vec<u8>, DomId)>,
    pub(super) held: Vec<Weak<Held>>,
    /// What somebody else of the host has open.
    pub(super) kept: Vec<Arc<Held>>,
    /// One for each handle that was opened.
    pub(super) watches: Vec<UnixStream>,
    /// Stubdomains whose QEMU does not answer.
    pub(super) silent: BTreeSet<u16>,
    pub(super) free: Kib,
    pub(super) unfit: Vec<Unfit>,
}

/// A block device of the fake that somebody holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) path: PathBuf,
}

impl Hold for Held {}

/// ESRCH: there is no such domain.
const MISSING: i32 = 3;

impl World {
    pub(super) fn domain(&mut self, domid: DomId, call: &str) -> Result<&mut DomainInfo, HostError> {
        self.domains.get_mut(&domid.get()).ok_or_else(|| HostError::new(call, MISSING))
    }

    pub(super) fn put(&mut self, path: &str, value: &[u8], owner: Option<DomId>) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let inherited = self.store.get(parent).map_or(DomId::DOM0, |(_, owner)| *owner);
        self.store.insert(path.to_owned(), (value.to_vec(), owner.unwrap_or(inherited)));
    }

    pub(super) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.store.retain(|node, _| node != path && !node.starts_with(&below));
    }

    /// dom0's kernel has something to say about every backend that closes.
    pub(super) fn complain(&mut self, path: &str, value: &[u8]) {
        if value == b"5"
            && let Some(vbd) = VbdMark::of_backend_state(path)
        {
            self.put(&format!("{}/error", vbd.error()), b"22 mapping ring-ref", None);
        }
    }

    pub(super) fn has_below(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.store.keys().any(|node| node.starts_with(&below))
    }

    /// Ends a domain; what holds a part of it keeps it a zombie.
    pub(super) fn destroy(&mut self, domid: DomId) {
        if let Some(info) = self.domains.get_mut(&domid.get()) {
            info.dying = true;
        }
        self.release();
    }

    /// Frees the dead that nothing holds any more: no backend their pages, no stubdomain its guest.
    pub(super) fn release(&mut self) {
        let free = |world: &Self, info: &DomainInfo| {
            info.dying
                && !world.targets.values().any(|guest| *guest == info.domid.get())
                && !world.holds_pages(info)
        };
        while let Some(domid) = self.domains.values().find(|info| free(self, info)).map(|info| info.domid) {
            self.domains.remove(&domid.get());
            self.targets.remove(&domid.get());
            // xenstored drops what a dead domain owned.
            let own = self.store.iter().filter(|(_, (_, owner))| *owner == domid);
            let own: Vec<String> = own.map(|(path, _)| path.clone()).collect();
            own.iter().for_each(|path| self.remove(path));
        }
    }

    /// Whether blkback has a device of a stubdomain that ran: its driver had connected.
    fn holds_pages(&self, info: &DomainInfo) -> bool {
        let backends = format!("{}/", VbdMark::directory(info.domid));
        let open = |(path, (value, _)): (&String, &(Vec<u8>, DomId))| {
            path.starts_with(&backends) && path.ends_with("/state") && value != b"5"
        };
        info.kind == DomainKind::Pv && !info.cpu_time.is_zero() && self.store.iter().any(open)
    }

    /// The first stubdomain that runs, and its guest.
    pub(super) fn pair(&self) -> Option<(DomId, u16)> {
        self.pairs().next()
    }

    /// The stubdomains that run, and their guests.
    fn pairs(&self) -> impl Iterator<Item = (DomId, u16)> {
        let runs = |info: &DomainInfo| info.kind == DomainKind::Pv && !info.paused && info.shutdown.is_none();
        self.domains.iter().filter(move |(_, info)| runs(info)).filter_map(|(stubdom, _)| {
            let (guest, _) = self.store.get(&format!("{}/{}", keys::home(*stubdom), keys::TARGET))?;
            Some((DomId::new(*stubdom), String::from_utf8_lossy(guest).parse().ok()?))
        })
    }

    /// The stubdomain writes to its console, of which nobody takes anything out.
    pub(super) fn say(&mut self, text: &[u8]) {
        console::append(&mut self.console, text);
    }

    /// Something has changed in xenstore: everybody who watches is told.
    pub(super) fn fire(&mut self) {
        let gone = |error: std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
        if !self.events_lost {
            self.watches.retain_mut(|watch| !watch.write(b"!").is_err_and(gone));
        }
    }

    /// Lets the stubdomains do what they do, those that can by now.
    pub(super) fn play(&mut self) {
        let pairs: Vec<(DomId, u16)> = self.pairs().collect();
        pairs.into_iter().for_each(|(stubdom, guest)| self.play_one(stubdom, guest));
    }

    fn play_one(&mut self, stubdom: DomId, guest: u16) {
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
        self.fire();
    }
}
