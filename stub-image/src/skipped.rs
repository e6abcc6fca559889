// SPDX-License-Identifier: GPL-3.0-only
//! Tests that need what a machine may not have say so where it is seen.

use std::io::{Write as _, stderr};

/// Says why the calling test did nothing, past the test runner, which shows the words of failures only.
pub(crate) fn ignored(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(stderr(), "ignored: {test}: {why}");
}
