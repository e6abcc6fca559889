// SPDX-License-Identifier: GPL-3.0-only
//! Running dom0's own programs.

use std::process::Command;

use crate::stubctl::Ran;

/// Runs a program of dom0, and shows what came of it.
///
/// # Panics
/// When it cannot be run at all.
pub fn run(program: &str, args: &[&str]) -> Ran {
    let ran: Ran =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}")).into();
    println!("$ {program} {} -> {}\n{}{}", args.join(" "), ran.status, ran.stdout, ran.stderr);
    ran
}

/// The standard output of a program that must succeed.
///
/// # Panics
/// When it does not.
pub fn must(program: &str, args: &[&str]) -> String {
    let ran = run(program, args);
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.stdout
}
