// SPDX-License-Identifier: GPL-3.0-only
//! Bringing a domain into being, still empty and paused.

use uuid::Uuid;

use super::{Ctrl, scalar_call};
use crate::call;
use crate::error::{Error, Result};
use crate::raw::ctrl as raw;
use crate::types::DomId;

/// All devices that Xen emulates for a HVM guest itself. 4.17 takes nothing else, 4.20 takes this too.
const HVM_EMULATION: u32 = 0x3ff;

/// How a domain is virtualised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainKind {
    /// Hardware virtualised with nested paging, and with emulated devices.
    Hvm,
    /// Paravirtualised.
    Pv,
}

/// What a domain is created with, and keeps for life.
#[derive(Clone, Debug)]
pub struct CreateDomain {
    /// Its handle, which nothing in Xen requires to be unique.
    pub uuid: Uuid,
    /// How it is virtualised.
    pub kind: DomainKind,
    /// The number of virtual CPUs, to be allocated by [`Ctrl::set_max_vcpus`] with the same number.
    pub max_vcpus: u32,
    /// The highest event channel port that it may use.
    pub max_evtchn_port: u32,
    /// The size of its grant table in pages; `None` is Xen's default.
    pub max_grant_frames: Option<u32>,
    /// The size of its table of mapped grants in pages; `None` is Xen's default.
    pub max_maptrack_frames: Option<u32>,
    /// The highest version of the grant table that it may choose, 1 or 2.
    pub grant_version: u8,
    /// Its security label, 0 without a policy.
    pub ssidref: u32,
}

impl Ctrl {
    /// Creates an empty, paused domain under an id that the hypervisor chooses.
    pub fn create_domain(&self, domain: &CreateDomain) -> Result<DomId> {
        let mut config = domain.to_raw()?;
        let mut domid = 0;
        // SAFETY: the handle is open; both pointers are to locals that outlive the call.
        call::status("xc_domain_create", || unsafe {
            raw::xc_domain_create(self.as_ptr(), &raw mut domid, &raw mut config)
        })?;
        DomId::narrow(domid)
            .ok_or(Error::InvalidArgument { what: "hypervisor chose a domain id over 16 bits" })
    }

    /// Allocates the virtual CPUs; the number has to be that of [`CreateDomain`].
    pub fn set_max_vcpus(&self, domid: DomId, vcpus: u32) -> Result<()> {
        scalar_call!(self, xc_domain_max_vcpus, domid.wide(), vcpus)
    }

    /// Lets `stubdom` act for `guest`; works once in a stubdom's life, and only for a HVM guest.
    pub fn set_target(&self, stubdom: DomId, guest: DomId) -> Result<()> {
        scalar_call!(self, xc_domain_set_target, stubdom.wide(), guest.wide())
    }
}

impl CreateDomain {
    fn to_raw(&self) -> Result<raw::xen_domctl_createdomain> {
        let (flags, emulation_flags) = match self.kind {
            DomainKind::Hvm => (raw::XEN_DOMCTL_CDF_hvm | raw::XEN_DOMCTL_CDF_hap, HVM_EMULATION),
            DomainKind::Pv => (0, 0),
        };
        // Fields that only one of the supported releases has stay zero.
        Ok(raw::xen_domctl_createdomain {
            ssidref: self.ssidref,
            handle: self.uuid.into_bytes(),
            flags,
            max_vcpus: self.max_vcpus,
            max_evtchn_port: self.max_evtchn_port,
            max_grant_frames: frames(self.max_grant_frames)?,
            max_maptrack_frames: frames(self.max_maptrack_frames)?,
            grant_opts: u32::from(self.grant_version),
            arch: raw::xen_arch_domainconfig { emulation_flags, ..Default::default() },
            ..Default::default()
        })
    }
}

/// A negative number asks for the hypervisor's default.
fn frames(number: Option<u32>) -> Result<i32> {
    match number {
        None => Ok(-1),
        Some(number) => i32::try_from(number)
            .map_err(|_| Error::InvalidArgument { what: "too many grant or maptrack frames" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hvm_and_pv_differ_in_flags_only() {
        let mut domain = CreateDomain {
            uuid: Uuid::from_u128(1),
            kind: DomainKind::Hvm,
            max_vcpus: 2,
            max_evtchn_port: 1023,
            max_grant_frames: None,
            max_maptrack_frames: Some(8),
            grant_version: 2,
            ssidref: 0,
        };
        let hvm = domain.to_raw().expect("valid");
        assert_eq!((hvm.flags, hvm.arch.emulation_flags), (3, 0x3ff));
        assert_eq!((hvm.max_grant_frames, hvm.max_maptrack_frames, hvm.grant_opts), (-1, 8, 2));
        domain.kind = DomainKind::Pv;
        let pv = domain.to_raw().expect("valid");
        assert_eq!((pv.flags, pv.arch.emulation_flags), (0, 0));
        domain.max_grant_frames = Some(u32::MAX);
        assert!(domain.to_raw().is_err());
    }
}
