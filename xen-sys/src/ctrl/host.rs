// SPDX-License-Identifier: GPL-3.0-only
//! What the host has to offer.

use super::Ctrl;
use crate::call;
use crate::error::Result;
use crate::raw::ctrl as raw;

/// Memory and features of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysInfo {
    /// Pages of memory in the host.
    pub total_pages: u64,
    /// Pages that belong to nobody.
    pub free_pages: u64,
    /// Those of the free pages that still have to be scrubbed.
    pub scrub_pages: u64,
    /// Those of the free pages that are claimed for domains being built.
    pub outstanding_pages: u64,
    /// HVM guests are possible.
    pub hvm: bool,
    /// PV domains are possible.
    pub pv: bool,
    /// HVM guests can have nested paging.
    pub hap: bool,
    /// Grant tables of version 1 are possible.
    pub grant_v1: bool,
    /// Grant tables of version 2 are possible.
    pub grant_v2: bool,
}

impl Ctrl {
    /// Memory and features of the host.
    pub fn phys_info(&self) -> Result<PhysInfo> {
        let mut info = raw::xc_physinfo_t::default();
        // SAFETY: the handle is open, and the structure outlives the call.
        call::status("xc_physinfo", || unsafe { raw::xc_physinfo(self.as_ptr(), &raw mut info) })?;
        let can = |capability| info.capabilities & capability != 0;
        Ok(PhysInfo {
            total_pages: info.total_pages,
            free_pages: info.free_pages,
            scrub_pages: info.scrub_pages,
            outstanding_pages: info.outstanding_pages,
            hvm: can(raw::XEN_SYSCTL_PHYSCAP_hvm),
            pv: can(raw::XEN_SYSCTL_PHYSCAP_pv),
            hap: can(raw::XEN_SYSCTL_PHYSCAP_hap),
            grant_v1: can(raw::XEN_SYSCTL_PHYSCAP_gnttab_v1),
            grant_v2: can(raw::XEN_SYSCTL_PHYSCAP_gnttab_v2),
        })
    }
}
