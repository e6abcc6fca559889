// SPDX-License-Identifier: GPL-3.0-only
//! How much memory a domain may have, and where.

use super::{Ctrl, scalar_call};
use crate::call;
use crate::error::{Error, Result};
use crate::raw::ctrl as raw;
use crate::types::{DomId, Kib};

/// What a range of guest memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum E820Kind {
    /// Memory.
    Ram,
    /// Not to be touched.
    Reserved,
    /// ACPI tables, to be reused once they are read.
    Acpi,
    /// ACPI tables, to be kept.
    Nvs,
}

/// A range of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// The guest address where it starts.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it is for.
    pub kind: E820Kind,
}

impl Ctrl {
    /// Sets the most memory that the domain may have.
    pub fn set_max_memory(&self, domid: DomId, limit: Kib) -> Result<()> {
        scalar_call!(self, xc_domain_setmaxmem, domid.wide(), limit.kib())
    }

    /// Sets the size of the memory that a PV domain is told of.
    pub fn set_memmap_limit(&self, domid: DomId, limit: Kib) -> Result<()> {
        scalar_call!(self, xc_domain_set_memmap_limit, domid.wide(), limit.kib())
    }

    /// Sets the memory map that the domain is told of.
    pub fn set_memory_map(&self, domid: DomId, map: &[E820Entry]) -> Result<()> {
        self.set_raw_memory_map(domid, &mut raw_map(map))
    }

    /// C does not change the map, but takes it as if it would.
    pub(crate) fn set_raw_memory_map(&self, domid: DomId, map: &mut [raw::e820entry]) -> Result<()> {
        let entries = u32::try_from(map.len())
            .ok()
            .filter(|&entries| entries <= raw::E820MAX)
            .ok_or(Error::InvalidArgument { what: "memory map has too many entries" })?;
        // SAFETY: the handle is open, and the map has as many entries as are announced.
        call::status("xc_domain_set_memory_map", || unsafe {
            raw::xc_domain_set_memory_map(self.as_ptr(), domid.wide(), map.as_mut_ptr(), entries)
        })
    }

    /// Sets the size of the pool that a HVM guest's page tables live in.
    pub fn set_paging_pool(&self, domid: DomId, size: Kib) -> Result<()> {
        scalar_call!(self, xc_set_paging_mempool_size, domid.wide(), size.bytes())
    }
}

pub(crate) fn raw_map(map: &[E820Entry]) -> Vec<raw::e820entry> {
    map.iter()
        .map(|entry| {
            let type_ = match entry.kind {
                E820Kind::Ram => raw::E820_RAM,
                E820Kind::Reserved => raw::E820_RESERVED,
                E820Kind::Acpi => raw::E820_ACPI,
                E820Kind::Nvs => raw::E820_NVS,
            };
            raw::e820entry { addr: entry.address, size: entry.size, type_ }
        })
        .collect()
}
