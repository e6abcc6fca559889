// SPDX-License-Identifier: GPL-3.0-only
//! Assembles the kernel that is a whole stubdomain.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/kernel/ready.S";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let (object, code) = (out.join("ready.o"), out.join("ready.bin"));
    run(Command::new("cc").arg("-c").arg("-o").arg(&object).arg(SOURCE));
    run(Command::new("objcopy").args(["-O", "binary", "-j", ".text"]).arg(&object).arg(&code));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}
