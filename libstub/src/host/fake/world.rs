// SPDX-License-Identifier: GPL-3.0-only
//! What the host in memory holds, and what its stubdomain does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Weak;

use proto::{Stage, keys};
use xen_sys::{DomId, DomainInfo, DomainKind, Kib, ShutdownReason};

use super::{Behaviour, Fault};
use crate::host::{FailureKind, Hold, HostError, Unfit};
use crate::xenbus::VbdMark;

#[derive(Debug)]
pub(super) struct World {
    pub(super) behaviour: Behaviour,
    pub(super) fault: Fault,
    pub(super) calls: Vec<String>,
    pub(super) boot: u32,
    pub(super) domains: BTreeMap<u16, DomainInfo>,
    /// Which guest a stubdomain holds a reference on.
    pub(super) targets: BTreeMap<u16, u16>,
    pub(super) store: BTreeMap<String, (Vec<u8>, DomId)>,
    pub(super) held: Vec<Weak<Held>>,
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

fn missing(call: &str) -> HostError {
    let source = std::io::Error::from_raw_os_error(3).into();
    HostError { call: call.to_owned(), kind: FailureKind::Other, source }
}

impl World {
    pub(super) fn domain(&mut self, domid: DomId, call: &str) -> Result<&mut DomainInfo, HostError> {
        self.domains.get_mut(&domid.get()).ok_or_else(|| missing(call))
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
        let mut numbers = path.split('/').filter_map(|part| part.parse::<u32>().ok());
        let (Some(0), Some(domid), Some(devid)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return;
        };
        let vbd = VbdMark { domid: DomId::new(u16::try_from(domid).unwrap_or_default()), devid };
        if value == b"5" && path.starts_with(&vbd.backend()) {
            self.put(&format!("{}/error", vbd.error()), b"22 mapping ring-ref", None);
        }
    }

    pub(super) fn has_below(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.store.keys().any(|node| node.starts_with(&below))
    }

    /// Ends a domain; a guest stays a zombie while its stubdomain exists.
    pub(super) fn destroy(&mut self, domid: DomId) {
        if self.targets.values().any(|guest| *guest == domid.get()) {
            if let Some(info) = self.domains.get_mut(&domid.get()) {
                info.dying = true;
            }
            return;
        }
        self.domains.remove(&domid.get());
        if let Some(guest) = self.targets.remove(&domid.get())
            && self.domains.get(&guest).is_some_and(|info| info.dying)
        {
            self.domains.remove(&guest);
        }
        // xenstored drops what a dead domain owned.
        let own: Vec<String> = self
            .store
            .iter()
            .filter(|(_, (_, owner))| *owner == domid)
            .map(|(path, _)| path.clone())
            .collect();
        own.iter().for_each(|path| self.remove(path));
    }

    /// Tells everybody who watches.
    pub(super) fn tell(&mut self) {
        let gone = |error: std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
        self.watches.retain_mut(|watch| !watch.write(b"!").is_err_and(gone));
    }

    /// Lets the stubdomains do what they do, those that can by now.
    pub(super) fn play(&mut self) {
        let run = |info: &DomainInfo| info.kind == DomainKind::Pv && !info.paused && info.shutdown.is_none();
        let stubdoms: Vec<u16> =
            self.domains.iter().filter(|(_, info)| run(info)).map(|(domid, _)| *domid).collect();
        stubdoms.into_iter().for_each(|stubdom| self.play_one(DomId::new(stubdom)));
    }

    fn play_one(&mut self, stubdom: DomId) {
        let target = format!("{}/{}", keys::home(stubdom.get()), keys::TARGET);
        let target =
            self.store.get(&target).and_then(|(value, _)| String::from_utf8_lossy(value).parse().ok());
        let Some(guest) = target else { return };
        let report = keys::device_model(stubdom.get(), guest);
        let state = format!("{report}/{}", keys::name::STATE);
        if self.store.contains_key(&state) {
            return;
        }
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
                self.put(&state, keys::READY, None);
            }
            Behaviour::Ready => stage(self, Stage::Waiting),
        }
        self.tell();
    }
}
