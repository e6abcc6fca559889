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
///
/// Readers pass over what they do not know: what a reader must know goes with another `protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The stubdom protocol that its PID 1 speaks.
    pub protocol: u32,
    /// What it consists of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: Kind,
    /// Where it looks for QEMU's arguments.
    #[serde(default, skip_serializing_if = "is_default")]
    pub arguments: Arguments,
    /// The Xen release that its QEMU was linked for, such as `4.17`.
    pub xen: String,
    /// What `qemu --version` calls itself in the package it came from.
    pub qemu: String,
    /// The kernel release.
    pub kernel: String,
    /// What `kernel` was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_origin: Option<KernelOrigin>,
    /// The filesystem of `rootfs.img`, or `ramdisk` if the contents are in the ramdisk.
    pub rootfs: String,
    /// The kernel command line it needs.
    pub cmdline: String,
    /// Whether it starts a shell on its console: who reaches that has the stubdomain and its guest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub debug_shell: bool,
    /// The smallest memory, in MiB, with which it was seen to serve a guest.
    pub min_memory_mib: u32,
    /// What a create gives it if the config does not say: with the smallest it reads its own files again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_memory_mib: Option<u32>,
    /// SHA-256 of each file beside the manifest, by name.
    pub digests: BTreeMap<String, String>,
    /// The versions of the distribution's packages that files are from, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, String>,
    /// Every file in the root filesystem.
    pub contents: Vec<Entry>,
}

/// What an image consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Linux, with QEMU in a root filesystem or in the ramdisk.
    #[default]
    Linux,
    /// The kernel is all of it, as with mini-os and unikernels. It knows nothing of `stub/`.
    KernelOnly,
}

/// Where an image looks for QEMU's arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arguments {
    /// One node each, below `image/dm-argv`.
    #[default]
    DmArgv,
    /// All in one node, `image/dmargs`, with blanks between them: the way of mini-os.
    Dmargs,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The file that a kernel was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelOrigin {
    /// Its path in the distribution's root, or its name.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
    /// The distribution's package it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// One file of the root filesystem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path inside the root filesystem.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// The files, or others such as the kernel, that need it; none for a directory that is only on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// The distribution's package it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
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

    /// What a create gives it if the config does not say, in MiB.
    pub fn memory_mib(&self) -> u32 {
        self.usual_memory_mib.unwrap_or(self.min_memory_mib)
    }

    /// Whether a toolstack that speaks `protocol` can use it on a hypervisor of release `xen`; if not, why.
    pub fn fits(&self, protocol: u32, xen: &str) -> Result<(), String> {
        if self.protocol != protocol {
            return Err(format!("it speaks stubdom protocol {}, not {protocol}", self.protocol));
        }
        if self.xen != xen {
            return Err(format!("its QEMU was linked for Xen {}, this is Xen {xen}", self.xen));
        }
        if !self.digests.contains_key(KERNEL) {
            return Err(format!("its manifest has no digest of {KERNEL}"));
        }
        let more = [RAMDISK, ROOTFS].into_iter().find(|name| self.digests.contains_key(*name));
        if let (Kind::KernelOnly, Some(name)) = (self.kind, more) {
            return Err(format!("its kernel is all of it, and its manifest has {name} as well"));
        }
        Ok(())
    }

    /// What goes into `manifest.json`; equal manifests give equal bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_with_less_and_with_more_than_is_known() {
        let text = r#"{"protocol": 1, "xen": "4.17", "qemu": "7.2", "kernel": "6.1", "rootfs": "erofs",
            "cmdline": "quiet", "min_memory_mib": 64, "digests": {"kernel": "00"}, "colour": "blue",
            "contents": [{"path": "/init", "kind": "file", "size": 1, "sha256": "00", "weight": 3}]}"#;
        let manifest = Manifest::from_json(text.as_bytes()).unwrap();
        assert_eq!((&manifest.kernel_origin, manifest.memory_mib()), (&None, 64));
        assert_eq!(Manifest { usual_memory_mib: Some(80), ..manifest.clone() }.memory_mib(), 80);
        assert_eq!((manifest.kind, manifest.arguments), (Kind::Linux, Arguments::DmArgv));
        assert_eq!(manifest.contents[0].kind, EntryKind::File { size: 1, sha256: "00".into() });
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        assert_eq!(manifest.fits(1, "4.17"), Ok(()));
        assert_eq!(manifest.fits(2, "4.17").unwrap_err(), "it speaks stubdom protocol 1, not 2");
        assert!(manifest.fits(1, "4.20").unwrap_err().contains("linked for Xen 4.17"));
    }

    #[test]
    fn a_kernel_that_is_all_says_so_and_no_other_image_does() {
        let text = r#"{"protocol": 1, "xen": "4.17", "qemu": "", "kernel": "", "rootfs": "", "cmdline": "", "min_memory_mib": 8,
            "digests": {}, "contents": [], "kind": "kernel-only", "arguments": "dmargs"}"#;
        let manifest = Manifest::from_json(text.as_bytes()).unwrap();
        assert_eq!((manifest.kind, manifest.arguments), (Kind::KernelOnly, Arguments::Dmargs));
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        let linux = Manifest { kind: Kind::Linux, arguments: Arguments::DmArgv, ..manifest };
        let text = String::from_utf8(linux.to_json()).unwrap();
        assert!(!text.contains("\"kind\"") && !text.contains("\"arguments\""), "{text}");
        assert!(
            Manifest::from_json(text.replace("\"protocol\"", "\"kind\": \"other\", \"protocol\"").as_bytes())
                .is_err()
        );
    }
}
