// SPDX-License-Identifier: GPL-3.0-only
//! Pages that other domains grant to this one.

use std::ptr::NonNull;

use crate::call;
use crate::error::{Error, Result};
use crate::foreign::{self, PAGE_BYTES};
use crate::log;
use crate::raw::libs::{self, xengnttab_handle};
use crate::types::{DomId, GrantRef};

/// The right to map what other domains grant.
#[derive(Debug)]
pub struct Gnttab {
    pub(crate) raw: NonNull<xengnttab_handle>,
}

// SAFETY: after open the handle only holds a descriptor and a logger without state; each call is a system call of its own.
unsafe impl Send for Gnttab {}
// SAFETY: as above.
unsafe impl Sync for Gnttab {}

/// How a grant is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantAccess {
    /// As a reader; all that a read-only grant allows.
    ReadOnly,
    /// As a writer.
    ReadWrite,
}

impl Gnttab {
    /// Opens the interface.
    pub fn open() -> Result<Self> {
        // SAFETY: the logger is a static.
        let raw = call::pointer("xengnttab_open", || unsafe { libs::xengnttab_open(log::logger(), 0) })?;
        Ok(Self { raw })
    }

    /// Maps one granted page.
    pub fn map(&self, domid: DomId, grant: GrantRef, access: GrantAccess) -> Result<GrantPage<'_>> {
        let protection = match access {
            GrantAccess::ReadOnly => libc::PROT_READ,
            GrantAccess::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: the handle is open, and the arguments are plain numbers.
        let page = call::pointer("xengnttab_map_grant_ref", || unsafe {
            libs::xengnttab_map_grant_ref(self.raw.as_ptr(), domid.wide(), grant.get(), protection)
        })?;
        Ok(GrantPage { gnttab: self, page: page.cast() })
    }
}

impl Drop for Gnttab {
    fn drop(&mut self) {
        // SAFETY: this is the only owner, and pages borrow it.
        unsafe { libs::xengnttab_close(self.raw.as_ptr()) };
    }
}

/// One mapped page, unmapped when dropped. Its granter can write to it at any time, so all there is to do is to copy.
#[derive(Debug)]
pub struct GrantPage<'g> {
    gnttab: &'g Gnttab,
    page: NonNull<u8>,
}

// SAFETY: the mapping belongs to the process, and is only read.
unsafe impl Send for GrantPage<'_> {}

impl GrantPage<'_> {
    /// Copies from the page, reading each byte once.
    pub fn copy(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        if offset > PAGE_BYTES || to.len() > PAGE_BYTES - offset {
            return Err(Error::InvalidArgument { what: "range is not inside of the granted page" });
        }
        // SAFETY: the page is mapped and readable in any case.
        unsafe { foreign::copy_out(self.page, offset, to) };
        Ok(())
    }
}

impl Drop for GrantPage<'_> {
    fn drop(&mut self) {
        // SAFETY: mapped by this handle, one page, and nobody has a reference to it.
        unsafe { libs::xengnttab_unmap(self.gnttab.raw.as_ptr(), self.page.as_ptr().cast(), 1) };
    }
}
