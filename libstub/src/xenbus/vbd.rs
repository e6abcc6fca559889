// SPDX-License-Identifier: GPL-3.0-only
//! A virtual block device, served by dom0's blkback without any script.
//!
//! blkback watches `physical-device` from its probe on, and the watch fires at once, so the node is written in
//! the transaction that creates the device (Linux `drivers/block/xen-blkback/xenbus.c`).

use proto::keys;
use xen_sys::DomId;

use super::batch::{Access, Batch};
use crate::config::{DiskMode, Vdev};

/// XenbusState of xen/io/xenbus.h.
const INITIALISING: &str = "1";
const CLOSING: &str = "5";

/// A XenbusState as people read it.
pub(crate) fn state_in_words(state: &[u8]) -> &'static str {
    match state {
        b"1" => "initialising",
        b"2" => "waiting for its frontend",
        b"3" => "initialised",
        b"4" => "connected",
        b"5" => "closing",
        b"6" => "closed",
        _ => "unknown",
    }
}

/// A vbd to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vbd {
    pub(crate) domid: DomId,
    pub(crate) vdev: Vdev,
    pub(crate) mode: DiskMode,
    pub(crate) bootable: bool,
    /// The block device behind it.
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// What names a vbd for its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct VbdMark {
    pub(crate) domid: DomId,
    pub(crate) devid: u32,
}

impl Vbd {
    pub(crate) fn mark(&self) -> VbdMark {
        VbdMark { domid: self.domid, devid: self.vdev.devid() }
    }

    /// Both ends of the device, in the state where blkback takes it up.
    pub(crate) fn create(&self) -> Batch {
        let (frontend, backend) = (self.mark().frontend(), self.mark().backend());
        let devid = self.vdev.devid();
        let mut batch = Batch::default();
        batch.remove(&frontend);
        batch.remove(&backend);
        batch.node(&frontend, Access::Shared(self.domid, DomId::DOM0));
        batch.write(format!("{frontend}/backend"), &backend);
        batch.write(format!("{frontend}/backend-id"), "0");
        batch.write(format!("{frontend}/state"), INITIALISING);
        batch.write(format!("{frontend}/virtual-device"), devid.to_string());
        batch.write(format!("{frontend}/device-type"), "disk");
        batch.write(format!("{frontend}/trusted"), "1");
        batch.node(&backend, Access::Readable(self.domid));
        batch.write(format!("{backend}/frontend"), &frontend);
        batch.write(format!("{backend}/frontend-id"), self.domid.to_string());
        batch.write(format!("{backend}/online"), "1");
        batch.write(format!("{backend}/removable"), "0");
        batch.write(format!("{backend}/bootable"), if self.bootable { "1" } else { "0" });
        batch.write(format!("{backend}/dev"), self.vdev.to_string());
        batch.write(format!("{backend}/type"), "phy");
        batch.write(format!("{backend}/mode"), self.mode.as_str());
        batch.write(format!("{backend}/device-type"), "disk");
        batch.write(format!("{backend}/physical-device"), format!("{:x}:{:x}", self.major, self.minor));
        batch.write(format!("{backend}/hotplug-status"), "connected");
        batch.write(format!("{backend}/state"), INITIALISING);
        batch
    }
}

impl VbdMark {
    pub(crate) fn frontend(&self) -> String {
        format!("{}/device/vbd/{}", keys::home(self.domid.get()), self.devid)
    }

    pub(crate) fn backend(&self) -> String {
        format!("{}/backend/vbd/{}/{}", keys::home(DomId::DOM0.get()), self.domid, self.devid)
    }

    /// The vbd of whose backend this is the state.
    #[cfg(feature = "fake")]
    pub(crate) fn of_backend_state(path: &str) -> Option<Self> {
        let [vbds, _] = Self::parents();
        let (domid, devid) =
            path.strip_prefix(&vbds)?.strip_prefix('/')?.strip_suffix("/state")?.split_once('/')?;
        Some(Self { domid: DomId::new(domid.parse().ok()?), devid: devid.parse().ok()? })
    }

    /// The directory of all vbds of this one's domain in dom0's tree.
    pub(crate) fn backends(&self) -> String {
        Self::directory(self.domid)
    }

    /// The directory of all vbds of a domain in dom0's tree.
    pub(crate) fn directory(domid: DomId) -> String {
        let [vbds, _] = Self::parents();
        format!("{vbds}/{domid}")
    }

    /// The directories of all vbds and of all backends in dom0's tree.
    pub(crate) fn parents() -> [String; 2] {
        let backends = format!("{}/backend", keys::home(DomId::DOM0.get()));
        [format!("{backends}/vbd"), backends]
    }

    /// Where the domain's own driver says what went wrong with this device.
    pub(crate) fn frontend_error(&self) -> String {
        format!("{}/error/device/vbd/{}/error", keys::home(self.domid.get()), self.devid)
    }

    /// Where dom0's kernel says what went wrong with this device.
    pub(crate) fn backend_error(&self) -> String {
        format!("{}/error", self.error())
    }

    /// Where dom0's kernel says what went wrong with any backend; nobody else removes it (Linux
    /// `drivers/xen/xenbus/xenbus_client.c`).
    pub(crate) fn errors() -> String {
        format!("{}/error", keys::home(DomId::DOM0.get()))
    }

    /// What dom0's kernel said about this backend.
    pub(crate) fn error(&self) -> String {
        format!("{}/backend/vbd/{}/{}", Self::errors(), self.domid, self.devid)
    }

    /// Removes what dom0's kernel said about this backend, and the directories that this leaves empty.
    pub(crate) fn forget_errors(&self) -> Batch {
        let kind = format!("{}/backend/vbd", Self::errors());
        let mut batch = Batch::default();
        batch.remove(self.error());
        batch.remove_empty(format!("{kind}/{}", self.domid));
        batch.remove_empty(kind);
        batch.remove_empty(format!("{}/backend", Self::errors()));
        batch.remove_empty(Self::errors());
        batch
    }

    /// Makes blkback let go without the domain's consent: its frontend vanishes, and state 5 in the same
    /// transaction is what lets the kernel end in state 6.
    pub(crate) fn force_close(&self) -> Batch {
        let backend = self.backend();
        let mut batch = Batch::default();
        batch.remove(self.frontend());
        batch.write(format!("{backend}/online"), "0");
        batch.write(format!("{backend}/state"), CLOSING);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_device_has_words_of_its_own_and_a_hostile_one_has_some() {
        let words: std::collections::BTreeSet<&str> =
            (1..=6).map(|state: u8| state_in_words(state.to_string().as_bytes())).collect();
        assert_eq!(words.len(), 6);
        assert_eq!(state_in_words(b"4\x1b[2J"), "unknown");
    }
}
