// SPDX-License-Identifier: GPL-3.0-only
//! A disk of the guest, and which disks can be served beside each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::vdev::Vdev;
use crate::code::Code;

/// A disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The file or block device in dom0.
    pub target: PathBuf,
    /// Where the guest sees it.
    pub vdev: Vdev,
    /// What the guest may do with it.
    pub mode: DiskMode,
}

/// What a domain may do with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskMode {
    /// `r`
    ReadOnly,
    /// `w`
    ReadWrite,
}

impl DiskMode {
    /// As in blkback's `mode` node.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "r",
            Self::ReadWrite => "w",
        }
    }
}

/// A part of a disk that is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Target,
    Vdev,
    Access,
}

/// Why a disk cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unserved {
    pub(super) part: Part,
    pub(super) code: Code,
    pub(super) message: String,
    /// The disk before it that is in its way.
    pub(super) earlier: Option<usize>,
}

impl Disk {
    /// All that keeps it from being served beside the disks named before it.
    pub(super) fn check_beside(&self, earlier: &[&Self]) -> Vec<Unserved> {
        let Self { vdev, target, .. } = self;
        let mut unserved = Vec::new();
        let mut refuse = |part, code, message, earlier| {
            unserved.push(Unserved { part, code, message, earlier });
        };
        if vdev.is_partition() {
            let message = format!("{vdev}: a partition cannot be emulated; give the guest a whole disk");
            refuse(Part::Vdev, Code::ConfigNotYet, message, None);
        } else if vdev.is_scsi() {
            let message = format!("{vdev}: an emulated SCSI disk is not supported yet: use xvdX");
            refuse(Part::Vdev, Code::ConfigNotYet, message, None);
        }
        if self.mode == DiskMode::ReadOnly {
            let message =
                format!("{vdev}: QEMU cannot emulate a read-only IDE or AHCI disk; give it access=rw");
            refuse(Part::Access, Code::ConfigDisk, message, None);
        }
        if let Some(other) = earlier.iter().position(|other| other.vdev == *vdev) {
            refuse(Part::Vdev, Code::ConfigConflict, format!("two disks are {vdev}"), Some(other));
        }
        if let Some(other) = earlier.iter().position(|other| other.target == *target) {
            let message = format!("two disks are the file {}", target.display());
            refuse(Part::Target, Code::ConfigConflict, message, Some(other));
        }
        unserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(target: &str, vdev: &str, mode: DiskMode) -> Disk {
        Disk { target: PathBuf::from(target), vdev: Vdev::parse(vdev).expect("a vdev"), mode }
    }

    #[test]
    fn one_file_and_one_vdev_belong_to_one_disk() {
        let first = disk("/a", "xvda", DiskMode::ReadWrite);
        let codes = |disk: Disk| {
            let faults = disk.check_beside(&[&first]);
            faults.into_iter().map(|fault| (fault.part, fault.code, fault.earlier)).collect::<Vec<_>>()
        };
        assert_eq!(codes(disk("/b", "xvdb", DiskMode::ReadWrite)), []);
        let conflict = |part| (part, Code::ConfigConflict, Some(0));
        assert_eq!(codes(disk("/b", "51712", DiskMode::ReadWrite)), [conflict(Part::Vdev)]);
        assert_eq!(codes(disk("/a", "xvdb", DiskMode::ReadWrite)), [conflict(Part::Target)]);
        let both = [conflict(Part::Vdev), conflict(Part::Target)];
        assert_eq!(codes(disk("/a", "xvda", DiskMode::ReadWrite)), both);
    }

    #[test]
    fn what_qemu_cannot_emulate_is_refused() {
        let part = |vdev, mode| disk("/a", vdev, mode).check_beside(&[]).first().map(|fault| fault.part);
        assert_eq!(part("hda", DiskMode::ReadWrite), None);
        assert_eq!(part("hda", DiskMode::ReadOnly), Some(Part::Access));
        assert_eq!(part("xvda1", DiskMode::ReadWrite), Some(Part::Vdev));
        assert_eq!(part("sda", DiskMode::ReadWrite), Some(Part::Vdev));
    }
}
