// SPDX-License-Identifier: GPL-3.0-only
//! Block devices for disks: a loop device over a file, or the block device that the path is.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use xen_sys::{LoopDevice, LoopOptions, LoopStatus};

use super::xen::{fail, fail_io};
use super::{BlockDevice, DiskKind, HostError, LoopFile};
use crate::config::DiskMode;

/// A block device over a file, shared with whoever has the same file in the same mode.
pub(super) fn attach(path: &Path, mode: DiskMode) -> Result<BlockDevice, HostError> {
    let call = || format!("attach of {}", path.display());
    let (file, data) = open(path, mode)?;
    if data.file_type().is_block_device() {
        let (major, minor) = (rustix::fs::major(data.rdev()), rustix::fs::minor(data.rdev()));
        return Ok(BlockDevice { major, minor, file: None, hold: Arc::new(file) });
    }
    let read_only = mode == DiskMode::ReadOnly;
    let device = match shared_loop(&file, path, mode)? {
        Some(device) => device,
        None => {
            let options = LoopOptions { read_only, direct_io: false, autoclear: true };
            LoopDevice::attach(&file, &options).map_err(|error| fail(call(), error))?
        }
    };
    let (major, minor) = device.major_minor().map_err(|error| fail(call(), error))?;
    // What is only read serves other pairs as well, and goes with the last of them.
    let status = if read_only { None } else { device.status().map_err(|error| fail(call(), error))? };
    let file = status.map(|status| loop_file(device.number(), &status));
    Ok(BlockDevice { major, minor, file, hold: Arc::new(device) })
}

fn loop_file(number: u32, status: &LoopStatus) -> LoopFile {
    let LoopStatus { backing_device: device, backing_inode: inode, sequence, .. } = *status;
    LoopFile { number, sequence, device, inode }
}

/// Whether a loop device still serves this file.
pub(super) fn serves(file: &LoopFile) -> Result<bool, HostError> {
    let status = LoopDevice::status_of(file.number)
        .map_err(|error| fail(format!("look at loop device {}", file.number), error))?;
    Ok(status.is_some_and(|status| loop_file(file.number, &status) == *file))
}

/// Whether [`attach`] would succeed; what it opens and locks for that is free again when it returns.
pub(super) fn probe(path: &Path, mode: DiskMode) -> Result<DiskKind, HostError> {
    let (file, data) = open(path, mode)?;
    if data.file_type().is_block_device() {
        return Ok(DiskKind::BlockDevice);
    }
    shared_loop(&file, path, mode)?;
    Ok(DiskKind::File)
}

/// Opens what a disk is made of; a file that is to be written is locked as long as it is open.
fn open(path: &Path, mode: DiskMode) -> Result<(File, fs::Metadata), HostError> {
    let failed = |error| fail_io(format!("attach of {}", path.display()), error);
    let writing = mode == DiskMode::ReadWrite;
    let file = File::options().read(true).write(writing).open(path).map_err(failed)?;
    let data = file.metadata().map_err(failed)?;
    if writing && !data.file_type().is_block_device() {
        lock(&file).map_err(|_| failed(std::io::Error::other("another guest writes it already")))?;
    }
    Ok((file, data))
}

/// A loop device that can be shared; one that somebody writes through cannot.
fn shared_loop(file: &File, path: &Path, mode: DiskMode) -> Result<Option<LoopDevice>, HostError> {
    let call = || format!("attach of {}", path.display());
    let read_only = mode == DiskMode::ReadOnly;
    let shared = LoopDevice::find_shared(file, read_only).map_err(|error| fail(call(), error))?;
    match shared {
        Some(device) if !read_only => {
            let busy = format!("{} writes it already", device.path().display());
            Err(fail_io(call(), std::io::Error::other(busy)))
        }
        shared => Ok(shared),
    }
}

/// Locks a file for one writer. A loop device keeps the open file, so the lock lives as long as the loop device.
///
/// A loop device says that it is free a moment before the kernel closes its file: a guest that is started again meets its own
/// predecessor here, and waits it out.
fn lock(file: &File) -> std::io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_keeps_nothing_and_sees_who_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        fs::write(&path, [0; 512]).expect("written");
        for _ in 0..2 {
            assert_eq!(probe(&path, DiskMode::ReadWrite).expect("free"), DiskKind::File);
        }
        let writer = open(&path, DiskMode::ReadWrite).expect("free");
        let error = probe(&path, DiskMode::ReadWrite).expect_err("it has a writer");
        assert!(error.source.to_string().contains("writes it already"), "{error:?}");
        probe(&path, DiskMode::ReadOnly).expect("readers are no writers");
        drop(writer);
        probe(&path, DiskMode::ReadWrite).expect("free again");
        assert!(probe(&directory.path().join("none"), DiskMode::ReadOnly).is_err());
    }
}
