// SPDX-License-Identifier: GPL-3.0-only
//! PID 1 of the stubdomain, and the parts of it that the tests' Linux guest uses as well.
//!
//! One binary has two roles. In the ramdisk ([`ramdisk`]) it loads kernel modules, mounts the root filesystem and
//! replaces itself by the same binary from there. From the root filesystem ([`root`]) it waits for `stub/go`, starts
//! QEMU, reports how far it came, and powers the domain off when QEMU ends. Nothing here polls or sleeps.
#![forbid(unsafe_code)]

pub mod console;
pub mod device;
mod error;
pub mod modules;
pub mod mounts;
pub mod power;
pub mod qemu;
pub mod ramdisk;
pub mod report;
pub mod root;
mod switch_root;
pub mod watch;

pub use error::InitError;
