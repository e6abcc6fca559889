// SPDX-License-Identifier: GPL-3.0-only
//! What the parts of a disk line ask for, and what of it can be served.

use super::disk::{DiskMode, Part};
use super::fault::Mark;
use super::spec::{Bytes, Spec};
use super::vdev::Vdev;
use crate::code::Code::{ConfigDisk, ConfigMissing, ConfigNotWithStubdom, ConfigNotYet};

const PARAMETERS: &[&str] = &[
    "target",
    "format",
    "vdev",
    "access",
    "devtype",
    "backend",
    "backendtype",
    "script",
    "specification",
    "grant_usage",
    "colo-host",
    "colo-port",
    "colo-export",
    "active-disk",
    "hidden-disk",
];
/// What stands without a value.
pub(super) const FLAGS: &[&str] =
    &["cdrom", "direct-io-safe", "discard", "no-discard", "trusted", "untrusted", "colo", "no-colo"];
const FORMATS: &[&str] = &["raw", "qcow", "qcow2", "vhd", "qed", "empty"];
const ACCESS: &[&str] = &["rw", "w", "ro", "r"];
const BACKENDTYPES: &[&str] = &["phy", "qdisk", "tap", "standalone"];

impl Spec<'_> {
    pub(super) fn devtype(&mut self, bytes: &Bytes) {
        match self.at(bytes) {
            "cdrom" => self.cdrom = Some(bytes.clone()),
            "disk" => {}
            other => {
                let message = format!("`{other}` is no type of a device: cdrom, disk");
                self.unknown(bytes, message, &["cdrom", "disk"]);
            }
        }
    }

    pub(super) fn script(&mut self, bytes: &Bytes) {
        let message = "no script is run for a disk; attach the device first, and name it as target";
        self.fault(bytes, ConfigNotYet, message);
    }

    pub(super) fn flag(&mut self, flag: &Bytes) {
        match self.at(flag) {
            "cdrom" => self.cdrom = Some(flag.clone()),
            "direct-io-safe" => {
                self.ignored(flag, "`direct-io-safe` changes nothing: it is about QEMU in dom0")
            }
            "no-discard" => self.ignored(flag, "`no-discard` changes nothing yet: the guest can discard"),
            "untrusted" => self.fault(flag, ConfigNotYet, "an untrusted backend is not supported yet"),
            "colo" => self.colo(flag),
            _ => {}
        }
    }

    pub(super) fn colo(&mut self, bytes: &Bytes) {
        self.fault(bytes, ConfigNotYet, "COLO replication is not supported yet");
    }

    pub(super) fn parameter(&mut self, key: &Bytes, value: Bytes) {
        let written = self.at(&value).to_owned();
        match self.at(key) {
            "vdev" => self.set(Part::Vdev, value),
            "access" => self.set(Part::Access, value),
            "format" => {
                let earlier = self.format.replace(value.clone());
                self.once("format", earlier, &value);
            }
            "devtype" => self.devtype(&value),
            "backend" if matches!(written.as_str(), "" | "0" | "Domain-0") => {}
            "backend" => self.fault(&value, ConfigNotYet, "disks of a driver domain are not supported yet"),
            "backendtype" => self.backendtype(&value),
            "script" => self.script(&value),
            "specification" if written == "xen" => {}
            "specification" if written == "virtio" => {
                self.fault(&value, ConfigNotWithStubdom, "virtio disks are for guests on Arm");
            }
            "specification" => {
                let message = format!("`{written}` is no specification: xen, virtio");
                self.unknown(&value, message, &["xen", "virtio"]);
            }
            "grant_usage" => self.ignored(key, "`grant_usage` changes nothing: it is about virtio disks"),
            "colo-host" | "colo-port" | "colo-export" | "active-disk" | "hidden-disk" => self.colo(key),
            name if name.starts_with('/') => {
                let message = "a target with a `=` in it is written last, as target=PATH";
                let target = key.start..value.end;
                self.fault(&target, ConfigDisk, message);
                self.target.get_or_insert(target);
            }
            name => {
                let message = format!("a disk has no parameter `{name}`");
                self.unknown(key, message, PARAMETERS);
            }
        }
    }

    pub(super) fn backendtype(&mut self, value: &Bytes) {
        match self.at(value) {
            "" | "phy" => {}
            "qdisk" | "tap" => {
                let message = "blkback serves all disks: no QEMU and no tapdisk runs in dom0";
                self.fault(value, ConfigNotWithStubdom, message);
            }
            "standalone" => {
                self.fault(value, ConfigNotWithStubdom, "a standalone backend serves virtio disks, on Arm");
            }
            other => {
                let message = format!("`{other}` is no type of a backend: {}", BACKENDTYPES.join(", "));
                self.unknown(value, message, BACKENDTYPES);
            }
        }
    }

    /// Whether the parts are so out of place that the others say nothing.
    pub(super) fn check_format(&mut self) -> bool {
        let Some(bytes) = self.format.clone() else { return false };
        let format = self.at(&bytes).to_owned();
        match format.as_str() {
            "" | "raw" => {}
            "empty" => self.fault(&bytes, ConfigNotYet, "cdroms are not supported yet"),
            known if FORMATS.contains(&known) => {
                let message = format!(
                    "blkback serves raw disks only; make one of it with qemu-img convert -f {known} -O raw"
                );
                self.fault(&bytes, ConfigNotWithStubdom, message);
            }
            vdev if Vdev::parse(vdev).is_some() => {
                let message = format!("`{vdev}` stands where the format does: TARGET, FORMAT, VDEV, ACCESS");
                self.fault(&bytes, ConfigDisk, message);
                return true;
            }
            other => {
                let message = format!("`{other}` is no format of a disk: raw");
                self.unknown(&bytes, message, FORMATS);
            }
        }
        false
    }

    pub(super) fn mode(&mut self) -> DiskMode {
        let Some(bytes) = self.access.clone() else { return DiskMode::ReadWrite };
        match self.at(&bytes) {
            "" | "rw" | "w" => DiskMode::ReadWrite,
            "ro" | "r" => DiskMode::ReadOnly,
            other => {
                let message = format!("`{other}` is no access to a disk: {}", ACCESS.join(", "));
                self.unknown(&bytes, message, ACCESS);
                DiskMode::ReadWrite
            }
        }
    }

    pub(super) fn vdev(&mut self) -> Option<Vdev> {
        let Some(bytes) = self.vdev.clone().filter(|bytes| !bytes.is_empty()) else {
            self.faults.push(Mark::new(self.whole, ConfigMissing, "this disk has no vdev, such as xvda"));
            return None;
        };
        let vdev = Vdev::parse(self.at(&bytes));
        if vdev.is_none() {
            let message = format!("`{}` is no vdev: xvda, xvdb and on, hda to hdd", self.at(&bytes));
            self.unknown(&bytes, message, &["xvda", "xvdb", "xvdc", "hda", "hdb", "hdc", "hdd"]);
        }
        vdev
    }
}
