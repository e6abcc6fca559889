// SPDX-License-Identifier: GPL-3.0-only
//! dom0's root filesystem, as a directory (the stubdomain's QEMU and kernel come from it) and as a disk.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Xen;
use crate::{cache, packages, step};

/// The first thing dom0 runs: the rest comes with each boot, so that a change there makes no new root.
const FIRST_INIT: &str = include_str!("first-init.sh");

/// What dom0 has beside a minimal Debian and Xen. The cloud kernel is not for dom0: stubdomains and guests get it.
const PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "linux-image-cloud-amd64",
    "xenstore-utils",
    "qemu-system-xen",
    "seabios",
    "udev",
    "kmod",
    "iproute2",
    "procps",
    "dropbear-bin",
];

/// What makes dom0's ramdisk quick: it brings and loads the drivers of its root only, and starts no udev.
const RAMDISK_MODULES: &str = "ahci\nsd_mod\ncrc32c_generic\next4\n";
const RAMDISK_INIT: &str = include_str!("ramdisk-init.sh");
const RAMDISK_HOOK: &str = include_str!("ramdisk-hook.sh");

/// How the release of Debian's kernel for virtual machines ends; it is packed for speed, not for size.
const CLOUD: &str = "-cloud-amd64";

/// A dom0's root filesystem in the cache.
pub(crate) struct Root {
    dir: PathBuf,
}

impl Root {
    /// Finds it, or makes it (one to three minutes).
    pub(crate) fn ensure(xen: Xen) -> Result<Self> {
        packages::ensure(&[packages::LAB])?;
        let release = xen.release();
        let mut list = PACKAGES.join(",");
        list.push_str(&format!(",xen-hypervisor-{release}-amd64,xen-utils-{release}"));
        let name = format!("dom0-{release}");
        let dir = cache::dir(
            &name,
            &[list.as_bytes(), RAMDISK_MODULES.as_bytes(), FIRST_INIT.as_bytes()],
            |dir| make(dir, xen, &list).context("cannot make dom0's root filesystem"),
        )?;
        Ok(Self { dir })
    }

    /// The root filesystem as a directory.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The root filesystem as an ext4 disk labelled `lab-root`.
    pub(crate) fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// Xen itself, unpacked for multiboot.
    pub(crate) fn xen(&self) -> PathBuf {
        self.dir.join("xen")
    }

    /// dom0's kernel.
    pub(crate) fn kernel(&self) -> Result<PathBuf> {
        newest(&self.tree().join("boot"), "vmlinuz-", |name| !name.ends_with(CLOUD))
    }

    /// dom0's ramdisk.
    pub(crate) fn initrd(&self) -> Result<PathBuf> {
        newest(&self.tree().join("boot"), "initrd.img-", |name| !name.ends_with(CLOUD))
    }

    /// The release of the kernel for stubdomains and guests.
    pub(crate) fn cloud_release(&self) -> Result<String> {
        let prefix = "vmlinuz-";
        let kernel = newest(&self.tree().join("boot"), prefix, |name| name.ends_with(CLOUD))?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(name.trim_start_matches(prefix).to_owned())
    }

    /// What was made when: goes into names of things made from it.
    pub(crate) fn key(&self) -> String {
        self.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// What mmdebstrap runs before it installs the kernels, whose installation makes the ramdisks.
fn ramdisk(dir: &Path) -> Result<String> {
    let mut command = "set -e".to_owned();
    for (name, text, mode, to) in [
        ("lab", "MODULES=list\n", 644, "etc/initramfs-tools/conf.d"),
        ("lab", RAMDISK_MODULES, 644, "usr/share/initramfs-tools/modules.d"),
        ("lab", RAMDISK_HOOK, 755, "etc/initramfs-tools/hooks"),
        ("init", RAMDISK_INIT, 755, "etc/initramfs-tools/lab"),
    ] {
        let file = dir.join("ramdisk").join(to).join(name);
        fs::create_dir_all(file.parent().unwrap_or(dir))?;
        fs::write(&file, text)?;
        let _ = write!(command, "\ninstall -D -m {mode} '{}' \"$1/{to}/{name}\"", file.display());
    }
    Ok(command)
}

fn make(dir: &Path, xen: Xen, list: &str) -> Result<()> {
    let tar = dir.join("root.tar");
    let tree = dir.join("root");
    let ramdisk = ramdisk(dir)?;
    step::quiet(
        &format!("dom0 of Debian {} with Xen {}", xen.debian(), xen.release()),
        Command::new("mmdebstrap")
            .args(["--variant=minbase", &format!("--include={list}"), &format!("--essential-hook={ramdisk}")])
            .arg(xen.debian())
            .arg(&tar),
    )?;
    fs::create_dir(&tree)?;
    step::quiet("unpack it", Command::new("tar").arg("-C").arg(&tree).arg("-xf").arg(&tar))?;
    fs::remove_file(&tar)?;
    fs::remove_dir_all(dir.join("ramdisk"))?;
    let init = tree.join("lab-init");
    fs::write(&init, FIRST_INIT)?;
    set_executable(&init)?;
    fs::create_dir_all(tree.join("lab"))?;
    let packed = newest(&tree.join("boot"), &format!("xen-{}-amd64.gz", xen.release()), |_| true)?;
    let unpacked = Command::new("gunzip").arg("-c").arg(&packed).output()?;
    fs::write(dir.join("xen"), unpacked.stdout)?;
    super::disks::ext4(&dir.join("disk"), "lab-root", &tree, 2560)
}

pub(super) fn set_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// The last by name of what `dir` has that begins with `prefix`.
pub(crate) fn newest(dir: &Path, prefix: &str, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix) && wanted(&name)
        })
        .collect();
    found.sort();
    found.pop().with_context(|| format!("no {prefix}* in {}", dir.display()))
}
