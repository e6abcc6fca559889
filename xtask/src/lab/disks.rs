// SPDX-License-Identifier: GPL-3.0-only
//! The disks of one boot: what is put into dom0, and the empty one that brings its logs out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Lab;
use super::root::set_executable;

const INIT: &str = include_str!("init.sh");
const SESSION: &str = include_str!("session.sh");

pub(super) struct Disks {
    pub(super) put: PathBuf,
    pub(super) out: PathBuf,
}

impl Disks {
    pub(super) const PUT: &str = "put.disk";
    pub(super) const OUT: &str = "out.disk";

    /// Makes them in `work`, with all that `lab` puts in and the script it runs.
    pub(super) fn make(lab: &Lab, work: &Path, script: &str) -> Result<Self> {
        let tree = work.join("put");
        fs::create_dir_all(tree.join("put"))?;
        fs::create_dir_all(tree.join("bin"))?;
        fs::write(tree.join("init"), INIT)?;
        set_executable(&tree.join("init"))?;
        fs::write(tree.join("session"), SESSION)?;
        fs::write(tree.join("script"), script)?;
        let env = format!(
            "LAB_XEN={}\nLAB_XENSTORED=xenstored\nLAB_DEADLINE={}\n",
            lab.xen.release(),
            lab.deadline
        );
        fs::write(tree.join("env"), env)?;
        for file in &lab.bin {
            copy(file, &tree.join("bin"))?;
        }
        if let Some(image) = &lab.image {
            copy(image, &tree.join("image"))?;
        }
        for (path, name) in &lab.put {
            copy(path, &tree.join("put").join(name))?;
        }
        let disks = Self { put: work.join(Self::PUT), out: work.join(Self::OUT) };
        // Room for what tests write beside what is put in.
        ext4(&disks.put, "lab-put", &tree, size_mib(&tree)? * 5 / 4 + 512)?;
        fs::remove_dir_all(&tree)?;
        let empty = work.join("empty");
        fs::create_dir(&empty)?;
        ext4(&disks.out, "lab-out", &empty, 256)?;
        fs::remove_dir(&empty)?;
        Ok(disks)
    }
}

/// Makes an ext4 disk image from a directory without mounting anything.
pub(super) fn ext4(disk: &Path, label: &str, tree: &Path, mib: u64) -> Result<()> {
    let out = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-L", label, "-d"])
        .arg(tree)
        .arg(disk)
        .arg(format!("{mib}M"))
        .output()
        .context("cannot run mke2fs")?;
    if !out.status.success() {
        bail!("mke2fs {}: {}", disk.display(), String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

fn size_mib(tree: &Path) -> Result<u64> {
    let out = Command::new("du").args(["-sm", "--apparent-size"]).arg(tree).output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).context("du gave no number")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let out = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).output()?;
    if !out.status.success() {
        bail!("cannot put {} into the lab: {}", from.display(), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// Copies the logs out of the out-disk; a lab that was ended by force may have left none.
pub(super) fn keep(disk: &Path, logs: &Path) {
    let _ = Command::new("debugfs")
        .arg("-R")
        .arg(format!("rdump / {}", logs.display()))
        .arg(disk)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = fs::remove_dir(logs.join("lost+found"));
}
