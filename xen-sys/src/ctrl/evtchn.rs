// SPDX-License-Identifier: GPL-3.0-only
//! Event channels of other domains.

use super::Ctrl;
use crate::call;
use crate::error::Result;
use crate::raw::ctrl as raw;
use crate::types::{DomId, EvtchnPort};

/// What a port that is in use is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvtchnState {
    /// Waiting for another domain to bind to it.
    Unbound,
    /// Connected to a port of another domain.
    Interdomain,
    /// A physical interrupt.
    Pirq,
    /// A virtual interrupt.
    Virq,
    /// Between CPUs of one domain.
    Ipi,
    /// A state that this program does not know.
    Unknown(u32),
}

impl Ctrl {
    /// Allocates a port in `domid` that only `remote` can bind to.
    pub fn alloc_unbound(&self, domid: DomId, remote: DomId) -> Result<EvtchnPort> {
        // SAFETY: the handle is open, and the arguments are plain numbers.
        let port = call::number("xc_evtchn_alloc_unbound", || unsafe {
            raw::xc_evtchn_alloc_unbound(self.as_ptr(), domid.wide(), remote.wide())
        })?;
        Ok(EvtchnPort::new(port))
    }

    /// What a port is used for, `None` when it is free. Ports past the end of the domain's table fail with EINVAL.
    pub fn evtchn_status(&self, domid: DomId, port: EvtchnPort) -> Result<Option<EvtchnState>> {
        let mut status = raw::evtchn_status { dom: domid.get(), port: port.get(), ..Default::default() };
        // SAFETY: the handle is open, and the structure outlives the call.
        call::status("xc_evtchn_status", || unsafe {
            raw::xc_evtchn_status(self.as_ptr(), &raw mut status)
        })?;
        Ok(match status.status {
            raw::EVTCHNSTAT_closed => None,
            raw::EVTCHNSTAT_unbound => Some(EvtchnState::Unbound),
            raw::EVTCHNSTAT_interdomain => Some(EvtchnState::Interdomain),
            raw::EVTCHNSTAT_pirq => Some(EvtchnState::Pirq),
            raw::EVTCHNSTAT_virq => Some(EvtchnState::Virq),
            raw::EVTCHNSTAT_ipi => Some(EvtchnState::Ipi),
            other => Some(EvtchnState::Unknown(other)),
        })
    }

    /// The ports that `domid` has in use.
    pub fn evtchn_ports(&self, domid: DomId) -> Result<Vec<EvtchnPort>> {
        let mut ports = Vec::new();
        // Port 0 is never handed out, and asking for it fails.
        for port in (1..).map(EvtchnPort::new) {
            match self.evtchn_status(domid, port) {
                Ok(Some(_)) => ports.push(port),
                Ok(None) => {}
                Err(error) if error.errno() == Some(libc::EINVAL) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(ports)
    }
}
