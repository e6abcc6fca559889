// SPDX-License-Identifier: GPL-3.0-only
//! Memory of other domains, mapped by frame number.

use std::ptr::NonNull;

use crate::call;
use crate::error::Result;
use crate::log;
use crate::raw::libs::{self, xenforeignmemory_handle};
use crate::types::{DomId, Gfn};

pub(crate) const PAGE_BYTES: usize = 4096;

/// The right to look at the memory of other domains.
#[derive(Debug)]
pub struct ForeignMemory {
    raw: NonNull<xenforeignmemory_handle>,
}

// SAFETY: after open the handle only holds a descriptor and a logger without state; each call is a system call of its own.
unsafe impl Send for ForeignMemory {}
// SAFETY: as above.
unsafe impl Sync for ForeignMemory {}

impl ForeignMemory {
    /// Opens the interface.
    pub fn open() -> Result<Self> {
        // SAFETY: the logger is a static.
        let raw = call::pointer("xenforeignmemory_open", || unsafe {
            libs::xenforeignmemory_open(log::logger(), 0)
        })?;
        Ok(Self { raw })
    }

    /// Copies a page of another domain, which may be writing to it.
    pub fn copy_page(&self, domid: DomId, frame: Gfn) -> Result<Box<[u8; PAGE_BYTES]>> {
        let page = self.map(domid, frame, libc::PROT_READ)?;
        let mut copy = Box::new([0; PAGE_BYTES]);
        page.copy_out(0, copy.as_mut_slice());
        Ok(copy)
    }

    pub(crate) fn map_writable(&self, domid: DomId, frame: Gfn) -> Result<ForeignPage<'_>> {
        self.map(domid, frame, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn map(&self, domid: DomId, frame: Gfn, protection: libc::c_int) -> Result<ForeignPage<'_>> {
        let frame = frame.get();
        // SAFETY: the handle is open, one frame number is passed, and without an array for errors one failure fails all.
        let page = call::pointer("xenforeignmemory_map", || unsafe {
            libs::xenforeignmemory_map(
                self.raw.as_ptr(),
                domid.wide(),
                protection,
                1,
                &raw const frame,
                std::ptr::null_mut(),
            )
        })?;
        Ok(ForeignPage { memory: self, page: page.cast() })
    }
}

impl Drop for ForeignMemory {
    fn drop(&mut self) {
        // SAFETY: this is the only owner, and pages borrow it.
        unsafe { libs::xenforeignmemory_close(self.raw.as_ptr()) };
    }
}

/// One mapped page of another domain.
pub(crate) struct ForeignPage<'m> {
    memory: &'m ForeignMemory,
    page: NonNull<u8>,
}

impl ForeignPage<'_> {
    pub(crate) fn copy_out(&self, offset: usize, to: &mut [u8]) {
        // SAFETY: a page is mapped, readable in any case.
        unsafe { copy_out(self.page, offset, to) };
    }

    /// Only for pages of [`ForeignMemory::map_writable`].
    pub(crate) fn copy_in(&self, offset: usize, from: &[u8]) {
        assert!(offset <= PAGE_BYTES && from.len() <= PAGE_BYTES - offset);
        for (index, byte) in from.iter().enumerate() {
            // SAFETY: inside of the page, as asserted; nobody in this process has a reference to it.
            unsafe { self.page.add(offset + index).write_volatile(*byte) };
        }
    }
}

impl Drop for ForeignPage<'_> {
    fn drop(&mut self) {
        // SAFETY: mapped by this handle, one page, and nobody has a reference to it.
        unsafe { libs::xenforeignmemory_unmap(self.memory.raw.as_ptr(), self.page.as_ptr().cast(), 1) };
    }
}

/// Copies from a page that another domain may be writing to, reading each byte once.
///
/// # Panics
///
/// When the range is not inside of the page.
///
/// # Safety
///
/// `page` is mapped and readable.
pub(crate) unsafe fn copy_out(page: NonNull<u8>, offset: usize, to: &mut [u8]) {
    assert!(offset <= PAGE_BYTES && to.len() <= PAGE_BYTES - offset);
    for (index, byte) in to.iter_mut().enumerate() {
        // SAFETY: inside of the page, as asserted; volatile, because a value must not be read twice.
        *byte = unsafe { page.add(offset + index).read_volatile() };
    }
}
