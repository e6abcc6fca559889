// SPDX-License-Identifier: GPL-3.0-only
//! PID 1 of the stubdomain, and the parts of it that the tests' Linux guest uses as well.
//!
//! One binary has three roles. In the ramdisk ([`ramdisk`]) it loads kernel modules, mounts the root filesystem and
//! replaces itself by the same binary from there. From the root filesystem ([`root`]) it waits for `stub/go`, starts
//! QEMU, reports how far it came, serves QEMU's monitor to the toolstack ([`qmp`]), and ends the domain when QEMU
//! ends. In between ([`launch`]) it gives up all rights that QEMU does not need, and becomes QEMU. Nothing here polls
//! or sleeps.
#![deny(unsafe_code)]

pub mod budget;
pub mod channel;
pub mod console;
pub mod device;
mod error;
pub mod filter;
pub mod launch;
pub mod modules;
pub mod mounts;
pub mod network;
pub mod options;
pub mod output;
pub mod power;
pub mod qemu;
pub mod qmp;
pub mod ramdisk;
pub mod report;
pub mod root;
pub mod seed;
pub mod shell;
mod supervise;
mod switch_root;
pub mod sys;
pub mod watch;

pub use error::{InitError, QemuEnd};
