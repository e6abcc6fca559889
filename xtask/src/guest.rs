// SPDX-License-Identifier: GPL-3.0-only
//! A real Linux guest as a disk: Debian's kernel for virtual machines, and a PID 1 that proves what it writes.
//!
//! A partition table, a FAT partition to boot from, an ext4 partition to write to. Each is made inside the file at its
//! offset, so nothing is mounted and no root rights are needed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::lab::{Root, Xen};
use crate::{build, cache, packages};

/// How the disk is made, as part of what it is made of: a change here makes a new one.
const RECIPE: &[u8] = include_bytes!("guest.rs");

/// Finds the active partition and starts what is there.
const BOOT_CODE: &str = "/usr/lib/syslinux/mbr/mbr.bin";

/// Linux unplugs the emulated disks of a Xen guest, and PID 1 sees the disk with a driver of its own only.
const DISK_DRIVER: &str = "xen-blkfront";

/// The whole configuration of the boot loader: a kernel by the name of its file, started at once.
const LOADER: &str = "default linux initrd=ramdisk console=hvc0 quiet stubguest.disk=/dev/xvda2\n";

const DISK: &str = "disk";
const SECTOR: u32 = 512;
const MIB: u32 = 1 << 20;

/// A part of the disk, in MiB.
struct Partition {
    start: u32,
    size: u32,
    kind: u8,
    active: bool,
}

/// Room for a kernel of twice today's size.
const BOOT: Partition = Partition { start: 1, size: 32, kind: 0x06, active: true };
/// Small, and large enough for a journal of its own.
const DATA: Partition = Partition { start: BOOT.start + BOOT.size, size: 16, kind: 0x83, active: false };

impl Partition {
    fn offset(&self) -> u32 {
        self.start * MIB
    }

    /// Its line in the partition table; the geometry is the one that says "ask for sectors by number".
    fn entry(&self) -> [u8; 16] {
        const GEOMETRY: [u8; 3] = [0xfe, 0xff, 0xff];
        let mut entry = [0; 16];
        entry[0] = if self.active { 0x80 } else { 0 };
        entry[1..4].copy_from_slice(&GEOMETRY);
        entry[4] = self.kind;
        entry[5..8].copy_from_slice(&GEOMETRY);
        entry[8..12].copy_from_slice(&(self.offset() / SECTOR).to_le_bytes());
        entry[12..].copy_from_slice(&(self.size * MIB / SECTOR).to_le_bytes());
        entry
    }
}

/// The chore: a disk of one's own at `file`, which must not be there yet.
pub(crate) fn chore(file: &Path) -> Result<ExitCode> {
    ensure!(!file.exists(), "{} is there already: it may be somebody's guest", file.display());
    let disk = linux_disk(Xen::default())?;
    fs::copy(&disk, file).with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// A disk that boots Linux; whoever runs it takes a copy.
pub(crate) fn linux_disk(xen: Xen) -> Result<PathBuf> {
    packages::ensure(&[packages::GUEST])?;
    let root = Root::ensure(xen)?;
    let release = root.cloud_release()?;
    let builder = build::stub_image()?;
    let init = build::inits()?.guest;
    let fill = |dir: &Path| {
        let ramdisk = dir.join("ramdisk");
        run(Command::new(&builder)
            .args(["ramdisk", "--module", DISK_DRIVER, "--kernel-release", &release, "--root"])
            .arg(root.tree())
            .arg("--init")
            .arg(&init)
            .arg("--out")
            .arg(&ramdisk))?;
        make(&dir.join(DISK), &root.tree().join(format!("boot/vmlinuz-{release}")), &ramdisk)
    };
    let dir = cache::dir(
        "guest",
        &[root.key().as_bytes(), release.as_bytes(), &build::bytes(&builder)?, &build::bytes(&init)?, RECIPE],
        |dir| fill(dir).context("cannot make the Linux guest's disk"),
    )?;
    Ok(dir.join(DISK))
}

fn make(disk: &Path, kernel: &Path, ramdisk: &Path) -> Result<()> {
    let file = File::create_new(disk)?;
    file.set_len(u64::from(DATA.offset() + DATA.size * MIB))?;
    file.write_all_at(&boot_record(&build::bytes(Path::new(BOOT_CODE))?)?, 0)?;
    let loader = disk.with_extension("cfg");
    fs::write(&loader, LOADER)?;

    let fat = format!("{}@@{}", disk.display(), BOOT.offset());
    let sectors = |mib: u32| (mib * MIB / SECTOR).to_string();
    // Clusters of 4 KiB make it a FAT16, and the loader's way through its table short.
    run(Command::new("mformat")
        .args(["-i", &fat, "-T", &sectors(BOOT.size), "-H", &sectors(BOOT.start)])
        .args(["-h", "255", "-s", "63", "-c", "8", "::"]))?;
    run(Command::new("syslinux").args(["--install", "--offset", &BOOT.offset().to_string()]).arg(disk))?;
    for (from, to) in [(kernel, "::linux"), (ramdisk, "::ramdisk"), (&loader, "::syslinux.cfg")] {
        run(Command::new("mcopy").args(["-i", &fat]).arg(from).arg(to))?;
    }
    // Inodes are written now: the guest's kernel would do it later, at a time of its own choice.
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", &format!("offset={},lazy_itable_init=0", DATA.offset())])
        .arg(disk)
        .arg(format!("{}M", DATA.size)))
}

/// The disk's first sector.
fn boot_record(code: &[u8]) -> Result<[u8; SECTOR as usize]> {
    const TABLE: usize = 446;
    // The last six bytes before the table are a disk's signature.
    ensure!(code.len() <= TABLE - 6, "{BOOT_CODE} is longer than a boot sector's code");
    let mut sector = [0; SECTOR as usize];
    sector[..code.len()].copy_from_slice(code);
    sector[TABLE..][..16].copy_from_slice(&BOOT.entry());
    sector[TABLE + 16..][..16].copy_from_slice(&DATA.entry());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

/// Runs a command that takes no time worth a step.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sector_has_code_and_two_partitions_side_by_side() {
        let sector = boot_record(&[0x90; 440]).unwrap();
        assert_eq!(sector[439..446], [0x90, 0, 0, 0, 0, 0, 0]);
        assert_eq!(sector[446..462], [0x80, 0xfe, 255, 255, 6, 0xfe, 255, 255, 0, 8, 0, 0, 0, 0, 1, 0]);
        assert_eq!(sector[462..478], [0, 0xfe, 255, 255, 0x83, 0xfe, 255, 255, 0, 8, 1, 0, 0, 0x80, 0, 0]);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert!(boot_record(&[0; 441]).is_err());
    }
}
