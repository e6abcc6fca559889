// SPDX-License-Identifier: GPL-3.0-only
//! Chores of the project, as `cargo xtask <chore>`. Depends on no other member: it runs cargo for them.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod cache;
mod coverage;
mod demo;
mod docs;
mod foreign;
mod guest;
mod image;
mod lab;
mod markdown;
mod packages;
mod step;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The workspace's root: where this program was built.
fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores: the dom0 lab, the image, the tests, the demo")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// From this machine to a running guest on a real Xen, and what happened
    Demo(demo::Args),
    /// Run the three test rings
    Test(test::Args),
    /// The dom0 lab: a real Xen and dom0 in emulation
    #[command(subcommand)]
    Dom0(lab::Command),
    /// Build the stubdomain image into target/image/RELEASE/
    Image(image::Args),
    /// Make a disk for a guest: a boot loader, Debian's kernel, and an init that tells how it is
    Guest {
        /// The disk
        file: PathBuf,
    },
    /// Measure ours against upstream's in one dom0, into target/bench/
    Bench(bench::Args),
    /// Formatting, lints, documentation and house rules
    Tidy,
    /// Check the commands that the documentation shows, and make the book into target/book/
    Docs(docs::Args),
    /// Bans, licences, sources and advisories of the crates of others: cargo-deny, installed once
    Deny,
    /// Line coverage of the library's error paths, and which lines no test reaches: cargo-tarpaulin, installed once
    Coverage,
}

fn main() -> ExitCode {
    let result = match Args::parse().chore {
        Chore::Demo(args) => demo::run(&args),
        Chore::Test(args) => test::run(&args),
        Chore::Dom0(command) => lab::command(&command),
        Chore::Image(args) => image::run(&args),
        Chore::Guest { file } => guest::chore(&file),
        Chore::Bench(args) => bench::run(&args),
        Chore::Tidy => tidy::run(),
        Chore::Docs(args) => docs::run(&args),
        Chore::Deny => tidy::deny(),
        Chore::Coverage => coverage::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
