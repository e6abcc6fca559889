// SPDX-License-Identifier: GPL-3.0-only
//! Linux loop devices, which make a block device of a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::call;
use crate::error::{Error, Result};
use crate::raw::linux::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, LO_FLAGS_READ_ONLY, LOOP_CONFIGURE, LOOP_CTL_GET_FREE,
    LOOP_GET_STATUS64, loop_config, loop_info64,
};

const CONTROL: &str = "/dev/loop-control";

/// Someone else can take the free device that we were told of; this often in a row, something else is wrong.
const ATTEMPTS: u32 = 32;

/// How a file is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopOptions {
    /// Nothing may be written.
    pub read_only: bool,
    /// Go around the page cache, where the file system can.
    pub direct_io: bool,
    /// Detach when the last user closes the device.
    pub autoclear: bool,
}

/// What a loop device is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopStatus {
    /// The device of the file system that the file is on.
    pub backing_device: u64,
    /// The file's inode there.
    pub backing_inode: u64,
    /// Where in the file the device starts.
    pub offset: u64,
    /// How much of the file it covers, 0 for all.
    pub size_limit: u64,
    /// Nothing may be written.
    pub read_only: bool,
    /// It goes around the page cache.
    pub direct_io: bool,
    /// It detaches when the last user closes it.
    pub autoclear: bool,
    /// No other attachment of this boot has the same; none before Linux 5.15.
    pub sequence: Option<u64>,
}

impl LoopStatus {
    fn from_raw(info: &loop_info64, sequence: Option<u64>) -> Self {
        let is = |flag| info.lo_flags & flag != 0;
        Self {
            backing_device: info.lo_device,
            backing_inode: info.lo_inode,
            offset: info.lo_offset,
            size_limit: info.lo_sizelimit,
            read_only: is(LO_FLAGS_READ_ONLY),
            direct_io: is(LO_FLAGS_DIRECT_IO),
            autoclear: is(LO_FLAGS_AUTOCLEAR),
            sequence,
        }
    }

    /// Whether it is all of this file.
    fn covers(&self, backing: &fs::Metadata) -> bool {
        (self.backing_device, self.backing_inode) == (backing.dev(), backing.ino())
            && (self.offset, self.size_limit) == (0, 0)
    }
}

/// An open loop device. Dropping it closes it only; what is attached with `autoclear` goes with its last user.
#[derive(Debug)]
pub struct LoopDevice {
    file: File,
    number: u32,
}

impl LoopDevice {
    /// Attaches a file to a free device.
    pub fn attach(backing: &File, options: &LoopOptions) -> Result<Self> {
        let control = open_node(Path::new(CONTROL), true)?;
        let mut attempt = 1;
        loop {
            // SAFETY: the request takes no argument and returns a number.
            let number = call::number("LOOP_CTL_GET_FREE", || unsafe {
                libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE)
            })?;
            let device = Self::open_for(number, !options.read_only)?;
            match device.configure(backing, options) {
                Err(error) if error.errno() == Some(libc::EBUSY) && attempt < ATTEMPTS => attempt += 1,
                result => return result.map(|()| device),
            }
        }
    }

    /// What is attached to a device of this number, `None` when nothing is or there is no such device.
    pub fn status_of(number: u32) -> Result<Option<LoopStatus>> {
        match Self::open_for(number, false) {
            Ok(device) => device.status(),
            // One that is being detached can no longer be opened.
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENXIO | libc::ENODEV)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a device, attached or not.
    pub fn open(number: u32) -> Result<Self> {
        Self::open_for(number, false)
    }

    /// The numbers of all devices there are.
    pub fn list() -> Result<Vec<u32>> {
        let entries = fs::read_dir("/sys/block").map_err(|source| failed("read /sys/block", source))?;
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("loop")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A device that all of this file is attached to in this mode already.
    pub fn find_shared(backing: &File, read_only: bool) -> Result<Option<Self>> {
        let backing = backing.metadata().map_err(|source| failed("fstat", source))?;
        let fits = |status: LoopStatus| status.covers(&backing) && status.read_only == read_only;
        for number in Self::list()? {
            // It may go away at any time; once it is open and still fits, it stays.
            let Ok(device) = Self::open_for(number, false) else { continue };
            if !device.status()?.is_some_and(fits) {
                continue;
            }
            if read_only {
                return Ok(Some(device));
            }
            let Ok(writable) = Self::open_for(number, true) else { continue };
            if writable.status()?.is_some_and(fits) {
                return Ok(Some(writable));
            }
        }
        Ok(None)
    }

    /// What is attached, `None` when nothing is.
    pub fn status(&self) -> Result<Option<LoopStatus>> {
        let mut info = loop_info64::default();
        // SAFETY: the request fills the structure, whose layout is the kernel's.
        let result = call::status("LOOP_GET_STATUS64", || unsafe {
            libc::ioctl(self.file.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info)
        });
        match result {
            Ok(()) => Ok(Some(LoopStatus::from_raw(&info, self.sequence()))),
            Err(error) if error.errno() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sequence(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/sys/block/loop{}/diskseq", self.number)).ok()?;
        text.trim().parse().ok()
    }

    /// Its number, as in /dev/loop**7**.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its node.
    pub fn path(&self) -> PathBuf {
        node(self.number)
    }

    /// Its device number.
    pub fn major_minor(&self) -> Result<(u32, u32)> {
        let device = self.file.metadata().map_err(|source| failed("fstat", source))?.rdev();
        Ok((libc::major(device), libc::minor(device)))
    }

    fn open_for(number: u32, writing: bool) -> Result<Self> {
        let path = node(number);
        let file = open_node(&path, writing)?;
        let is_device = file.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
        if !is_device {
            return Err(failed("open loop device", io::ErrorKind::InvalidInput.into()));
        }
        Ok(Self { file, number })
    }

    fn configure(&self, backing: &File, options: &LoopOptions) -> Result<()> {
        let mut config = loop_config { fd: backing.as_raw_fd().cast_unsigned(), ..Default::default() };
        for (wanted, flag) in [
            (options.read_only, LO_FLAGS_READ_ONLY),
            (options.direct_io, LO_FLAGS_DIRECT_IO),
            (options.autoclear, LO_FLAGS_AUTOCLEAR),
        ] {
            if wanted {
                config.info.lo_flags |= flag;
            }
        }
        // SAFETY: the request reads the structure, whose layout is the kernel's; the file is open, and the kernel keeps
        // a reference of its own.
        call::status("LOOP_CONFIGURE", || unsafe {
            libc::ioctl(self.file.as_raw_fd(), LOOP_CONFIGURE, &raw const config)
        })
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

fn open_node(path: &Path, writing: bool) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(writing)
        .open(path)
        .map_err(|source| failed("open loop device", source))
}

fn failed(call: &'static str, source: io::Error) -> Error {
    Error::Call { call, source, detail: None }
}
