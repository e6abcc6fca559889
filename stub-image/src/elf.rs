// SPDX-License-Identifier: GPL-3.0-only
//! What the dynamic loader reads in an ELF file.

use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::dynamic::{DT_RPATH, DT_RUNPATH};

use crate::ImageError;

/// What the dynamic loader reads in an ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dynamic {
    /// The loader that the kernel starts, for a program.
    pub interpreter: Option<String>,
    /// The names of the libraries it needs, in order.
    pub needed: Vec<String>,
    /// Where it says to look first; libraries that it needs inherit it.
    pub rpath: Vec<String>,
    /// Where it says to look for its own libraries; takes the place of `rpath`.
    pub runpath: Vec<String>,
    /// Machine and class, which libraries must share with the program.
    pub machine: (u16, bool),
}

/// Reads the ELF file `bytes`, called `path` in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Dynamic, ImageError> {
    let elf = Elf::parse(bytes)
        .map_err(|error| ImageError::Elf { path: path.to_owned(), reason: error.to_string() })?;
    let search = |tag: u64| -> Vec<String> {
        let entries = elf.dynamic.iter().flat_map(|dynamic| &dynamic.dyns).filter(|entry| entry.d_tag == tag);
        entries
            .filter_map(|entry| elf.dynstrtab.get_at(usize::try_from(entry.d_val).ok()?))
            .flat_map(|list| list.split(':'))
            .filter(|directory| !directory.is_empty())
            .map(str::to_owned)
            .collect()
    };
    Ok(Dynamic {
        interpreter: elf.interpreter.map(str::to_owned),
        needed: elf.libraries.iter().map(|library| (*library).to_owned()).collect(),
        rpath: search(DT_RPATH),
        runpath: search(DT_RUNPATH),
        machine: (elf.header.e_machine, elf.is_64),
    })
}
