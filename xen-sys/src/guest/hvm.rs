// SPDX-License-Identifier: GPL-3.0-only
//! Builds a HVM guest: hvmloader, its firmware, and the table that tells it of the CPUs.

use std::io;
use std::mem::offset_of;
use std::path::Path;

use super::{BuiltPages, Channel, DomImage, whole_mib};
use crate::ctrl::{Ctrl, E820Entry, E820Kind, raw_map};
use crate::error::{Error, Result};
use crate::foreign::ForeignMemory;
use crate::raw::libs;
use crate::types::{DomId, Gfn, Kib};

const MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 4 << 30;
/// The room below 4 GiB for the memory of emulated devices.
const MMIO_BYTES: u64 = 0x1000_0000;
const MMIO_START: u64 = FOUR_GIB - MMIO_BYTES;
/// The pages 0xa0 to 0xbf, where a VGA card has its memory.
const VGA_HOLE_PAGES: u64 = 0x20;

const TABLE_BYTES: usize = size_of::<libs::hvm_info_table>();
/// The bitmap of CPUs is the table's last field.
const ONLINE_BYTES: usize = TABLE_BYTES - offset_of!(libs::hvm_info_table, vcpu_online);

/// What a HVM guest is built from.
#[derive(Clone, Copy, Debug)]
pub struct HvmBuild<'a> {
    /// The hvmloader of the running Xen release.
    pub hvmloader: &'a Path,
    /// The BIOS or UEFI that hvmloader starts.
    pub firmware: &'a [u8],
    /// The memory that the guest has, a whole number of MiB; that of the VGA card is not part of it.
    pub memory: Kib,
    /// The memory that the guest sees, a whole number of MiB; what is more than it has is populated on demand,
    /// until its balloon driver gives it back.
    pub max_memory: Kib,
    /// The number of virtual CPUs, all online.
    pub vcpus: u32,
    /// The ring of the console.
    pub console: Channel,
    /// The ring of xenstore.
    pub store: Channel,
}

/// Where the guest's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    lowmem_end: u64,
    /// 0 when nothing is above 4 GiB.
    highmem_end: u64,
}

impl Layout {
    fn new(memory: Kib) -> Self {
        let lowmem_end = memory.bytes().min(MMIO_START);
        let high = memory.bytes() - lowmem_end;
        Self { lowmem_end, highmem_end: if high > 0 { FOUR_GIB + high } else { 0 } }
    }

    /// Without the first MiB, which hvmloader describes itself.
    fn map(self) -> Vec<E820Entry> {
        let ram = |from: u64, to: u64| E820Entry { address: from, size: to - from, kind: E820Kind::Ram };
        let mut map = vec![ram(MIB, self.lowmem_end)];
        if self.highmem_end > 0 {
            map.push(ram(FOUR_GIB, self.highmem_end));
        }
        map
    }
}

/// Builds a HVM guest into an empty domain that has its CPUs, its memory limit and its paging pool.
pub fn build_hvm(ctrl: &Ctrl, domid: DomId, build: &HvmBuild<'_>) -> Result<BuiltPages> {
    whole_mib(build.memory)?;
    let mib = whole_mib(build.max_memory)?;
    if build.max_memory < build.memory {
        return Err(Error::InvalidArgument { what: "maximum memory is less than the memory" });
    }
    let firmware_bytes = u32::try_from(build.firmware.len())
        .map_err(|_| Error::InvalidArgument { what: "firmware is larger than 4 GiB" })?;
    let online = online_mask(build.vcpus)?;
    let layout = Layout::new(build.max_memory);
    let mut map = raw_map(&layout.map());

    let mut image = DomImage::allocate(ctrl, None, None)?;
    let fields = image.fields();
    fields.container_type = libs::XC_DOM_HVM_CONTAINER;
    // Less than what is laid out is populate-on-demand.
    fields.target_pages = build.memory.pages();
    fields.mmio_size = MMIO_BYTES;
    fields.mmio_start = MMIO_START;
    fields.lowmem_end = layout.lowmem_end;
    fields.highmem_end = layout.highmem_end;
    fields.vga_hole_size = VGA_HOLE_PAGES;
    fields.device_model = true;
    fields.max_vcpus = build.vcpus;
    // C copies the firmware into the guest and does not write to it.
    fields.system_firmware_module.data = build.firmware.as_ptr().cast_mut();
    fields.system_firmware_module.length = firmware_bytes;
    image.connect(build.console, build.store);

    image.kernel_file(build.hvmloader)?;
    image.load(domid, mib)?;
    ctrl.set_raw_memory_map(domid, &mut map)?;
    let fields = image.fields();
    fields.e820_entries = u32::try_from(map.len()).unwrap_or(0);
    fields.e820 = map.as_mut_ptr();
    // SAFETY: firmware and memory map live longer than this call, and nothing reads them after it.
    unsafe { image.finish()? };
    announce_vcpus(domid, build.vcpus, online)?;

    let fields = image.fields();
    Ok(BuiltPages { console: Gfn::new(fields.console_pfn), store: Gfn::new(fields.xenstore_pfn) })
}

fn online_mask(vcpus: u32) -> Result<[u8; ONLINE_BYTES]> {
    let bits = u32::try_from(ONLINE_BYTES * 8).unwrap_or(0);
    if vcpus == 0 || vcpus > bits {
        return Err(Error::InvalidArgument { what: "number of vcpus is not between 1 and 128" });
    }
    let mut mask = [0; ONLINE_BYTES];
    for vcpu in 0..vcpus as usize {
        mask[vcpu / 8] |= 1 << (vcpu % 8);
    }
    Ok(mask)
}

/// Corrects the table that hvmloader finds in the guest's memory: the builder always writes one CPU into it.
fn announce_vcpus(domid: DomId, vcpus: u32, online: [u8; ONLINE_BYTES]) -> Result<()> {
    let memory = ForeignMemory::open()?;
    let page = memory.map_writable(domid, Gfn::new(libs::HVM_INFO_PFN.into()))?;
    let offset = libs::HVM_INFO_OFFSET as usize;
    let mut table = [0; TABLE_BYTES];
    page.copy_out(offset, &mut table);
    if !correct(&mut table, vcpus, online) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "the builder left no valid table");
        return Err(Error::Build { step: "hvm_info_table", source, detail: None });
    }
    page.copy_in(offset, &table);
    Ok(())
}

/// Whether it was a table, which then has these CPUs, an APIC, and a sum of 0 again.
fn correct(table: &mut [u8; TABLE_BYTES], vcpus: u32, online: [u8; ONLINE_BYTES]) -> bool {
    let length = offset_of!(libs::hvm_info_table, length);
    let checksum = offset_of!(libs::hvm_info_table, checksum);
    let nr_vcpus = offset_of!(libs::hvm_info_table, nr_vcpus);
    let vcpu_online = offset_of!(libs::hvm_info_table, vcpu_online);
    let announced = u32::try_from(TABLE_BYTES).unwrap_or(0).to_le_bytes();
    if !table.starts_with(b"HVM INFO") || table[length..length + 4] != announced {
        return false;
    }
    table[offset_of!(libs::hvm_info_table, apic_mode)] = 1;
    table[nr_vcpus..nr_vcpus + 4].copy_from_slice(&vcpus.to_le_bytes());
    table[vcpu_online..vcpu_online + ONLINE_BYTES].copy_from_slice(&online);
    table[checksum] = 0;
    table[checksum] = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_split_around_the_device_hole() {
        let small = Layout::new(Kib::from_mib(512));
        assert_eq!(small, Layout { lowmem_end: 512 << 20, highmem_end: 0 });
        let map = small.map();
        assert_eq!(map.len(), 1);
        assert_eq!((map[0].address, map[0].address + map[0].size), (MIB, 512 << 20));

        let edge = Layout::new(Kib::new(MMIO_START / 1024));
        assert_eq!(edge, Layout { lowmem_end: 0xf000_0000, highmem_end: 0 });

        let large = Layout::new(Kib::from_mib(8192));
        assert_eq!(large.lowmem_end, 0xf000_0000);
        assert_eq!(large.highmem_end, (8_u64 << 30) + MMIO_BYTES);
        let total: u64 = large.map().iter().map(|entry| entry.size).sum();
        assert_eq!(total + MIB, 8 << 30);
    }

    #[test]
    fn the_corrected_table_sums_to_zero() {
        let mut table = [0; TABLE_BYTES];
        table[..8].copy_from_slice(b"HVM INFO");
        table[8] = 48;
        table[12] = 99;
        table[20..32].fill(0x5a);
        assert!(correct(&mut table, 3, online_mask(3).expect("few")));
        assert_eq!(table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!((table[13], table[16], table[32], table[33]), (1, 3, 0b111, 0));
        assert_eq!(table[20..32], [0x5a; 12]);
    }

    #[test]
    fn what_is_not_a_table_is_left_alone() {
        let mut table = [0; TABLE_BYTES];
        assert!(!correct(&mut table, 1, [1; ONLINE_BYTES]));
        assert_eq!(table, [0; TABLE_BYTES]);
    }

    #[test]
    fn vcpus_have_to_fit_the_table() {
        assert!(online_mask(0).is_err());
        assert!(online_mask(129).is_err());
        assert_eq!(online_mask(128).expect("fits"), [0xff; 16]);
        assert_eq!(online_mask(9).expect("fits")[..3], [0xff, 1, 0]);
    }
}
