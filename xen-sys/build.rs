// SPDX-License-Identifier: GPL-3.0-only
//! Locates the Xen libraries and generates the bindings that `xenctrl-sys` does not supply.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use bindgen::{Builder, EnumVariation};

const HEADERS: &[&str] = &["toollog.h", "guest.h", "store.h", "evtchn.h", "gnttab.h", "foreignmemory.h"];

/// `xencontrol` comes first: its version is the Xen release that all of this is built for.
const LIBRARIES: &[&str] =
    &["xencontrol", "xenguest", "xenstore", "xenevtchn", "xengnttab", "xenforeignmemory", "xentoollog"];

const FUNCTIONS: &[&str] = &[
    "xc_cpuid_apply_policy",
    "xc_dom_allocate",
    "xc_dom_release",
    "xc_dom_kernel_max_size",
    "xc_dom_module_max_size",
    "xc_dom_kernel_file",
    "xc_dom_module_file",
    "xc_dom_boot_xen_init",
    "xc_dom_parse_image",
    "xc_dom_mem_init",
    "xc_dom_boot_mem_init",
    "xc_dom_build_image",
    "xc_dom_boot_image",
    "xc_dom_gnttab_init",
    "xc_dom_translated",
    "xs_open",
    "xs_close",
    "xs_directory",
    "xs_read",
    "xs_write",
    "xs_mkdir",
    "xs_rm",
    "xs_get_permissions",
    "xs_set_permissions",
    "xs_watch",
    "xs_fileno",
    "xs_check_watch",
    "xs_unwatch",
    "xs_transaction_start",
    "xs_transaction_end",
    "xs_introduce_domain",
    "xs_set_target",
    "xs_release_domain",
    "xs_is_domain_introduced",
    "xenevtchn_(open|close|fd|notify|bind_unbound_port|bind_interdomain|unbind|pending|unmask)",
    "xengnttab_(open|close|map_grant_ref|map_grant_ref_notify|map_domain_grant_refs|unmap)",
    "xenforeignmemory_(open|close|map|unmap)",
    "vsnprintf",
    "xtl_log",
];

const TYPES: &[&str] = &["xentoollog_logger", "hvm_info_table"];

const CONSTANTS: &[&str] =
    &["XTL_[A-Z]+", "XC_DOM_(PV|HVM)_CONTAINER", "XS_PERM_.*", "XS_UNWATCH_FILTER", "HVM_INFO_.*"];

/// Types that both binding crates would define, and that cross from one library to the other.
const SHARED_WITH_XENCTRL_SYS: &[&str] = &[
    "xc_interface",
    "xc_interface_core",
    "e820entry",
    "xc_xend_cpuid.*",
    "xc_msr",
    "xen_vmemrange",
    "xen_vmemrange_t",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let (release, include_paths) = locate()?;
    println!("cargo:rustc-env=XEN_SYS_BUILT_FOR={release}");
    bindings(&include_paths)?;
    Ok(())
}

/// Finds the libraries, tells cargo to link them, and returns the Xen release and the include paths.
fn locate() -> Result<(String, Vec<PathBuf>), String> {
    let mut release = None;
    let mut include_paths = Vec::new();
    for name in LIBRARIES {
        let library = pkg_config::Config::new().probe(name).map_err(|error| {
            format!("{error}\n\n{name} not found: install the packages libxen-dev and libclang-dev (and pkg-config)")
        })?;
        release.get_or_insert(library.version);
        include_paths.extend(library.include_paths);
    }
    let full = release.unwrap_or_default();
    let mut parts = full.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok((format!("{major}.{minor}"), include_paths)),
        _ => Err(format!("xencontrol has the unexpected version {full:?}")),
    }
}

fn bindings(include_paths: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let headers = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../xen-headers");
    let mut builder = Builder::default()
        .default_enum_style(EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(true)
        .derive_default(true)
        .generate_comments(false)
        .wrap_unsafe_ops(true)
        // Also follows the installed headers, so that another libxen-dev regenerates the bindings.
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for name in HEADERS {
        builder = builder.header(headers.join(name).to_str().ok_or("path is not UTF-8")?);
    }
    for path in include_paths {
        builder = builder.clang_arg(format!("-I{}", path.display()));
    }
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    for name in SHARED_WITH_XENCTRL_SYS {
        builder = builder.blocklist_type(name);
    }
    builder.generate()?.write_to_file(Path::new(&env::var("OUT_DIR")?).join("bindings.rs"))?;
    Ok(())
}
