// SPDX-License-Identifier: GPL-3.0-only
//! The one place for each C return convention: errno is read before anything else can change it.

use std::ffi::{CString, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::log;

pub(crate) fn errno() -> c_int {
    // SAFETY: the location of this thread's errno is always valid.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = value }
}

/// Runs `f` without leftovers: neither an old errno nor old log lines can be taken for its own.
fn fresh<T>(f: impl FnOnce() -> T) -> T {
    log::forget();
    set_errno(0);
    f()
}

fn failed(call: &'static str, errno: c_int) -> Error {
    let source = match errno {
        0 => io::Error::other("no reason given"),
        number => io::Error::from_raw_os_error(number),
    };
    Error::Call { call, source, detail: log::take() }
}

/// A negative number means failure, and errno is set; others are passed on.
pub(crate) fn number(call: &'static str, f: impl FnOnce() -> c_int) -> Result<u32> {
    let value = fresh(f);
    let errno = errno();
    u32::try_from(value).map_err(|_| failed(call, errno))
}

/// As [`number`], for calls that have nothing else to say.
pub(crate) fn status(call: &'static str, f: impl FnOnce() -> c_int) -> Result<()> {
    number(call, f).map(drop)
}

/// A negative number is a negated errno.
pub(crate) fn negated_errno(call: &'static str, f: impl FnOnce() -> c_int) -> Result<()> {
    let value = fresh(f);
    if value < 0 { Err(failed(call, value.saturating_neg())) } else { Ok(()) }
}

/// NULL means failure, and errno is set.
pub(crate) fn pointer<T>(call: &'static str, f: impl FnOnce() -> *mut T) -> Result<NonNull<T>> {
    let pointer = fresh(f);
    let errno = errno();
    NonNull::new(pointer).ok_or_else(|| failed(call, errno))
}

/// False means failure, and errno is set.
pub(crate) fn truth(call: &'static str, f: impl FnOnce() -> bool) -> Result<()> {
    let done = fresh(f);
    let errno = errno();
    if done { Ok(()) } else { Err(failed(call, errno)) }
}

/// False is an answer unless errno is set.
pub(crate) fn answer(call: &'static str, f: impl FnOnce() -> bool) -> Result<bool> {
    let yes = fresh(f);
    match (yes, errno()) {
        (false, errno) if errno != 0 => Err(failed(call, errno)),
        _ => Ok(yes),
    }
}

/// `text` as C wants it; `what` is the complaint when it has a NUL in it.
pub(crate) fn c_string(text: impl Into<Vec<u8>>, what: &'static str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::InvalidArgument { what })
}

/// `path` as C wants it.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    c_string(path.as_os_str().as_bytes(), "file name contains a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_of_an_earlier_call_is_not_blamed_on_this_one() {
        set_errno(libc::EPERM);
        let error = status("f", || -1).expect_err("it failed");
        assert_eq!(error.errno(), None);
        assert_eq!(error.to_string(), "f failed");
    }

    #[test]
    fn each_convention_reports_its_errno() {
        let fail = || set_errno(libc::ESRCH);
        let errors = [
            number("f", || (fail(), -1).1).expect_err("negative"),
            negated_errno("f", || -libc::ESRCH).expect_err("negated"),
            pointer("f", || (fail(), std::ptr::null_mut::<u8>()).1).expect_err("null"),
            truth("f", || (fail(), false).1).expect_err("false"),
            answer("f", || (fail(), false).1).expect_err("false with errno"),
        ];
        for error in errors {
            assert_eq!(error.errno(), Some(libc::ESRCH), "{error}");
        }
        assert!(!answer("f", || false).expect("false is an answer"));
    }
}
