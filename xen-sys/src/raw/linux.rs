// SPDX-License-Identifier: GPL-3.0-only
//! The part of linux/loop.h that libc does not have.
#![allow(missing_docs, non_camel_case_types)]

pub const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
pub const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
pub const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;

pub const LO_FLAGS_READ_ONLY: u32 = 1;
pub const LO_FLAGS_AUTOCLEAR: u32 = 4;
pub const LO_FLAGS_DIRECT_IO: u32 = 16;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct loop_info64 {
    pub lo_device: u64,
    pub lo_inode: u64,
    pub lo_rdevice: u64,
    pub lo_offset: u64,
    pub lo_sizelimit: u64,
    pub lo_number: u32,
    pub lo_encrypt_type: u32,
    pub lo_encrypt_key_size: u32,
    pub lo_flags: u32,
    pub lo_file_name: [u8; 64],
    pub lo_crypt_name: [u8; 64],
    pub lo_encrypt_key: [u8; 32],
    pub lo_init: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct loop_config {
    pub fd: u32,
    pub block_size: u32,
    pub info: loop_info64,
    pub reserved: [u64; 8],
}

impl Default for loop_info64 {
    fn default() -> Self {
        // SAFETY: all fields are plain numbers, for which zero is a value.
        unsafe { std::mem::zeroed() }
    }
}
