// SPDX-License-Identifier: GPL-3.0-only
//! The command line of the image builder.
#![forbid(unsafe_code)]

use clap::Parser;
use stub_image::cli;

/// Builds what a stubdomain boots from.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: cli::Command,
}

fn main() -> anyhow::Result<()> {
    cli::run(Cli::parse().command)
}
