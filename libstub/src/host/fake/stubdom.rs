// SPDX-License-Identifier: GPL-3.0-only
//! What the domains, the kernel and other toolstacks of the host in memory do when a test tells them to.

use proto::{Stage, keys};
use xen_sys::{DomId, Kib, ShutdownReason};

use super::{Behaviour, FakeHost};
use crate::host::BackendState;
use crate::xenbus::VbdMark;

impl FakeHost {
    /// Somebody writes a node.
    pub fn put(&self, path: &str, value: &[u8]) {
        self.lock().put(path, value, None);
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
}
