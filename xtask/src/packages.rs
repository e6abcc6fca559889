// SPDX-License-Identifier: GPL-3.0-only
//! Debian packages that the chores need on this machine.

use std::process::Command;

use anyhow::{Result, bail};

use crate::step;

/// What compiling the workspace needs.
pub(crate) const BUILD: &[&str] = &["gcc", "libc6-dev", "libxen-dev", "libclang-dev", "pkg-config"];
/// What making and booting the lab needs.
pub(crate) const LAB: &[&str] = &["qemu-system-x86", "mmdebstrap", "e2fsprogs"];
/// What the way into a dom0 that stays up needs.
pub(crate) const SSH: &[&str] = &["openssh-client"];
/// What looking at shell scripts needs.
pub(crate) const SHELL: &[&str] = &["shellcheck"];
/// What making the stubdomain image needs.
pub(crate) const IMAGE: &[&str] = &["erofs-utils"];
/// What the unit tests compare with where it is there, and the tools of every form that an image has.
pub(crate) const UNIT: &[&str] = &["dracut-core", "e2fsprogs", "erofs-utils", "musl-tools", "squashfs-tools"];
/// What building a kernel needs.
pub(crate) const KERNEL: &[&str] = &["make", "flex", "bison", "bc", "libelf-dev", "libssl-dev", "xz-utils"];
/// What making the Linux guest's disk needs.
pub(crate) const GUEST: &[&str] = &["syslinux", "syslinux-common", "mtools"];

/// Installs what is missing of `wanted`, or says how to.
pub(crate) fn ensure(wanted: &[&[&str]]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().flat_map(|set| set.iter()).copied().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() {
        bail!("these packages are missing; run: apt-get install --no-install-recommends {list}");
    }
    step::quiet("package lists", Command::new("apt-get").args(["-q", "update"]))?;
    step::quiet(
        &format!("install {list}"),
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y", "--no-install-recommends", "install"])
            .args(&missing),
    )
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output()
        .is_ok_and(|out| out.stdout.starts_with(b"installed"))
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}
