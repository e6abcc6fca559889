// SPDX-License-Identifier: GPL-3.0-only
//! Builds the stubdomain's image: kernel, ramdisk, root filesystem, and the manifest that describes them.
//!
//! What goes in comes from a distribution's root directory, `--root`, which is only read and never entered: QEMU and
//! the libraries it is linked with ([`closure`]), the kernel, and the modules it needs to reach its root filesystem
//! ([`kmod`]). Only PID 1 is ours. Equal inputs give equal bytes.
#![forbid(unsafe_code)]

pub mod cli;
pub mod closure;
pub mod collector;
pub mod contents;
pub mod debug_shell;
pub mod elf;
pub mod error;
pub mod format;
pub mod image;
pub mod kernel;
pub mod kmod;
pub mod packages;
pub mod qemu;
pub mod ramdisk;
pub mod root;
pub mod rootfs;
#[cfg(test)]
mod skipped;
pub mod tree;
pub mod unpack;

pub use error::ImageError;
pub use root::Root;
pub use tree::Tree;
