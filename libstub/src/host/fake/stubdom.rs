// SPDX-License-Identifier: GPL-3.0-only
//! What the stubdomain of the host in memory does when a test tells it to.

use proto::{Stage, keys};

use super::{Behaviour, FakeHost};

impl FakeHost {
    /// It behaves like this from now on.
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

    /// No watch event comes from now on.
    pub fn lose_events(&self) {
        self.lock().events_lost = true;
    }
}
