// SPDX-License-Identifier: GPL-3.0-only
//! PV kernels for tests: one dies at its first instruction, one is a whole stubdomain without QEMU.

use std::fs;
use std::process::Command;

/// Where Linux has its kernel as well.
const BASE: u64 = 0xffff_ffff_8000_0000;
const ENTRY: u64 = BASE + 0x100_0000;
const PAGE: usize = 4096;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// What `build.rs` made of `kernel/ready.S`.
const READY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ready.bin"));

/// A kernel with one instruction, `ud2`: Xen itself stamps the moment of its death on its console.
pub fn crashing_kernel() -> Vec<u8> {
    kernel(&[0x0f, 0x0b])
}

/// A kernel that shows what `image/dmargs` holds on its console, writes the ready key, and sleeps.
pub fn ready_kernel() -> Vec<u8> {
    kernel(READY)
}

/// An image whose kernel is all of it, and wants its arguments in one node.
///
/// # Panics
/// When it cannot be made.
pub fn ready_image() -> tempfile::TempDir {
    let image = tempfile::tempdir().expect("a directory");
    let kernel = image.path().join(proto::manifest::KERNEL);
    fs::write(&kernel, ready_kernel()).expect("written");
    let sum = Command::new("sha256sum").arg(&kernel).output().expect("sha256sum");
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    let manifest = serde_json::json!({
        "protocol": proto::PROTOCOL, "kind": "kernel-only", "arguments": "dmargs", "xen": xen_sys::BUILT_FOR,
        "qemu": "none", "kernel": "ready", "rootfs": "none", "cmdline": "", "min_memory_mib": 32,
        "digests": { "kernel": sum.split(' ').next() }, "contents": [],
    });
    fs::write(image.path().join(proto::manifest::FILE), manifest.to_string()).expect("written");
    image
}

/// An ELF file of this code, and the notes that make it a PV kernel (xen/elfnote.h).
fn kernel(code: &[u8]) -> Vec<u8> {
    let mut notes = Vec::new();
    for (kind, value) in [
        (6, b"test\0".to_vec()),
        (5, b"xen-3.0\0".to_vec()),
        (8, b"generic\0".to_vec()),
        (9, b"yes\0".to_vec()),
        (3, BASE.to_le_bytes().to_vec()),
        (1, ENTRY.to_le_bytes().to_vec()),
    ] {
        note(&mut notes, kind, &value);
    }
    let notes_at = HEADER + 2 * PROGRAM_HEADER;
    let size = code.len().next_multiple_of(PAGE);
    let mut file = header();
    // PT_LOAD, read and execute; PT_NOTE, read.
    program_header(&mut file, 1, 5, PAGE, ENTRY, size);
    program_header(&mut file, 4, 4, notes_at, 0, notes.len());
    file.extend_from_slice(&notes);
    file.resize(PAGE, 0);
    file.extend_from_slice(code);
    file.resize(PAGE + size, 0);
    file
}

fn header() -> Vec<u8> {
    // 64-bit, little-endian, version 1; then an executable for x86-64.
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [2_u16, 62] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1_u32.to_le_bytes());
    for word in [ENTRY, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    // Sizes and counts: this header, two program headers, no sections.
    for half in [64_u16, 56, 2, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file
}

fn program_header(file: &mut Vec<u8>, kind: u32, flags: u32, offset: usize, address: u64, size: usize) {
    let (offset, size) = (offset as u64, size as u64);
    file.extend_from_slice(&kind.to_le_bytes());
    file.extend_from_slice(&flags.to_le_bytes());
    for word in [offset, address, address.saturating_sub(BASE), size, size, 4096] {
        file.extend_from_slice(&word.to_le_bytes());
    }
}

fn note(notes: &mut Vec<u8>, kind: u32, value: &[u8]) {
    let size = u32::try_from(value.len()).unwrap_or(0);
    for word in [4, size, kind] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    notes.extend_from_slice(b"Xen\0");
    notes.extend_from_slice(value);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_instruction_is_ud2() {
        let file = crashing_kernel();
        assert_eq!(file[4096..4098], [0x0f, 0x0b]);
        assert_eq!(file.len(), 8192);
    }

    #[test]
    fn the_kernel_that_gets_ready_is_loaded_as_a_whole() {
        let file = ready_kernel();
        assert_eq!(file[PAGE..PAGE + READY.len()], *READY);
        assert_eq!(file.len() % PAGE, 0);
        assert!(READY.windows(8).any(|bytes| bytes == b"\0running"));
    }
}
