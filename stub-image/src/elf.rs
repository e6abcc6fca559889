// SPDX-License-Identifier: GPL-3.0-only
//! What the dynamic loader reads in an ELF file.

use std::collections::BTreeSet;
use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::dynamic::{DF_1_NODEFLIB, DT_FLAGS_1, DT_RPATH, DT_RUNPATH};

use crate::ImageError;

/// What the dynamic loader reads in an ELF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The loader that the kernel starts, for a program.
    pub interpreter: Option<String>,
    /// What a library calls itself.
    pub soname: Option<String>,
    /// The names of the libraries it needs, in order.
    pub needed: Vec<String>,
    /// Where it says to look first; libraries that it needs inherit it.
    pub rpath: Vec<String>,
    /// Where it says to look for its own libraries; takes the place of `rpath`.
    pub runpath: Vec<String>,
    /// Whether it wants nothing from the cache and the loader's own directories.
    pub no_defaults: bool,
    /// The symbols that it takes from others.
    pub imports: BTreeSet<String>,
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
    let flags = elf.dynamic.iter().flat_map(|dynamic| &dynamic.dyns).find(|entry| entry.d_tag == DT_FLAGS_1);
    let imports = elf.dynsyms.iter().filter(goblin::elf::Sym::is_import);
    Ok(Dynamic {
        interpreter: elf.interpreter.map(str::to_owned),
        soname: elf.soname.map(str::to_owned),
        no_defaults: flags.is_some_and(|flags| flags.d_val & DF_1_NODEFLIB != 0),
        imports: imports
            .filter_map(|symbol| elf.dynstrtab.get_at(symbol.st_name).map(str::to_owned))
            .collect(),
        needed: elf.libraries.iter().map(|library| (*library).to_owned()).collect(),
        rpath: search(DT_RPATH),
        runpath: search(DT_RUNPATH),
        machine: (elf.header.e_machine, elf.is_64),
    })
}

/// Whether others can take `symbol` from the ELF file `bytes`.
pub fn exports(path: &Path, bytes: &[u8], symbol: &str) -> Result<bool, ImageError> {
    let elf = Elf::parse(bytes)
        .map_err(|error| ImageError::Elf { path: path.to_owned(), reason: error.to_string() })?;
    let mut exported = elf.dynsyms.iter().filter(|entry| !entry.is_import());
    Ok(exported.any(|entry| elf.dynstrtab.get_at(entry.st_name) == Some(symbol)))
}
