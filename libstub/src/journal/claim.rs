// SPDX-License-Identifier: GPL-3.0-only
//! The right to work on a name: one operation at a time, over all processes of the host.

use std::fs::File;
use std::path::Path;

use super::JournalError;
use super::lock::{self, Right};
use crate::config::Name;

/// A name that nobody else works on as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

impl Claim {
    pub(super) fn take(directory: &Path, name: &Name) -> Result<Self, JournalError> {
        let file = lock::open(directory)?;
        if lock::take(&file, directory, Right::Claim(name))? {
            return Ok(Self { _lock: file });
        }
        Err(JournalError::Busy(name.clone()))
    }
}
