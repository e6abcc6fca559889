// SPDX-License-Identifier: GPL-3.0-only
//! The owner of a libxenctrl handle; its calls are in one file per topic.

mod create;
mod evtchn;
mod host;
mod hvm;
mod info;
mod memory;
mod power;

use std::ptr::NonNull;

use crate::call;
use crate::error::Result;
use crate::log;
use crate::raw::ctrl::{self as raw, xc_interface};
use crate::version::{BUILT_FOR, Version};

pub use create::{CreateDomain, DomainKind};
pub use evtchn::EvtchnState;
pub use host::PhysInfo;
pub use hvm::{CpuidPolicy, HvmParam};
pub use info::{DomainInfo, ShutdownReason};
pub use memory::{E820Entry, E820Kind};

pub(crate) use memory::raw_map;

/// The hypervisor, as the control domain may drive it.
///
/// One per thread: the handle can move to another thread, but it has room for one error message only, which two
/// threads that fail at once would write together. So it is `Send` and not `Sync`.
#[derive(Debug)]
pub struct Ctrl {
    raw: NonNull<xc_interface>,
}

// SAFETY: libxenctrl ties nothing of a handle to the thread that opened it.
unsafe impl Send for Ctrl {}

/// Calls a libxenctrl function whose arguments are plain numbers.
macro_rules! scalar_call {
    ($self:ident, $name:ident $(, $argument:expr)*) => {
        // SAFETY: the handle is open as long as its owner lives; all that is passed besides it is copied.
        crate::call::status(stringify!($name), || unsafe {
            crate::raw::ctrl::$name($self.as_ptr() $(, $argument)*)
        })
    };
}
use scalar_call;

impl Ctrl {
    /// Opens the hypervisor interface, and makes sure that it is of the release that this program was built for.
    pub fn open() -> Result<Self> {
        let this = Self::open_ungated()?;
        this.version()?.check(BUILT_FOR)?;
        Ok(this)
    }

    /// Opens without asking for the version, for tests of handles that cannot answer.
    #[doc(hidden)]
    pub fn open_ungated() -> Result<Self> {
        let logger = log::logger().cast();
        // SAFETY: the logger is a static, and has the layout of the one that xenctrl-sys declares: a level is an int
        // on the C side of both.
        let raw =
            call::pointer("xc_interface_open", || unsafe { raw::xc_interface_open(logger, logger, 0) })?;
        Ok(Self { raw })
    }

    /// The version of the running hypervisor.
    pub fn version(&self) -> Result<Version> {
        // SAFETY: the handle is open, and this question has no buffer.
        let version = call::number("xc_version", || unsafe {
            raw::xc_version(self.as_ptr(), raw::XENVER_version.cast_signed(), std::ptr::null_mut())
        })?;
        let mut extra = [0_u8; size_of::<raw::xen_extraversion_t>()];
        // SAFETY: the handle is open, and the buffer has the size that this question fills.
        call::status("xc_version", || unsafe {
            raw::xc_version(self.as_ptr(), raw::XENVER_extraversion.cast_signed(), extra.as_mut_ptr().cast())
        })?;
        Ok(Version::decode(version, &extra))
    }

    pub(crate) fn as_ptr(&self) -> *mut xc_interface {
        self.raw.as_ptr()
    }
}

impl Drop for Ctrl {
    fn drop(&mut self) {
        // SAFETY: this is the only owner, and nobody can call through it any more.
        unsafe { raw::xc_interface_close(self.as_ptr()) };
    }
}
