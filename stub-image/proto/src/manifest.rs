// SPDX-License-Identifier: GPL-3.0-only
//! `manifest.json`, the description of an image that travels with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name of the manifest in an image directory.
pub const FILE: &str = "manifest.json";
/// Name of the kernel in an image directory.
pub const KERNEL: &str = "kernel";
/// Name of the optional ramdisk in an image directory.
pub const RAMDISK: &str = "ramdisk";
/// Name of the root filesystem in an image directory.
pub const ROOTFS: &str = "rootfs.img";

/// The vdev under which the root filesystem is attached, read-only.
pub const ROOTFS_VDEV: &str = "xvdz";

/// What an image is, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The stubdom protocol that its PID 1 speaks.
    pub protocol: u32,
    /// The Xen release that its QEMU was linked for, such as `4.17`.
    pub xen: String,
    /// What `qemu --version` calls itself in the package it came from.
    pub qemu: String,
    /// The kernel release.
    pub kernel: String,
    /// The filesystem of `rootfs.img`.
    pub rootfs: String,
    /// The kernel command line it needs.
    pub cmdline: String,
    /// The smallest memory, in MiB, with which it was seen to serve a guest.
    pub min_memory_mib: u32,
    /// SHA-256 of each file beside the manifest, by name.
    pub digests: BTreeMap<String, String>,
    /// Every file in the root filesystem.
    pub contents: Vec<Entry>,
}

/// One file of the root filesystem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path inside the root filesystem.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// The kinds of file in a root filesystem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
    /// A regular file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Its SHA-256.
        sha256: String,
    },
}

impl Manifest {
    /// Reads `manifest.json`.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// What goes into `manifest.json`; equal manifests give equal bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        text.push(b'\n');
        text
    }
}
