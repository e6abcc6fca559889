// SPDX-License-Identifier: GPL-3.0-only
//! The command line: parses, calls libstub, prints. It decides nothing itself.
#![forbid(unsafe_code)]

mod cmd;
mod exit_code;
mod report;
mod run;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

/// Starts, lists and destroys Xen HVM guests whose QEMU runs in a Linux stubdomain.
#[derive(Parser)]
#[command(name = "stubctl", version)]
struct Args {
    /// Tell more: once for steps, twice for every call
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Where the records of pairs are kept
    #[arg(long, global = true, value_name = "DIR", default_value = libstub::DIRECTORY)]
    journal: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a guest and its stubdomain from an xl.cfg file, and start the guest
    Create {
        /// The config
        cfg: PathBuf,
        /// Set a key of the config, in place of what the file says; can be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Tell what happens, each with its time
        #[arg(long)]
        timings: bool,
    },
    /// List the pairs of this host
    List,
    /// Destroy a guest and its stubdomain
    Destroy {
        /// The guest's name
        name: String,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let level = match args.verbose {
        // What Xen's libraries log as an error is part of the error that is reported.
        0 => "warn,xen=off",
        1 => "libstub=debug,xen=info,warn",
        _ => "debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let journal = libstub::Journal::new(args.journal);
    let result = match args.command {
        Command::Create { cfg, set, timings } => cmd::create(journal, &cfg, &set, timings, args.json),
        Command::List => cmd::list(&journal, args.json),
        Command::Destroy { name } => cmd::destroy(journal, &name, args.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(args.json),
    }
}
