// SPDX-License-Identifier: GPL-3.0-only
//! Rights that one process of the host has at a time: to work on a name, to look after a pair, to look after all.
//!
//! One lock file serves all rights, by a lock on one byte each: nothing is left to clean up, and the kernel gives a
//! dead process's locks back. Two names on one byte (of 2^62) would only see each other as busy.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use sha2::{Digest as _, Sha256};

use crate::config::Name;

/// The first byte that stands for no claim.
const NOT_CLAIMS: libc::off_t = 1 << 62;

/// Behind all names.
const EVERY_PAIR: libc::off_t = libc::off_t::MAX - 1;

/// What a lock stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right<'a> {
    /// An operation on this name.
    Claim(&'a Name),
    /// Looking after this pair.
    Supervise(&'a Name),
    /// Looking after every pair that nobody else looks after.
    SuperviseAll,
}

impl Right<'_> {
    fn byte(self) -> libc::off_t {
        match self {
            Self::Claim(name) => byte_of(name),
            Self::Supervise(name) => NOT_CLAIMS | byte_of(name) >> 1,
            Self::SuperviseAll => EVERY_PAIR,
        }
    }

    fn lock(self, kind: libc::c_int) -> libc::flock {
        libc::flock {
            l_type: short(kind),
            l_whence: short(libc::SEEK_SET),
            l_start: self.byte(),
            l_len: 1,
            l_pid: 0,
        }
    }
}

/// Opens the lock file, which is made if there is none.
pub(super) fn open(file: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).open(file)
}

/// Takes a right, for as long as the file is open; whether it was free.
pub(super) fn take(file: &File, right: Right<'_>) -> io::Result<bool> {
    // A lock of the open file, not of the process: two users in one process exclude each other as well.
    match fcntl(file, FcntlArg::F_OFD_SETLK(&right.lock(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a right back that was taken with this file.
pub(super) fn give_back(file: &File, right: Right<'_>) {
    // It cannot fail for a lock that is held, and does nothing for another.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&right.lock(libc::F_UNLCK)));
}

/// Whether somebody has a right; leaves no file where there was none.
pub(super) fn is_taken(file: &Path, right: Right<'_>) -> io::Result<bool> {
    let file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut lock = right.lock(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != short(libc::F_UNLCK))
}

/// The constants are ints, the fields shorts.
fn short(constant: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(constant).unwrap_or_default()
}

fn byte_of(name: &Name) -> libc::off_t {
    // The same in every release of this library, whatever compiler built it.
    let digest = Sha256::digest(name.as_str());
    let number = digest.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    libc::off_t::try_from(number >> 2).unwrap_or(0)
}
