// SPDX-License-Identifier: GPL-3.0-only
//! Loop devices, with the kernel of this machine.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::NamedTempFile;
use xen_sys::{LoopDevice, LoopOptions};

const OPTIONS: LoopOptions = LoopOptions { read_only: false, direct_io: false, autoclear: true };

/// Says why when it is false.
fn can_attach() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let present = Path::new("/dev/loop-control").exists();
    if !(root && present) {
        eprintln!("skipped: needs root and /dev/loop-control");
    }
    root && present
}

fn backing() -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(&[0x5a; 64 * 512]).expect("room for it");
    file
}

#[test]
fn an_attached_file_is_what_the_status_says() {
    if !can_attach() {
        return;
    }
    let backing = backing();
    let device = LoopDevice::attach(backing.as_file(), &OPTIONS).expect("attached");
    let status = device.status().expect("a status").expect("attached");
    let metadata = backing.as_file().metadata().expect("metadata");
    assert_eq!((status.backing_device, status.backing_inode), (metadata.dev(), metadata.ino()));
    assert_eq!((status.offset, status.size_limit, status.read_only, status.autoclear), (0, 0, false, true));
    assert_eq!(device.major_minor().expect("a block device"), (7, device.number()));
    assert_eq!(device.path(), Path::new(&format!("/dev/loop{}", device.number())));
    assert!(LoopDevice::list().expect("sysfs").contains(&device.number()));
}

#[test]
fn a_file_is_shared_in_the_same_mode_only() {
    if !can_attach() {
        return;
    }
    let (backing, other) = (backing(), backing());
    let file = backing.as_file();
    assert!(LoopDevice::find_shared(file, false).expect("looked").is_none());
    let device = LoopDevice::attach(file, &OPTIONS).expect("attached");
    let shared = LoopDevice::find_shared(file, false).expect("looked").expect("found");
    assert_eq!(shared.number(), device.number());
    assert!(LoopDevice::find_shared(file, true).expect("looked").is_none());
    assert!(LoopDevice::find_shared(other.as_file(), false).expect("looked").is_none());
}

#[test]
fn a_read_only_file_is_attached_read_only() {
    if !can_attach() {
        return;
    }
    let backing = backing();
    let file = File::open(backing.path()).expect("opened");
    let options = LoopOptions { read_only: true, ..OPTIONS };
    let device = LoopDevice::attach(&file, &options).expect("attached");
    assert!(device.status().expect("a status").expect("attached").read_only);
    let shared = LoopDevice::find_shared(&file, true).expect("looked").expect("found");
    assert_eq!(shared.number(), device.number());
}

#[test]
fn autoclear_detaches_with_the_last_user() {
    if !can_attach() {
        return;
    }
    let backing = backing();
    let device = LoopDevice::attach(backing.as_file(), &OPTIONS).expect("attached");
    let second = LoopDevice::open(device.number()).expect("opened");
    drop(device);
    assert!(second.status().expect("a status").is_some());
    drop(second);
    assert!(LoopDevice::find_shared(backing.as_file(), false).expect("looked").is_none());
}

#[test]
fn a_number_that_is_used_again_has_another_sequence() {
    if !can_attach() {
        return;
    }
    let backing = backing();
    let attach = || LoopDevice::attach(backing.as_file(), &OPTIONS).expect("attached");
    let sequence = |device: &LoopDevice| device.status().expect("a status").expect("attached").sequence;
    let (first, number) = {
        let device = attach();
        assert_eq!(
            LoopDevice::status_of(device.number()).expect("looked"),
            device.status().expect("a status")
        );
        (sequence(&device), device.number())
    };
    let again = attach();
    if sequence(&again).is_some() {
        assert_ne!((again.number(), sequence(&again)), (number, first));
    }
    assert_eq!(LoopDevice::status_of(u32::MAX >> 12).expect("looked"), None);
}

#[test]
fn a_file_that_cannot_be_attached_is_an_error() {
    if !can_attach() {
        return;
    }
    let directory = File::open("/").expect("opened");
    let error = LoopDevice::attach(&directory, &OPTIONS).expect_err("a directory");
    assert!(error.errno().is_some(), "{error}");
}
