// SPDX-License-Identifier: GPL-3.0-only
//! The right to work on a name: one operation at a time, over all processes of the host.

use std::fs::File;
use std::io;
use std::path::Path;

use super::lock::{self, Right};
use crate::config::Name;

/// A name that nobody else works on as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

impl Claim {
    /// Takes a name, unless somebody has it.
    pub(super) fn take(file: &Path, name: &Name) -> io::Result<Option<Self>> {
        let file = lock::open(file)?;
        Ok(lock::take(&file, Right::Claim(name))?.then_some(Self { _lock: file }))
    }
}
