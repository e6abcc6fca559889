// SPDX-License-Identifier: GPL-3.0-only
//! What the domains, the kernel and other toolstacks of the host in memory do when a test tells them to.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::{Stage, keys};
use uuid::Uuid;
use xen_sys::{DomId, DomainKind, Kib, ShutdownReason};

use super::{Behaviour, FakeHost};
use crate::host::{Answer, BackendState, HostError, Monitor};
use crate::xenbus::VbdMark;

impl FakeHost {
    /// Somebody writes a node.
    pub fn put(&self, path: &str, value: &[u8]) {
        self.lock().put(path, value, None);
    }

    /// Somebody removes a node.
    pub fn take(&self, path: &str) {
        self.lock().remove(path);
    }

    /// A domain shuts down.
    pub fn shut_down(&self, domid: DomId, reason: ShutdownReason) {
        let mut world = self.lock();
        if let Some(info) = world.domains.get_mut(&domid.get()) {
            info.shutdown = Some(reason);
        }
        world.fire();
    }

    /// Xen has so much free memory.
    pub fn has_free(&self, memory: Kib) {
        self.lock().free = memory;
    }

    /// The stubdomain behaves like this from now on.
    pub fn turn(&self, behaviour: Behaviour) {
        let mut world = self.lock();
        world.behaviour = behaviour;
        world.play();
    }

    /// It reports a stage.
    pub fn report(&self, stage: Stage) {
        let mut world = self.lock();
        if let Some((stubdom, guest)) = world.pair() {
            let node = format!("{}/{}", keys::device_model(stubdom.get(), guest), keys::name::STAGE);
            world.put(&node, stage.as_str().as_bytes(), None);
            world.fire();
        }
    }

    /// It writes to its console.
    pub fn say(&self, text: &[u8]) {
        self.lock().say(text);
    }

    /// Somebody of the host has all disks open that are attached now; or closes them.
    pub fn keep_open(&self, keep: bool) {
        let mut world = self.lock();
        let open = world.held.iter().filter(|_| keep).filter_map(Weak::upgrade);
        world.kept = open.collect();
    }

    /// blkback is so far with every disk, whatever it is told; or does its work again.
    pub fn stick(&self, at: Option<BackendState>) {
        self.lock().stuck = at;
    }

    /// dom0's kernel says what is wrong with each of the disks.
    pub fn complain(&self, text: &[u8]) {
        let mut world = self.lock();
        let vbds = world.store.keys().filter_map(|path| VbdMark::of_backend_state(path));
        let nodes: Vec<String> = vbds.map(|vbd| vbd.backend_error()).collect();
        nodes.iter().for_each(|node| world.put(node, text, None));
    }

    /// No watch event comes from now on.
    pub fn lose_events(&self) {
        self.lock().events_lost = true;
    }

    /// A domain is destroyed by another hand.
    pub fn remove(&self, domid: DomId) {
        let mut world = self.lock();
        world.destroy(domid);
        world.fire();
    }

    /// A domain's id is given to another domain, which is nobody's.
    pub fn replace(&self, domid: DomId) {
        let mut world = self.lock();
        if let Some(info) = world.domains.get_mut(&domid.get()) {
            info.uuid = Uuid::new_v4();
            info.kind = DomainKind::Hvm;
        }
        world.targets.remove(&domid.get());
        world.fire();
    }

    /// The QEMU in a stubdomain answers, or does not.
    pub fn silence(&self, stubdom: DomId, silent: bool) {
        let silenced = &mut self.lock().silent;
        let _ = if silent { silenced.insert(stubdom.get()) } else { silenced.remove(&stubdom.get()) };
    }
}

impl Monitor for FakeHost {
    fn ask_qemu(
        &self,
        _: DomId,
        stubdom: DomId,
        limit: Duration,
        cancel: &AtomicBool,
    ) -> Result<Answer, HostError> {
        let silent =
            self.call(format!("ask {stubdom}"), |world| Ok(world.silent.contains(&stubdom.get())))?;
        let began = Instant::now();
        while silent && began.elapsed() < limit {
            if cancel.load(Ordering::Relaxed) {
                return Ok(Answer::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(if silent { Answer::Silent("QEMU did not answer".to_owned()) } else { Answer::Alive })
    }
}
