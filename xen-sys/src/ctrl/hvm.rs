// SPDX-License-Identifier: GPL-3.0-only
//! The virtual platform of a domain: parameters, CPU features, clocks.

use super::{Ctrl, scalar_call};
use crate::call;
use crate::error::Result;
use crate::raw::{ctrl as raw, libs};
use crate::types::DomId;

/// The index of a HVM parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HvmParam(pub u32);

impl HvmParam {
    /// How the guest's PV drivers want their interrupt; 0 until there are any.
    pub const CALLBACK_IRQ: Self = Self(raw::HVM_PARAM_CALLBACK_IRQ);
    /// The frame of the xenstore ring.
    pub const STORE_PFN: Self = Self(raw::HVM_PARAM_STORE_PFN);
    /// The port of the xenstore ring.
    pub const STORE_EVTCHN: Self = Self(raw::HVM_PARAM_STORE_EVTCHN);
    /// The Viridian enlightenments, a bit mask.
    pub const VIRIDIAN: Self = Self(raw::HVM_PARAM_VIRIDIAN);
    /// What happens to timer ticks that were missed.
    pub const TIMER_MODE: Self = Self(raw::HVM_PARAM_TIMER_MODE);
    /// Whether there is a HPET.
    pub const HPET_ENABLED: Self = Self(raw::HVM_PARAM_HPET_ENABLED);
    /// The ACPI sleep state; not 0 while the guest sleeps.
    pub const ACPI_S_STATE: Self = Self(raw::HVM_PARAM_ACPI_S_STATE);
    /// Whether virtual timers fire together.
    pub const VPT_ALIGN: Self = Self(raw::HVM_PARAM_VPT_ALIGN);
    /// The frame of the console ring.
    pub const CONSOLE_PFN: Self = Self(raw::HVM_PARAM_CONSOLE_PFN);
    /// The port of the console ring.
    pub const CONSOLE_EVTCHN: Self = Self(raw::HVM_PARAM_CONSOLE_EVTCHN);
    /// Machine check features, a bit mask.
    pub const MCA_CAP: Self = Self(raw::HVM_PARAM_MCA_CAP);
}

/// The features by which a domain's CPU policy may differ from the host's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuidPolicy {
    /// Physical address extension.
    pub pae: bool,
    /// An invariant time stamp counter, which rules out migration.
    pub itsc: bool,
    /// Nested virtualisation.
    pub nested: bool,
}

impl Ctrl {
    /// Sets a HVM parameter.
    pub fn set_hvm_param(&self, domid: DomId, param: HvmParam, value: u64) -> Result<()> {
        scalar_call!(self, xc_hvm_param_set, domid.wide(), param.0, value)
    }

    /// Reads a HVM parameter.
    pub fn hvm_param(&self, domid: DomId, param: HvmParam) -> Result<u64> {
        let mut value = 0;
        // SAFETY: the handle is open, and the value outlives the call.
        call::status("xc_hvm_param_get", || unsafe {
            raw::xc_hvm_param_get(self.as_ptr(), domid.wide(), param.0, &raw mut value)
        })?;
        Ok(value)
    }

    /// Gives the domain the host's default CPU policy with these choices.
    pub fn apply_cpuid_policy(&self, domid: DomId, policy: CpuidPolicy) -> Result<()> {
        const RESTORE: bool = false;
        let (featureset, features) = (std::ptr::null(), 0);
        let (xend, msr) = (std::ptr::null(), std::ptr::null());
        let CpuidPolicy { pae, itsc, nested } = policy;
        // SAFETY: the handle is open, and NULL stands for "no such override" in all three pointers.
        call::negated_errno("xc_cpuid_apply_policy", || unsafe {
            libs::xc_cpuid_apply_policy(
                self.as_ptr(),
                domid.wide(),
                RESTORE,
                featureset,
                features,
                pae,
                itsc,
                nested,
                xend,
                msr,
            )
        })
    }

    /// Leaves it to Xen whether the time stamp counter is emulated.
    pub fn set_tsc_default(&self, domid: DomId) -> Result<()> {
        const MODE_DEFAULT: u32 = 0;
        scalar_call!(self, xc_domain_set_tsc_info, domid.wide(), MODE_DEFAULT, 0, 0, 0)
    }

    /// Sets the clock that the domain sees this many seconds after the host's.
    pub fn set_time_offset(&self, domid: DomId, seconds: i32) -> Result<()> {
        scalar_call!(self, xc_domain_set_time_offset, domid.wide(), seconds)
    }
}
