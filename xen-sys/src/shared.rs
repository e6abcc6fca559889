// SPDX-License-Identifier: GPL-3.0-only
//! Pages of another domain that both sides write.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use crate::call;
use crate::error::{Error, Result};
use crate::foreign::PAGE_BYTES;
use crate::gnttab::Gnttab;
use crate::raw::libs;
use crate::types::{DomId, EvtchnPort, GrantRef};

/// What the kernel does when the pages are unmapped, however this process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// It sets the byte at this offset to zero,
    pub clear: usize,
    /// and makes this port pending at its other end.
    pub ring: EvtchnPort,
}

/// Mapped pages, unmapped when dropped.
#[derive(Debug)]
pub struct SharedPages {
    gnttab: Gnttab,
    words: NonNull<AtomicU32>,
    pages: u32,
}

// SAFETY: the mapping belongs to the process, and is used through atomics only.
unsafe impl Send for SharedPages {}
// SAFETY: as above.
unsafe impl Sync for SharedPages {}

impl SharedPages {
    /// Maps one page, to read and to write.
    pub fn map_one(gnttab: Gnttab, domid: DomId, grant: GrantRef, notice: Notice) -> Result<Self> {
        let outside = Error::InvalidArgument { what: "byte to clear is not inside of the granted page" };
        let clear = u32::try_from(notice.clear).ok().filter(|_| notice.clear < PAGE_BYTES).ok_or(outside)?;
        // SAFETY: the handle is open, and the arguments are plain numbers.
        let page = call::pointer("xengnttab_map_grant_ref_notify", || unsafe {
            libs::xengnttab_map_grant_ref_notify(
                gnttab.raw.as_ptr(),
                domid.wide(),
                grant.get(),
                libc::PROT_READ | libc::PROT_WRITE,
                clear,
                notice.ring.get(),
            )
        })?;
        Ok(Self { gnttab, words: page.cast(), pages: 1 })
    }

    /// Maps several pages in a row, to read and to write.
    pub fn map(gnttab: Gnttab, domid: DomId, grants: &[GrantRef]) -> Result<Self> {
        let pages = u32::try_from(grants.len()).ok().filter(|&pages| pages > 0);
        let pages = pages.ok_or(Error::InvalidArgument { what: "number of grants" })?;
        let mut references: Vec<u32> = grants.iter().map(|grant| grant.get()).collect();
        // SAFETY: the handle is open; the library reads as many numbers as there are.
        let first = call::pointer("xengnttab_map_domain_grant_refs", || unsafe {
            libs::xengnttab_map_domain_grant_refs(
                gnttab.raw.as_ptr(),
                pages,
                domid.wide(),
                references.as_mut_ptr(),
                libc::PROT_READ | libc::PROT_WRITE,
            )
        })?;
        Ok(Self { gnttab, words: first.cast(), pages })
    }
}

impl AsRef<[AtomicU32]> for SharedPages {
    fn as_ref(&self) -> &[AtomicU32] {
        let bytes = usize::try_from(self.pages).unwrap_or(0) * PAGE_BYTES;
        // SAFETY: the pages are mapped as long as this lives, and aligned. The other domain writes to them, so everyone
        // here goes through atomics, which have no value that is not valid.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), bytes / size_of::<AtomicU32>()) }
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        // SAFETY: mapped by this handle with this size; whoever had a slice of it borrowed this.
        unsafe { libs::xengnttab_unmap(self.gnttab.raw.as_ptr(), self.words.as_ptr().cast(), self.pages) };
    }
}
