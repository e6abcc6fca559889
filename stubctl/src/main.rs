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
    /// How the log on standard error is written
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Where the records of pairs are kept
    #[arg(long, global = true, value_name = "DIR", default_value = libstub::DIRECTORY)]
    journal: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// An object a line, each with the spans it happened in
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Create a guest and its stubdomain from an xl.cfg file, and start the guest
    Create {
        /// The config
        cfg: PathBuf,
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
    log(args.verbose, args.log_format);
    let journal = libstub::Journal::new(args.journal);
    let result = match args.command {
        Command::Create { cfg, timings } => cmd::create(journal, &cfg, timings, args.json),
        Command::List => cmd::list(&journal, args.json),
        Command::Destroy { name } => cmd::destroy(journal, &name, args.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(args.json),
    }
}

/// Sends what the library logs to standard error.
fn log(verbose: u8, format: LogFormat) {
    let level = match verbose {
        // What Xen's libraries log as an error is part of the error that is reported.
        0 => "warn,xen=off",
        1 => "info,libstub=debug,libstub::call=info",
        _ => "debug",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
