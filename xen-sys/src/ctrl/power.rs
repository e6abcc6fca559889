// SPDX-License-Identifier: GPL-3.0-only
//! Running, stopping and ending domains.

use super::{Ctrl, ShutdownReason, scalar_call};
use crate::error::Result;
use crate::raw::ctrl as raw;
use crate::types::DomId;

impl Ctrl {
    /// Stops all CPUs of the domain; pauses are counted.
    pub fn pause(&self, domid: DomId) -> Result<()> {
        scalar_call!(self, xc_domain_pause, domid.wide())
    }

    /// Undoes one pause, also the one that a domain is created with.
    pub fn unpause(&self, domid: DomId) -> Result<()> {
        scalar_call!(self, xc_domain_unpause, domid.wide())
    }

    /// Ends the domain and takes back its memory, which takes seconds; fails with ESRCH when there is none.
    pub fn destroy(&self, domid: DomId) -> Result<()> {
        scalar_call!(self, xc_domain_destroy, domid.wide())
    }

    /// Marks the domain as shut down, without asking it.
    pub fn shutdown(&self, domid: DomId, reason: ShutdownReason) -> Result<()> {
        scalar_call!(self, xc_domain_shutdown, domid.wide(), reason.to_raw().cast_signed())
    }

    /// Presses the ACPI power button of a HVM guest.
    pub fn press_power_button(&self, domid: DomId) -> Result<()> {
        const VCPU: u32 = 0;
        scalar_call!(self, xc_domain_send_trigger, domid.wide(), raw::XEN_DOMCTL_SENDTRIGGER_POWER, VCPU)
    }
}
