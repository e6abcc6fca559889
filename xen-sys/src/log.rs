// SPDX-License-Identifier: GPL-3.0-only
//! libxentoollog into `tracing` (target `xen`), and into the error of the call that logged.
//!
//! The libraries log on the thread that called them, so the lines kept for the error are per thread, and the logger
//! itself has no state: one static serves every handle and outlives them all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::call;
use crate::raw::libs::{
    __va_list_tag, XTL_DETAIL, XTL_ERROR, XTL_INFO, XTL_VERBOSE, XTL_WARN, vsnprintf, xentoollog_level,
    xentoollog_logger,
};

/// The builder says what went wrong in its first lines and then repeats it on the way out.
const LINES_KEPT: usize = 8;

/// Longer lines are cut.
const LINE_BYTES: usize = 1024;

static LOGGER: xentoollog_logger =
    xentoollog_logger { vmessage: Some(message), progress: None, destroy: Some(destroy) };

thread_local! {
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// The logger to open handles with; C only reads it.
pub(crate) fn logger() -> *mut xentoollog_logger {
    (&raw const LOGGER).cast_mut()
}

/// Drops the lines that this thread's earlier calls left.
pub(crate) fn forget() {
    LINES.with_borrow_mut(VecDeque::clear);
}

/// What was logged as an error on this thread since [`forget`].
pub(crate) fn take() -> Option<String> {
    LINES.with_borrow_mut(|lines| (!lines.is_empty()).then(|| lines.drain(..).collect::<Vec<_>>().join("; ")))
}

unsafe extern "C" fn message(
    _logger: *mut xentoollog_logger,
    level: xentoollog_level,
    errnoval: c_int,
    _context: *const c_char,
    format: *const c_char,
    arguments: *mut __va_list_tag,
) {
    let errno = call::errno();
    // A panic (in a subscriber) must not unwind into C; its payload is leaked, because dropping it may panic too.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the library passes its format together with the arguments that fit it, for the time of this call.
        let text = unsafe { formatted(format, arguments) };
        record(level, errnoval, text);
    }));
    if let Err(payload) = outcome {
        std::mem::forget(payload);
    }
    // Not every library saves errno around its logger.
    call::set_errno(errno);
}

unsafe extern "C" fn destroy(_logger: *mut xentoollog_logger) {}

/// # Safety
///
/// `format` is NUL-terminated, and `arguments` is a started `va_list` that fits it and that nobody reads afterwards.
unsafe fn formatted(format: *const c_char, arguments: *mut __va_list_tag) -> String {
    let mut line = [0_u8; LINE_BYTES];
    // SAFETY: the buffer has the size that is passed; the caller vouches for the rest.
    let length = unsafe { vsnprintf(line.as_mut_ptr().cast(), LINE_BYTES as u64, format, arguments) };
    match CStr::from_bytes_until_nul(&line) {
        Ok(text) if length >= 0 => text.to_string_lossy().trim_end().to_owned(),
        _ => "unprintable message".to_owned(),
    }
}

fn record(level: xentoollog_level, errnoval: c_int, mut text: String) {
    if errnoval > 0 {
        text = format!("{text}: {}", io::Error::from_raw_os_error(errnoval));
    }
    match level {
        ..=XTL_VERBOSE => tracing::trace!(target: "xen", "{text}"),
        XTL_DETAIL..XTL_INFO => tracing::debug!(target: "xen", "{text}"),
        XTL_INFO..XTL_WARN => tracing::info!(target: "xen", "{text}"),
        XTL_WARN..XTL_ERROR => tracing::warn!(target: "xen", "{text}"),
        _ => tracing::error!(target: "xen", "{text}"),
    }
    if level >= XTL_ERROR {
        LINES.with_borrow_mut(|lines| {
            if lines.len() < LINES_KEPT {
                lines.push_back(text);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::libs::xtl_log;

    fn log(level: xentoollog_level, errnoval: c_int, number: c_int, text: &CStr) {
        // SAFETY: the format takes one int and one string, and all pointers live through the call.
        unsafe {
            xtl_log(
                logger(),
                level,
                errnoval,
                c"test".as_ptr(),
                c"domain %d: %s".as_ptr(),
                number,
                text.as_ptr(),
            );
        }
    }

    #[test]
    fn a_formatted_error_is_kept_for_the_call_that_logged_it() {
        forget();
        log(XTL_ERROR, -1, 7, c"no such image");
        log(XTL_ERROR, libc::ENOENT, 8, c"open\n");
        let kept = take().expect("two lines were logged");
        assert!(kept.starts_with("domain 7: no such image; domain 8: open"), "{kept}");
        assert!(kept.contains("No such file"), "{kept}");
        assert_eq!(take(), None);
    }

    #[test]
    fn lines_below_error_are_not_kept() {
        forget();
        log(XTL_WARN, -1, 1, c"careful");
        assert_eq!(take(), None);
    }

    #[test]
    fn a_long_message_is_cut_and_many_are_bounded() {
        forget();
        let long = std::ffi::CString::new(vec![b'x'; 5000]).expect("no NUL in it");
        for number in 0..100 {
            log(XTL_ERROR, -1, number, &long);
        }
        let kept = take().expect("lines were logged");
        assert!(kept.len() <= LINES_KEPT * (LINE_BYTES + 2), "{}", kept.len());
    }

    #[test]
    fn logging_leaves_errno_alone() {
        call::set_errno(libc::EXDEV);
        log(XTL_ERROR, -1, 1, c"text");
        assert_eq!(call::errno(), libc::EXDEV);
        forget();
    }
}
