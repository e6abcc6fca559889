// SPDX-License-Identifier: GPL-3.0-only
//! What a pair was made from, written down for people: nothing that is undone depends on it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::{GuestConfig, Vdev};
use crate::image::Image;

/// Records of earlier releases have none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Origin {
    /// When the create began, in seconds since 1970.
    pub(crate) created_at: Option<u64>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) image: Option<ImageOrigin>,
    pub(crate) disks: Vec<DiskOrigin>,
}

/// The stubdomain's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrigin {
    /// Its directory; none if all its files were named one by one.
    pub directory: Option<PathBuf>,
    /// The file of its kernel.
    pub kernel: PathBuf,
    /// The release of its kernel, if its manifest tells.
    pub kernel_release: Option<String>,
    /// The version of its QEMU, if its manifest tells.
    pub qemu: Option<String>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskOrigin {
    /// Where the guest sees it; the root filesystem is the stubdomain's only.
    pub(crate) vdev: Option<String>,
    /// Where the stubdomain sees it.
    pub(crate) stubdom_vdev: Option<String>,
    pub(crate) target: PathBuf,
    pub(crate) mode: String,
}

impl Origin {
    /// What this pair is made from, now.
    pub(crate) fn new(config: &GuestConfig, image: &Image) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let guest = config.disks.iter().enumerate().map(|(index, disk)| DiskOrigin {
            vdev: Some(disk.vdev.to_string()),
            stubdom_vdev: Vdev::in_stubdom(index).map(|vdev| vdev.to_string()),
            target: disk.target.clone(),
            mode: disk.mode.as_str().to_owned(),
        });
        let rootfs = image.rootfs.iter().map(|rootfs| DiskOrigin {
            vdev: None,
            stubdom_vdev: Some(proto::manifest::ROOTFS_VDEV.to_owned()),
            target: rootfs.clone(),
            mode: "r".to_owned(),
        });
        Self {
            created_at: now.ok().map(|since| since.as_secs()),
            config: config.source.clone(),
            image: Some(image.origin()),
            disks: guest.chain(rootfs).collect(),
        }
    }

    /// When the create began.
    pub(crate) fn created_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.created_at?))
    }
}
