// SPDX-License-Identifier: GPL-3.0-only
//! The domain builder: what fills an empty domain with a kernel and makes it ready to be unpaused.
//!
//! ```text
//! allocate -> fields, files -> load (Xen's features, image, memory) -> [HVM: memory map] -> finish -> release
//! ```
//! Whatever fails, the image is released; the domain stays as far as it was built, for the caller to destroy.

mod hvm;
mod pv;

use std::ffi::{CStr, c_int, c_uint};
use std::path::Path;
use std::ptr::NonNull;

use crate::call;
use crate::ctrl::Ctrl;
use crate::error::{Error, Result};
use crate::raw::libs::{self, xc_dom_image};
use crate::types::{DomId, EvtchnPort, Gfn, Kib};

pub use hvm::{HvmBuild, build_hvm};
pub use pv::{PvBuild, build_pv};

/// Larger than any kernel, unpacked: a file or a bomb over this must not fill the control domain's memory.
const KERNEL_BYTES_MAX: usize = 256 << 20;
/// As above, for a ramdisk as the builder holds it.
const RAMDISK_BYTES_MAX: usize = 512 << 20;

/// One end of a ring between the new domain and a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The new domain's port.
    pub port: EvtchnPort,
    /// The domain where the daemon runs.
    pub remote: DomId,
}

/// Where the builder put the pages that others have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltPages {
    /// The page of the console ring; a machine frame for a PV domain.
    pub console: Gfn,
    /// The page of the xenstore ring; a machine frame for a PV domain.
    pub store: Gfn,
}

/// The owner of a builder's state.
struct DomImage<'c> {
    raw: NonNull<xc_dom_image>,
    ctrl: &'c Ctrl,
}

impl<'c> DomImage<'c> {
    fn allocate(ctrl: &'c Ctrl, cmdline: Option<&CStr>, features: Option<&CStr>) -> Result<Self> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: the handle is open, and outlives the image by its lifetime; C copies both strings.
        let raw = call::pointer("xc_dom_allocate", || unsafe {
            libs::xc_dom_allocate(ctrl.as_ptr(), pointer(cmdline), pointer(features))
        })
        .map_err(Error::into_build)?;
        let mut this = Self { raw, ctrl };
        // SAFETY: the image is allocated.
        this.step("xc_dom_kernel_max_size", |dom| unsafe {
            libs::xc_dom_kernel_max_size(dom, KERNEL_BYTES_MAX)
        })?;
        // SAFETY: the image is allocated.
        this.step("xc_dom_module_max_size", |dom| unsafe {
            libs::xc_dom_module_max_size(dom, RAMDISK_BYTES_MAX)
        })?;
        Ok(this)
    }

    /// Runs one step; a failure carries its name and what the builder logged.
    fn step(&mut self, name: &'static str, f: impl FnOnce(*mut xc_dom_image) -> c_int) -> Result<()> {
        call::status(name, || f(self.raw.as_ptr())).map_err(Error::into_build)
    }

    /// The fields that the caller is meant to fill in.
    fn fields(&mut self) -> &mut xc_dom_image {
        // SAFETY: the image is allocated and initialised, and C looks at it only inside of calls, which need `self` too.
        unsafe { self.raw.as_mut() }
    }

    fn connect(&mut self, console: Channel, store: Channel) {
        let fields = self.fields();
        fields.console_evtchn = console.port.get();
        fields.console_domid = console.remote.wide();
        fields.xenstore_evtchn = store.port.get();
        fields.xenstore_domid = store.remote.wide();
    }

    fn kernel_file(&mut self, path: &Path) -> Result<()> {
        let path = call::c_path(path)?;
        // SAFETY: the image is allocated; C reads the file before it returns.
        self.step("xc_dom_kernel_file", |dom| unsafe { libs::xc_dom_kernel_file(dom, path.as_ptr()) })
    }

    fn ramdisk_file(&mut self, path: &Path) -> Result<()> {
        let path = call::c_path(path)?;
        // SAFETY: the image is allocated; C reads the file before it returns, and NULL is "no command line".
        self.step("xc_dom_module_file", |dom| unsafe {
            libs::xc_dom_module_file(dom, path.as_ptr(), std::ptr::null())
        })
    }

    /// Reads the kernel's headers and gives the domain its memory.
    fn load(&mut self, domid: DomId, mib: c_uint) -> Result<()> {
        let xch = self.ctrl.as_ptr();
        // SAFETY: the image is allocated, and the handle outlives it; likewise below.
        self.step("xc_dom_boot_xen_init", |dom| unsafe {
            libs::xc_dom_boot_xen_init(dom, xch, domid.wide())
        })?;
        // SAFETY: as above.
        self.step("xc_dom_parse_image", |dom| unsafe { libs::xc_dom_parse_image(dom) })?;
        // SAFETY: as above.
        self.step("xc_dom_mem_init", |dom| unsafe { libs::xc_dom_mem_init(dom, mib) })?;
        // SAFETY: as above.
        self.step("xc_dom_boot_mem_init", |dom| unsafe { libs::xc_dom_boot_mem_init(dom) })
    }

    /// Copies everything into the domain's memory, prepares its first CPU, and grants the two rings.
    ///
    /// # Safety
    ///
    /// What the pointers in [`Self::fields`] point to is alive.
    unsafe fn finish(&mut self) -> Result<()> {
        // SAFETY: the image is allocated and loaded, and the caller keeps what it points to.
        self.step("xc_dom_build_image", |dom| unsafe { libs::xc_dom_build_image(dom) })?;
        // SAFETY: as above.
        self.step("xc_dom_boot_image", |dom| unsafe { libs::xc_dom_boot_image(dom) })?;
        // SAFETY: as above.
        self.step("xc_dom_gnttab_init", |dom| unsafe { libs::xc_dom_gnttab_init(dom) })
    }
}

impl Drop for DomImage<'_> {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; the release also unmaps the domain's memory.
        unsafe { libs::xc_dom_release(self.raw.as_ptr()) };
    }
}

/// The builder counts in MiB.
fn whole_mib(memory: Kib) -> Result<c_uint> {
    memory
        .whole_mib()
        .and_then(|mib| c_uint::try_from(mib).ok())
        .filter(|&mib| mib > 1)
        .ok_or(Error::InvalidArgument { what: "memory is not a whole number of MiB, at least 2" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_the_builder_would_round_is_refused() {
        assert_eq!(whole_mib(Kib::from_mib(128)).expect("whole"), 128);
        assert!(whole_mib(Kib::new(128 * 1024 + 4)).is_err());
        assert!(whole_mib(Kib::from_mib(1)).is_err());
        assert!(whole_mib(Kib::from_mib(1 << 33)).is_err());
    }
}
