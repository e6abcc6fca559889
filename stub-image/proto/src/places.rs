// SPDX-License-Identifier: GPL-3.0-only
//! The well-known places where an image for a hypervisor is looked up.

use std::path::{Path, PathBuf};

/// Below it, one image for each Xen release.
pub const IMAGES: &str = "/usr/lib/stubctl/image";

/// Where files of libxl's stubdomain are, inside their place.
const LIBXL_KERNEL: &str = "stubdom-linux-kernel";
const LIBXL_RAMDISK: &str = "stubdom-linux-rootfs";
/// What makes a directory an image of ours.
const MANIFEST: &str = "manifest.json";

/// One place, and what is expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An image directory with a manifest.
    Image(PathBuf),
    /// A kernel and a ramdisk as libxl has them.
    Libxl {
        /// Their directory.
        directory: PathBuf,
        /// The kernel.
        kernel: PathBuf,
        /// The ramdisk.
        ramdisk: PathBuf,
    },
}

impl Place {
    /// Every place for hypervisors of this release (`4.17`), in the order they are tried; `root` is `/` but in tests.
    pub fn all(root: &Path, xen: &str) -> [Self; 2] {
        let inside = |path: String| root.join(path.trim_start_matches('/'));
        let directory = inside(format!("/usr/lib/xen-{xen}/boot"));
        [
            Self::Image(inside(format!("{IMAGES}/{xen}"))),
            Self::Libxl {
                kernel: directory.join(LIBXL_KERNEL),
                ramdisk: directory.join(LIBXL_RAMDISK),
                directory,
            },
        ]
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        match self {
            Self::Image(directory) | Self::Libxl { directory, .. } => directory,
        }
    }

    /// Whether something is there, which then is what a create takes, fit or not.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Image(directory) => directory.join(MANIFEST).is_file(),
            Self::Libxl { kernel, ramdisk, .. } => kernel.is_file() && ramdisk.is_file(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn ours_comes_first_and_half_of_libxls_is_none() {
        let root = tempfile::tempdir().unwrap();
        let taken = || Place::all(root.path(), "4.17").map(|place| place.is_taken());
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        assert_eq!(taken(), [false, false]);
        make("usr/lib/xen-4.17/boot/stubdom-linux-kernel");
        assert_eq!(taken(), [false, false]);
        make("usr/lib/xen-4.17/boot/stubdom-linux-rootfs");
        assert_eq!(taken(), [false, true]);
        make("usr/lib/stubctl/image/4.17/manifest.json");
        assert_eq!(taken(), [true, true]);
    }
}
