// SPDX-License-Identifier: GPL-3.0-only
//! Which domains there are, and how they are.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use super::{Ctrl, DomainKind};
use crate::call;
use crate::error::Result;
use crate::raw::ctrl::{self as raw, xc_domaininfo_t};
use crate::types::DomId;

/// Domains asked for in one call.
const CHUNK: usize = 256;

/// A domain as the hypervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its id.
    pub domid: DomId,
    /// The handle that it was created with.
    pub uuid: Uuid,
    /// How it is virtualised.
    pub kind: DomainKind,
    /// It is being destroyed; it stays so while anyone still refers to it.
    pub dying: bool,
    /// The toolstack has paused it.
    pub paused: bool,
    /// All its CPUs wait for something.
    pub blocked: bool,
    /// A CPU of it runs right now.
    pub running: bool,
    /// Why it has shut down; it needs the toolstack to go on or to go away.
    pub shutdown: Option<ShutdownReason>,
    /// The pages that it has.
    pub pages: u64,
    /// The pages that it may have.
    pub max_pages: u64,
    /// The time that its CPUs have run.
    pub cpu_time: Duration,
    /// Its CPUs that are online.
    pub vcpus: u32,
}

/// Why a domain shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShutdownReason {
    /// It is finished.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// Its state is ready to be saved.
    Suspend,
    /// It failed.
    Crash,
    /// Its watchdog was not fed.
    Watchdog,
    /// It wants a new platform under the memory it has.
    SoftReset,
    /// A reason that this program does not know.
    Unknown(u8),
}

impl ShutdownReason {
    pub(crate) fn from_raw(number: u32) -> Self {
        match number & raw::XEN_DOMINF_shutdownmask {
            raw::SHUTDOWN_poweroff => Self::Poweroff,
            raw::SHUTDOWN_reboot => Self::Reboot,
            raw::SHUTDOWN_suspend => Self::Suspend,
            raw::SHUTDOWN_crash => Self::Crash,
            raw::SHUTDOWN_watchdog => Self::Watchdog,
            raw::SHUTDOWN_soft_reset => Self::SoftReset,
            other => Self::Unknown(u8::try_from(other).unwrap_or(u8::MAX)),
        }
    }

    pub(crate) fn to_raw(self) -> u32 {
        match self {
            Self::Poweroff => raw::SHUTDOWN_poweroff,
            Self::Reboot => raw::SHUTDOWN_reboot,
            Self::Suspend => raw::SHUTDOWN_suspend,
            Self::Crash => raw::SHUTDOWN_crash,
            Self::Watchdog => raw::SHUTDOWN_watchdog,
            Self::SoftReset => raw::SHUTDOWN_soft_reset,
            Self::Unknown(number) => u32::from(number),
        }
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poweroff => f.write_str("poweroff"),
            Self::Reboot => f.write_str("reboot"),
            Self::Suspend => f.write_str("suspend"),
            Self::Crash => f.write_str("crash"),
            Self::Watchdog => f.write_str("watchdog"),
            Self::SoftReset => f.write_str("soft-reset"),
            Self::Unknown(number) => write!(f, "unknown ({number})"),
        }
    }
}

impl DomainInfo {
    fn from_raw(info: &xc_domaininfo_t) -> Self {
        let is = |flag| info.flags & flag != 0;
        let reason = info.flags >> raw::XEN_DOMINF_shutdownshift;
        Self {
            domid: DomId::new(info.domain),
            uuid: Uuid::from_bytes(info.handle),
            kind: if is(raw::XEN_DOMINF_hvm_guest) { DomainKind::Hvm } else { DomainKind::Pv },
            dying: is(raw::XEN_DOMINF_dying),
            paused: is(raw::XEN_DOMINF_paused),
            blocked: is(raw::XEN_DOMINF_blocked),
            running: is(raw::XEN_DOMINF_running),
            shutdown: is(raw::XEN_DOMINF_shutdown).then(|| ShutdownReason::from_raw(reason)),
            pages: info.tot_pages,
            max_pages: info.max_pages,
            cpu_time: Duration::from_nanos(info.cpu_time),
            vcpus: info.nr_online_vcpus,
        }
    }
}

impl Ctrl {
    /// One domain, `None` when there is none of that id.
    pub fn domain_info(&self, domid: DomId) -> Result<Option<DomainInfo>> {
        // The answer starts at the first domain from that id on, which may be another one.
        let found = self.domains_from(domid, 1)?.pop();
        Ok(found.filter(|info| info.domid == domid))
    }

    /// All domains, in the order of their ids.
    pub fn domains(&self) -> Result<Vec<DomainInfo>> {
        let mut all: Vec<DomainInfo> = Vec::new();
        let mut first = DomId::DOM0;
        loop {
            let chunk = self.domains_from(first, CHUNK)?;
            let last = chunk.last().map(|info| info.domid);
            let more = chunk.len() == CHUNK;
            all.extend(chunk);
            match last.and_then(|last| last.get().checked_add(1)) {
                Some(next) if more => first = DomId::new(next),
                _ => return Ok(all),
            }
        }
    }

    fn domains_from(&self, first: DomId, most: usize) -> Result<Vec<DomainInfo>> {
        let mut buffer = vec![xc_domaininfo_t::default(); most.min(CHUNK)];
        let capacity = u32::try_from(buffer.len()).unwrap_or(1);
        // SAFETY: the handle is open, and the buffer has room for as many as are asked for.
        let filled = call::number("xc_domain_getinfolist", || unsafe {
            raw::xc_domain_getinfolist(self.as_ptr(), first.wide(), capacity, buffer.as_mut_ptr())
        })?;
        Ok(buffer.iter().take(filled as usize).map(DomainInfo::from_raw).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_apart() {
        let crashed =
            xc_domaininfo_t { domain: 7, flags: 2 | 4 | 8 | 3 << 16, cpu_time: 5, ..Default::default() };
        let info = DomainInfo::from_raw(&crashed);
        assert_eq!(info.domid, DomId::new(7));
        assert_eq!(info.shutdown, Some(ShutdownReason::Crash));
        assert_eq!((info.kind, info.paused, info.dying), (DomainKind::Hvm, true, false));
        let alive = xc_domaininfo_t { flags: 255 << 16 | 16, ..Default::default() };
        assert_eq!(DomainInfo::from_raw(&alive).shutdown, None);
    }

    #[test]
    fn every_reason_survives_the_way_to_xen_and_back() {
        for number in 0..=255 {
            assert_eq!(ShutdownReason::from_raw(number).to_raw(), number);
        }
    }
}
