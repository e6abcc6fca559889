// SPDX-License-Identifier: GPL-3.0-only
//! The raw C calls: [`ctrl`] is libxenctrl as `xenctrl-sys` binds it, [`libs`] the other libraries as `build.rs` does.
//!
//! `xenctrl-sys` makes Rust enums of C enums, where a value that the enum does not know is undefined behaviour: nothing
//! may let C fill one in. Our own bindings have plain integers instead.

pub mod linux;

pub use xenctrl_sys as ctrl;

/// libxenguest, libxenstore, libxenevtchn, libxengnttab, libxenforeignmemory and libxentoollog.
#[allow(
    missing_docs,
    missing_debug_implementations,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals
)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, unreachable_pub)]
pub mod libs {
    use xenctrl_sys::{e820entry, xc_interface, xc_msr, xc_xend_cpuid, xen_vmemrange_t};

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
