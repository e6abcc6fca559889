// SPDX-License-Identifier: GPL-3.0-only
//! Assembles the kernel that is a whole stubdomain, and the boot sector of guests.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: [(&str, &str); 2] = [("src/kernel/ready.S", "ready"), ("src/guest/boot.S", "boot")];

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    for (source, name) in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        assemble(Path::new(source), &out.join(name));
    }
}

fn assemble(source: &Path, to: &Path) {
    let (object, code) = (to.with_extension("o"), to.with_extension("bin"));
    run(Command::new("cc").arg("-c").arg("-o").arg(&object).arg(source));
    run(Command::new("objcopy").args(["-O", "binary", "-j", ".text"]).arg(&object).arg(&code));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}
