// SPDX-License-Identifier: GPL-3.0-only
//! A whole image directory, put in place in one step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proto::PROTOCOL;
use proto::manifest::{self, Manifest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};

use crate::ramdisk::{Ramdisk, Wanted};
use crate::tree::{Mode, chmod};
use crate::{ImageError, Root, erofs, ramdisk, rootfs};

/// The modules between a distribution's kernel and a QEMU that serves a guest, in the order of loading.
///
/// Kernels from 2026 on restrict privcmd in the stubdomain to what QEMU cannot work with, unless told otherwise.
const MODULES: [(&str, &str); 6] = [
    ("xen-blkfront", ""),
    ("erofs", ""),
    ("xen-evtchn", ""),
    ("xen-gntdev", ""),
    ("xen-gntalloc", ""),
    ("xen-privcmd", "unrestricted=1"),
];

/// What the kernel needs: its console on hvc0; a panic that ends the domain as a crash instead of a reboot; privcmd
/// for QEMU when it is built in; and the root filesystem for a kernel that needs no ramdisk.
const CMDLINE: &str = "console=hvc0 quiet panic=-1 xen_legacy_crash xen_privcmd.unrestricted=1 \
                       root=/dev/xvdz rootfstype=erofs ro init=/init";

/// Not measured yet: twice what a small kernel was seen to serve a guest with.
const MIN_MEMORY_MIB: u32 = 128;

/// What to build an image from, and where.
#[derive(Debug, Clone)]
pub struct Build {
    /// The distribution's root directory.
    pub root: PathBuf,
    /// PID 1, a static program.
    pub init: PathBuf,
    /// The image directory.
    pub out: PathBuf,
    /// The kernel to take, if the root holds several.
    pub kernel_release: Option<String>,
}

impl Build {
    /// Builds the image; the directory `out` is replaced as a whole or not touched.
    pub fn run(&self) -> Result<Manifest, ImageError> {
        let root = Root::new(&self.root);
        let release = match &self.kernel_release {
            Some(release) => release.clone(),
            None => only_release(&root)?,
        };
        let parent =
            self.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(ImageError::file("making", parent))?;
        let staging = tempfile::Builder::new().prefix(".stub-image-").tempdir_in(parent);
        let staging = staging.map_err(ImageError::file("making a directory in", parent))?;
        let directory = staging.path().join("image");
        fs::create_dir(&directory)
            .and_then(|()| chmod(&directory, Mode::Program))
            .map_err(ImageError::file("making", &directory))?;
        let manifest = self.write(&root, &release, &directory)?;
        put_in_place(&directory, &self.out).map_err(ImageError::file("replacing", &self.out))?;
        Ok(manifest)
    }

    fn write(&self, root: &Root, release: &str, directory: &Path) -> Result<Manifest, ImageError> {
        let path = format!("/boot/vmlinuz-{release}");
        let kernel = root.read(&path)?.ok_or_else(|| ImageError::Missing {
            what: "the kernel",
            searched: vec![path.into()],
            root: self.root.clone(),
            help: "choose another with --kernel-release",
        })?;
        let modules =
            MODULES.map(|(name, parameters)| Wanted { name: name.into(), parameters: parameters.into() });
        let contents = Ramdisk { init: self.init.clone(), modules: modules.to_vec(), files: Vec::new() };
        let packed = ramdisk::pack(&contents.tree(root, release)?)?;
        let rootfs = rootfs::collect(root, &self.init)?;
        let rootfs_path = directory.join(manifest::ROOTFS);
        erofs::write(&rootfs.tree, &rootfs_path)?;
        chmod(&rootfs_path, Mode::Data).map_err(ImageError::file("changing the mode of", &rootfs_path))?;
        let rootfs_bytes = fs::read(&rootfs_path).map_err(ImageError::file("reading", &rootfs_path))?;
        let mut digests = BTreeMap::from([(manifest::ROOTFS.to_owned(), digest(&rootfs_bytes))]);
        for (name, bytes) in [(manifest::KERNEL, kernel), (manifest::RAMDISK, packed)] {
            digests.insert(name.to_owned(), digest(&bytes));
            write(&directory.join(name), &bytes)?;
        }
        let manifest = Manifest {
            protocol: PROTOCOL,
            xen: rootfs.xen,
            qemu: rootfs.qemu,
            kernel: release.to_owned(),
            rootfs: "erofs".to_owned(),
            cmdline: CMDLINE.to_owned(),
            min_memory_mib: MIN_MEMORY_MIB,
            digests,
            contents: rootfs.tree.entries(),
        };
        write(&directory.join(manifest::FILE), &manifest.to_json())?;
        Ok(manifest)
    }
}

/// The kernel release of `root` if it has exactly one.
pub fn only_release(root: &Root) -> Result<String, ImageError> {
    let names = root.list("/lib/modules")?;
    let mut found: Vec<String> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    match found.pop() {
        Some(release) if found.is_empty() => Ok(release),
        None => Err(ImageError::Missing {
            what: "a kernel's modules",
            searched: vec!["/lib/modules".into()],
            root: root.directory().to_owned(),
            help: "install the kernel's package into the root, or check its path",
        }),
        Some(last) => {
            found.push(last);
            Err(ImageError::Kernels { root: root.directory().to_owned(), found })
        }
    }
}

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(path, bytes).and_then(|()| chmod(path, Mode::Data)).map_err(ImageError::file("writing", path))
}

/// Swaps the directories if `out` exists, so that whoever looks finds the old image or the new one.
fn put_in_place(new: &Path, out: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, new, CWD, out, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::NOENT) => fs::rename(new, out),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tree;
    use crate::tree::Node;

    #[test]
    fn digests_are_sha_256_and_the_same_in_the_manifest_of_a_tree() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), abc);
        let mut tree = Tree::default();
        tree.add("/f", Node::File(b"abc".to_vec(), Mode::Data)).unwrap();
        let kind = manifest::EntryKind::File { size: 3, sha256: abc.to_owned() };
        assert_eq!(tree.entries(), [manifest::Entry { path: "/f".to_owned(), kind }]);
    }

    #[test]
    fn an_image_is_replaced_as_a_whole_or_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        for (content, old) in [("first", None), ("second", Some("first"))] {
            let new = directory.path().join("new");
            fs::create_dir(&new).unwrap();
            fs::write(new.join(content), "").unwrap();
            put_in_place(&new, &out).unwrap();
            assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
            assert!(out.join(content).exists());
            assert_eq!(new.exists(), old.is_some());
            let _ = fs::remove_dir_all(&new);
        }
    }

    #[test]
    fn the_command_line_fits_the_domain_builder() {
        assert!(CMDLINE.len() < 1024 && !CMDLINE.contains("  "), "{CMDLINE}");
    }

    #[test]
    fn a_root_without_exactly_one_kernel_asks_for_a_choice() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let install =
            |release| fs::create_dir_all(directory.path().join("lib/modules").join(release)).unwrap();
        assert!(matches!(only_release(&root), Err(ImageError::Missing { .. })));
        install("6.1");
        assert_eq!(only_release(&root).unwrap(), "6.1");
        install("6.12");
        assert!(
            matches!(only_release(&root), Err(ImageError::Kernels { found, .. }) if found == ["6.1", "6.12"])
        );
    }
}
