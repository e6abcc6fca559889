// SPDX-License-Identifier: GPL-3.0-only
//! A whole image directory, put in place in one step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proto::PROTOCOL;
use proto::manifest::{self, Manifest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};

use crate::contents::Contents;
use crate::format::Format;
use crate::kernel::{self, Kernel};
use crate::packages::Packages;
use crate::ramdisk::{Packing, Ramdisk, Wanted};
use crate::rootfs::Rootfs;
use crate::tree::{Mode, chmod};
use crate::{ImageError, Root, Tree, debug_shell, ramdisk, rootfs};

/// What QEMU and PID 1 open, in the order of loading, the disks first, and what the guest's network cards need last.
///
/// Kernels from 2026 on restrict privcmd in the stubdomain to what QEMU cannot work with, unless told otherwise.
const MODULES: [(&str, &str); 8] = [
    ("xen-blkfront", ""),
    ("xen-evtchn", ""),
    ("xen-gntdev", ""),
    ("xen-gntalloc", ""),
    ("xen-privcmd", "unrestricted=1"),
    ("xen-netfront", ""),
    ("tun", ""),
    ("bridge", ""),
];

/// What every kernel needs: its console on hvc0; a panic that ends the domain as a crash instead of a reboot; privcmd for
/// QEMU when it is built in; and no tests of ciphers that nobody uses, a tenth of a distribution's kernel's boot.
const CMDLINE: &str =
    "console=hvc0 quiet panic=-1 xen_legacy_crash xen_privcmd.unrestricted=1 cryptomgr.notests";

/// The memory that an image needs, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    /// The smallest that served guests each time in `cargo xtask bench image` (88 and 44), and a little more.
    least: u32,
    /// With this much QEMU's pages stay in memory; with the smallest a start takes two to three times as long.
    usual: u32,
}

/// With a distribution's kernel.
const MODULAR: Memory = Memory { least: 96, usual: 128 };
/// With one that has only what a stubdomain needs.
const MINIMAL: Memory = Memory { least: 48, usual: 80 };
const MIB: usize = 1 << 20;

/// What to build an image from, and where.
#[derive(Debug, Clone)]
pub struct Build {
    /// The distribution's root directory.
    pub root: PathBuf,
    /// PID 1, a static program.
    pub init: PathBuf,
    /// The image directory.
    pub out: PathBuf,
    /// The kernel.
    pub kernel: kernel::Wanted,
    /// The form of the root filesystem.
    pub format: Format,
    /// What it holds beyond QEMU.
    pub contents: Contents,
    /// A shell on the console of every stubdomain that starts from it.
    pub debug_shell: bool,
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// What it is.
    pub manifest: Manifest,
    /// Files that QEMU reads for some devices, and that it does not have.
    pub absent: Vec<&'static str>,
}

impl Build {
    /// Builds the image; the directory `out` is replaced as a whole or not touched.
    pub fn run(&self) -> Result<Built, ImageError> {
        let root = Root::new(&self.root);
        let packages = Packages::read(&root)?;
        let kernel = self.kernel.take(&root, &packages)?;
        let mut contents = self.contents.clone();
        if self.debug_shell {
            debug_shell::add(&mut contents, &root)?;
        }
        let rootfs = rootfs::collect(&root, &self.init, &contents)?;
        let parent =
            self.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(ImageError::file("making", parent))?;
        let staging = tempfile::Builder::new().prefix(".stub-image-").tempdir_in(parent);
        let staging = staging.map_err(ImageError::file("making a directory in", parent))?;
        let directory = staging.path().join("image");
        fs::create_dir(&directory)
            .and_then(|()| chmod(&directory, Mode::Program))
            .map_err(ImageError::file("making", &directory))?;
        let ramdisk = self.ramdisk(&root, &kernel, &rootfs.tree)?;
        let digests = self.write(&kernel, &rootfs.tree, ramdisk.as_ref(), &directory)?;
        // What a stubdomain has as its root; a ramdisk that only leads there is gone by then.
        let whole = ramdisk.filter(|_| self.format == Format::Ramdisk);
        let manifest =
            self.manifest(kernel, whole.as_ref().unwrap_or(&rootfs.tree), &rootfs, &packages, digests);
        write(&directory.join(manifest::FILE), &manifest.to_json())?;
        put_in_place(&directory, &self.out).map_err(ImageError::file("replacing", &self.out))?;
        Ok(Built { manifest, absent: rootfs.absent })
    }

    /// Writes everything but the manifest, and gives the digests.
    fn write(
        &self,
        kernel: &Kernel,
        rootfs: &Tree,
        ramdisk: Option<&Tree>,
        directory: &Path,
    ) -> Result<BTreeMap<String, String>, ImageError> {
        let mut digests = BTreeMap::new();
        let mut files = vec![(manifest::KERNEL, kernel.vmlinux.elf.clone())];
        if let Some(ramdisk) = ramdisk {
            files.push((manifest::RAMDISK, ramdisk::pack(ramdisk, Packing::Zstd)?));
        }
        for (name, bytes) in files {
            digests.insert(name.to_owned(), digest(&bytes));
            write(&directory.join(name), &bytes)?;
        }
        if self.format != Format::Ramdisk {
            let path = directory.join(manifest::ROOTFS);
            self.format.write(rootfs, &path)?;
            chmod(&path, Mode::Data).map_err(ImageError::file("changing the mode of", &path))?;
            let bytes = fs::read(&path).map_err(ImageError::file("reading", &path))?;
            digests.insert(manifest::ROOTFS.to_owned(), digest(&bytes));
        }
        Ok(digests)
    }

    /// The ramdisk, nothing for a kernel that reaches its root filesystem without.
    fn ramdisk(&self, root: &Root, kernel: &Kernel, rootfs: &Tree) -> Result<Option<Tree>, ImageError> {
        let whole = self.format == Format::Ramdisk;
        let loader = kernel.modular.then(|| {
            let filesystem = self.format.module().map(|name| (name, ""));
            let modules = MODULES.into_iter().chain(filesystem);
            Ramdisk {
                init: self.init.clone(),
                modules: modules
                    .map(|(name, parameters)| Wanted { name: name.into(), parameters: parameters.into() })
                    .collect(),
                files: Vec::new(),
                rootfs: Some(self.format.name()),
            }
        });
        let tree = loader.map(|loader| loader.tree(root, &kernel.vmlinux.release)).transpose()?;
        if !whole {
            return Ok(tree);
        }
        let mut all = rootfs.clone();
        all.merge(tree.unwrap_or_default())?;
        Ok(Some(all))
    }

    fn manifest(
        &self,
        kernel: Kernel,
        contents: &Tree,
        rootfs: &Rootfs,
        packages: &Packages,
        digests: BTreeMap<String, String>,
    ) -> Manifest {
        let memory = memory(kernel.modular, self.format, contents.size());
        let contents = contents.entries(packages);
        let named = contents.iter().filter_map(|entry| entry.package.as_ref());
        let named = named.chain(kernel.origin.package.as_ref());
        let version = |package: &String| Some((package.clone(), packages.version(package)?.to_owned()));
        Manifest {
            protocol: PROTOCOL,
            kind: manifest::Kind::Linux,
            arguments: manifest::Arguments::DmArgv,
            xen: rootfs.xen.clone(),
            qemu: rootfs.qemu.clone(),
            kernel: kernel.vmlinux.release,
            rootfs: self.format.name().to_owned(),
            cmdline: cmdline(self.format, self.debug_shell),
            debug_shell: self.debug_shell,
            min_memory_mib: memory.least,
            usual_memory_mib: Some(memory.usual),
            digests,
            packages: named.filter_map(version).collect(),
            kernel_origin: Some(kernel.origin),
            contents,
        }
    }
}

/// With the root filesystem for a kernel that needs no ramdisk.
fn cmdline(format: Format, debug_shell: bool) -> String {
    let mut line = CMDLINE.to_owned();
    if format != Format::Ramdisk {
        let (vdev, name) = (manifest::ROOTFS_VDEV, format.name());
        line += &format!(" root=/dev/{vdev} rootfstype={name} ro init={}", ramdisk::INIT);
    }
    if debug_shell {
        line += &format!(" {}", debug_shell::WORD);
    }
    line
}

/// A ramdisk's files stay in memory, where they may take half of it (tmpfs), beside their packed form while it is unpacked.
fn memory(modular: bool, format: Format, size: usize) -> Memory {
    let Memory { least, usual } = if modular { MODULAR } else { MINIMAL };
    let size = if format == Format::Ramdisk { size * 2 + size / 4 } else { 0 };
    let files = u32::try_from(size.div_ceil(MIB)).unwrap_or(u32::MAX / 2);
    Memory { least: least + files, usual: usual + files }
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
    use crate::tree::Node;

    #[test]
    fn digests_are_sha_256_and_the_same_in_the_manifest_of_a_tree() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), abc);
        let mut tree = Tree::default();
        tree.add("/f", Node::File(b"abc".to_vec(), Mode::Data)).unwrap();
        let kind = manifest::EntryKind::File { size: 3, sha256: abc.to_owned() };
        let entries = tree.entries(&Packages::default());
        let path = "/f".to_owned();
        assert_eq!(entries, [manifest::Entry { path, kind, needed_by: Vec::new(), package: None }]);
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
    fn the_command_line_fits_the_domain_builder_and_names_the_filesystem() {
        for format in [Format::Erofs, Format::Squashfs, Format::Ext4] {
            let line = cmdline(format, false);
            assert!(line.len() < 1024 && !line.contains("  "), "{line}");
            assert!(line.contains(&format!(" root=/dev/xvdz rootfstype={} ro ", format.name())), "{line}");
        }
        assert!(!cmdline(Format::Ramdisk, false).contains("root="));
        assert!(cmdline(Format::Ramdisk, true).ends_with(" stub.debug-shell"));
    }

    #[test]
    fn a_ramdisk_needs_the_memory_that_its_files_are_in_beside_the_kernels() {
        assert_eq!(memory(true, Format::Erofs, 40 * MIB), MODULAR);
        let Memory { least, usual } = memory(false, Format::Ramdisk, 40 * MIB);
        assert_eq!((least, usual), (MINIMAL.least + 90, MINIMAL.usual + 90));
    }
}
