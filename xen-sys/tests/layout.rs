// SPDX-License-Identifier: GPL-3.0-only
//! The structures that cross into C have the layout that the release is known to have.

use std::mem::{offset_of, size_of};

use xen_sys::BUILT_FOR;
use xen_sys::raw::ctrl::{e820entry, xc_domaininfo_t, xen_domctl_createdomain};
use xen_sys::raw::libs::{hvm_info_table, xc_dom_image};
use xen_sys::raw::linux::{loop_config, loop_info64};

/// Collects name and offset of each field, for one comparison.
macro_rules! offsets {
    ($type:ty: $($field:ident).+ $(, $($more:ident).+)*) => {
        [offset_of!($type, $($field).+) $(, offset_of!($type, $($more).+))*]
    };
}

#[test]
fn createdomain_fits_the_release() {
    type T = xen_domctl_createdomain;
    let common = offsets!(T: ssidref, handle, flags, iommu_opts, max_vcpus, max_evtchn_port, max_grant_frames,
        max_maptrack_frames, grant_opts);
    assert_eq!(common, [0, 4, 20, 24, 28, 32, 36, 40, 44]);
    let rest = offsets!(T: vmtrace_size, cpupool_id, arch.emulation_flags, arch.misc_flags);
    match BUILT_FOR {
        "4.17" => {
            assert_eq!(rest, [48, 52, 56, 60]);
            assert_eq!(size_of::<T>(), 64);
        }
        "4.20" => {
            assert_eq!(rest, [52, 56, 60, 64]);
            assert_eq!(size_of::<T>(), 68);
        }
        other => panic!("Xen {other} is not one that this project knows"),
    }
}

#[test]
fn domaininfo_is_the_same_in_every_release() {
    type T = xc_domaininfo_t;
    let offsets = offsets!(T: domain, flags, tot_pages, max_pages, outstanding_pages, shr_pages, paged_pages,
        shared_info_frame, cpu_time, nr_online_vcpus, max_vcpu_id, ssidref, handle, cpupool, gpaddr_bits, arch_config);
    assert_eq!(offsets, [0, 4, 8, 16, 24, 32, 40, 48, 56, 64, 68, 72, 76, 92, 96, 104]);
    assert_eq!(size_of::<T>(), 112);
}

#[test]
fn the_builder_keeps_its_table_where_we_look_for_it() {
    assert_eq!(offsets!(xc_dom_image: pv_p2m, total_pages), [480, 504]);
    assert_eq!(size_of::<xc_dom_image>(), 1952);
}

#[test]
fn hvmloader_finds_48_bytes() {
    type T = hvm_info_table;
    let offsets = offsets!(T: signature, length, checksum, apic_mode, nr_vcpus, low_mem_pgend, reserved_mem_pgstart,
        high_mem_pgend, vcpu_online);
    assert_eq!(offsets, [0, 8, 12, 13, 16, 20, 24, 28, 32]);
    assert_eq!(size_of::<T>(), 48);
}

#[test]
fn memory_map_entries_are_packed() {
    assert_eq!(offsets!(e820entry: addr, size, type_), [0, 8, 16]);
    assert_eq!(size_of::<e820entry>(), 20);
}

#[test]
fn loop_structures_are_the_kernels() {
    let offsets = offsets!(loop_info64: lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit, lo_number,
        lo_encrypt_type, lo_encrypt_key_size, lo_flags, lo_file_name, lo_crypt_name, lo_encrypt_key, lo_init);
    assert_eq!(offsets, [0, 8, 16, 24, 32, 40, 44, 48, 52, 56, 120, 184, 216]);
    assert_eq!(size_of::<loop_info64>(), 232);
    assert_eq!(offsets!(loop_config: fd, block_size, info, reserved), [0, 4, 8, 240]);
    assert_eq!(size_of::<loop_config>(), 304);
}
