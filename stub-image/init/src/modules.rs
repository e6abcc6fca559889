// SPDX-License-Identifier: GPL-3.0-only
//! Kernel modules.

use std::ffi::CString;
use std::fs::{self, File};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use proto::ramdisk::{self, Module};

use crate::InitError;

/// Loads the modules that the ramdisk lists, and says how many.
pub fn load_listed() -> Result<usize, InitError> {
    let text = fs::read_to_string(ramdisk::MODULES).map_err(|source| InitError::File {
        operation: "reading",
        path: ramdisk::MODULES.into(),
        source,
    })?;
    let modules = ramdisk::parse(&text);
    modules.iter().try_for_each(load)?;
    Ok(modules.len())
}

/// Loads one module; one that is there already is left as it is.
pub fn load(module: &Module) -> Result<(), InitError> {
    let Module { path, parameters } = module;
    let file = File::open(path).map_err(|source| InitError::File {
        operation: "opening kernel module",
        path: path.into(),
        source,
    })?;
    let refused = |source| InitError::Module { path: path.clone(), parameters: parameters.clone(), source };
    let value = CString::new(parameters.as_str()).map_err(|_| refused(Errno::EINVAL))?;
    match finit_module(&file, &value, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(source) => Err(refused(source)),
    }
}
