// SPDX-License-Identifier: GPL-3.0-only
//! Chooses the role, and ends the domain when it fails.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use stub_init::report::Reporter;
use stub_init::{InitError, console, launch, ramdisk, root};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == launch::NAME) {
        let Err(error) = launch::run(arguments);
        eprintln!("cannot become QEMU: {error}");
        return ExitCode::from(launch::FAILED);
    }
    console::hook_panics();
    let mut reporter = Reporter::new();
    let error = match run(&mut reporter) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // A PID 1 that returns makes the kernel panic, which is how a failure that xenstore never got still shows.
    if reporter.failed(&error) {
        error.end().run();
    }
    ExitCode::FAILURE
}

fn run(reporter: &mut Reporter) -> Result<std::convert::Infallible, InitError> {
    if Path::new(proto::ramdisk::MODULES).exists() { ramdisk::run(reporter) } else { root::run(reporter) }
}
