// SPDX-License-Identifier: GPL-3.0-only
//! Proves that a disk keeps what is written to it, and counts the boots on it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use nix::mount::{MsFlags, umount};
use stub_init::mounts;

/// Where the disk is mounted, and stays mounted.
pub(crate) const MOUNT_POINT: &str = "/disk";
const SIZE: usize = 4096;

/// What was proven.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// How many bytes were written and came back.
    pub(crate) bytes: usize,
    /// Which boot on this disk this is, from 1.
    pub(crate) boot: u64,
}

/// Writes to the disk, mounts it afresh, and reads back.
pub(crate) fn prove(node: &Path) -> anyhow::Result<Proof> {
    let directory = Path::new(MOUNT_POINT);
    fs::create_dir_all(directory).context("making the mount point")?;
    let mount = || mounts::device(node, directory, "ext4", MsFlags::empty());
    mount()?;
    let proof = write(directory)?;
    nix::unistd::sync();
    umount(directory).context("unmounting")?;
    // What is read after this comes from the disk.
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping caches")?;
    mount()?;
    check(directory, &proof)?;
    Ok(proof)
}

fn write(directory: &Path) -> anyhow::Result<Proof> {
    let counter = directory.join("boots");
    let before = match fs::read_to_string(&counter) {
        Ok(text) => text.trim().parse::<u64>().context("the count of boots is no number")?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).context("reading the count of boots"),
    };
    let boot = before + 1;
    let text = unique(boot);
    fs::write(&counter, boot.to_string()).context("writing the count of boots")?;
    fs::write(directory.join("proof"), &text).context("writing the proof")?;
    Ok(Proof { bytes: text.len(), boot })
}

fn check(directory: &Path, proof: &Proof) -> anyhow::Result<()> {
    let text = fs::read_to_string(directory.join("proof")).context("reading the proof")?;
    ensure!(text == unique(proof.boot), "the proof came back changed");
    let boots = fs::read_to_string(directory.join("boots")).context("reading the count of boots")?;
    ensure!(boots == proof.boot.to_string(), "the count of boots came back as '{boots}'");
    Ok(())
}

/// A text that only this boot on this disk writes.
fn unique(boot: u64) -> String {
    format!("boot {boot} was here; ").repeat(SIZE).chars().take(SIZE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_counts_and_writes_its_own_text() {
        let directory = tempfile::tempdir().unwrap();
        for boot in 1..=2 {
            let proof = write(directory.path()).unwrap();
            assert_eq!(proof, Proof { bytes: SIZE, boot });
            check(directory.path(), &proof).unwrap();
        }
        fs::write(directory.path().join("proof"), unique(1)).unwrap();
        assert!(check(directory.path(), &Proof { bytes: SIZE, boot: 2 }).is_err());
    }
}
