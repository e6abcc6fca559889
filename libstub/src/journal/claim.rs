// SPDX-License-Identifier: GPL-3.0-only
//! The right to work on a name: one operation at a time, over all processes of the host.
//!
//! One lock file serves all names, by a lock on one byte each: nothing is left to clean up, and the kernel gives
//! a dead process's locks back. Two names on one byte (of 2^63) would only see each other as busy.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::config::Name;

/// A name that nobody else works on as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

impl Claim {
    /// Takes a name, unless somebody has it.
    pub(super) fn take(file: &Path, name: &Name) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(file)?;
        // A lock of the open file, not of the process: operations of one process exclude each other as well.
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock_on(name))) {
            Ok(_) => Ok(Some(Self { _lock: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether somebody has a name; leaves no file where there was none.
    pub(super) fn is_taken(file: &Path, name: &Name) -> io::Result<bool> {
        let file = match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let mut lock = lock_on(name);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(lock.l_type != short(libc::F_UNLCK))
    }
}

/// The lock that says: this name is taken.
fn lock_on(name: &Name) -> libc::flock {
    libc::flock {
        l_type: short(libc::F_WRLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: byte_of(name),
        l_len: 1,
        l_pid: 0,
    }
}

/// The constants are ints, the fields shorts.
fn short(constant: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(constant).unwrap_or_default()
}

fn byte_of(name: &Name) -> libc::off_t {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    libc::off_t::try_from(hasher.finish() >> 2).unwrap_or(0)
}
