// SPDX-License-Identifier: GPL-3.0-only
//! Nodes, read and written directly or in a transaction.

use std::ffi::{CStr, CString, c_char};

use super::{Allocated, Permission, Store, Transaction};
use crate::call;
use crate::error::{Error, Result};
use crate::raw::libs::{self, xs_handle, xs_transaction_t};

/// The connection that a request goes over, and the transaction that it is part of.
///
/// # Safety
///
/// The handle is open as long as the value is borrowed.
pub unsafe trait Requests {
    #[doc(hidden)]
    fn raw(&self) -> (*mut xs_handle, xs_transaction_t);
}

// SAFETY: the owner closes the handle only when it is dropped.
unsafe impl Requests for Store {
    fn raw(&self) -> (*mut xs_handle, xs_transaction_t) {
        const NO_TRANSACTION: xs_transaction_t = 0;
        (self.as_ptr(), NO_TRANSACTION)
    }
}

// SAFETY: a transaction borrows its store.
unsafe impl Requests for Transaction<'_> {
    fn raw(&self) -> (*mut xs_handle, xs_transaction_t) {
        (self.store().as_ptr(), self.id())
    }
}

/// What can be done with nodes: by a [`Store`] at once, by a [`Transaction`] when it is committed.
pub trait Access: Requests {
    /// The value of a node, `None` when there is no such node.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        let mut length = 0;
        // SAFETY: the handle is open, and all pointers live through the call.
        let value = missing(call::pointer("xs_read", || unsafe {
            libs::xs_read(handle, transaction, path.as_ptr(), &raw mut length)
        }))?;
        Ok(value.map(|value| {
            let value = Allocated(value.cast::<u8>());
            // SAFETY: the library has allocated as many bytes as it says.
            unsafe { std::slice::from_raw_parts(value.as_ptr(), length as usize) }.to_vec()
        }))
    }

    /// Sets the value of a node, which is created if need be.
    fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        let length =
            u32::try_from(value.len()).map_err(|_| Error::InvalidArgument { what: "value is too long" })?;
        // Values can be secret.
        tracing::debug!(path = %path.to_string_lossy(), bytes = length, "write");
        // SAFETY: the handle is open, and all pointers live through the call.
        call::truth("xs_write", || unsafe {
            libs::xs_write(handle, transaction, path.as_ptr(), value.as_ptr().cast(), length)
        })
    }

    /// Creates a node without a value, if there is none.
    fn mkdir(&self, path: &str) -> Result<()> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        // SAFETY: the handle is open, and all pointers live through the call.
        call::truth("xs_mkdir", || unsafe { libs::xs_mkdir(handle, transaction, path.as_ptr()) })
    }

    /// Removes a node and all below it; it is no error if there is none.
    fn rm(&self, path: &str) -> Result<()> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        // SAFETY: the handle is open, and all pointers live through the call.
        missing(call::truth("xs_rm", || unsafe { libs::xs_rm(handle, transaction, path.as_ptr()) })).map(drop)
    }

    /// The names of a node's children, `None` when there is no such node.
    fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        let mut count = 0;
        // SAFETY: the handle is open, and all pointers live through the call.
        let names = missing(call::pointer("xs_directory", || unsafe {
            libs::xs_directory(handle, transaction, path.as_ptr(), &raw mut count)
        }))?;
        Ok(names.map(|names| {
            let names = Allocated(names);
            // SAFETY: the library has allocated as many pointers as it says, followed by what they point to.
            (0..count as usize).map(|index| unsafe { text(names.as_ptr().add(index).read()) }).collect()
        }))
    }

    /// Who may do what with a node (the first entry names its owner), `None` when there is no such node.
    fn permissions(&self, path: &str) -> Result<Option<Vec<Permission>>> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        let mut count = 0;
        // SAFETY: the handle is open, and all pointers live through the call.
        let entries = missing(call::pointer("xs_get_permissions", || unsafe {
            libs::xs_get_permissions(handle, transaction, path.as_ptr(), &raw mut count)
        }))?;
        let Some(entries) = entries else { return Ok(None) };
        let entries = Allocated(entries);
        // SAFETY: the library has allocated as many entries as it says.
        let entries = unsafe { std::slice::from_raw_parts(entries.as_ptr(), count as usize) };
        entries.iter().map(Permission::from_raw).collect::<Result<_>>().map(Some)
    }

    /// Sets who may do what with a node; the first entry names its owner and what everybody else may do.
    fn set_permissions(&self, path: &str, permissions: &[Permission]) -> Result<()> {
        let ((handle, transaction), path) = (self.raw(), c_path(path)?);
        let mut entries: Vec<_> = permissions.iter().map(|entry| entry.to_raw()).collect();
        let count = u32::try_from(entries.len())
            .map_err(|_| Error::InvalidArgument { what: "node has too many permissions" })?;
        // SAFETY: the handle is open, and all pointers live through the call.
        call::truth("xs_set_permissions", || unsafe {
            libs::xs_set_permissions(handle, transaction, path.as_ptr(), entries.as_mut_ptr(), count)
        })
    }
}

impl Access for Store {}
impl Access for Transaction<'_> {}

pub(super) fn c_path(path: &str) -> Result<CString> {
    call::c_string(path, "xenstore path contains a NUL")
}

/// # Safety
///
/// `pointer` is to a NUL-terminated string.
pub(super) unsafe fn text(pointer: *const c_char) -> String {
    // SAFETY: the caller vouches for it. Names and paths are ASCII; what is not comes from a broken daemon.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// ENOENT is an answer.
fn missing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
