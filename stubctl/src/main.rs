// SPDX-License-Identifier: GPL-3.0-only
//! The command line: parses, calls libstub, prints. It decides nothing itself.
#![forbid(unsafe_code)]

mod cmd;
mod exit_code;
mod output;
mod report;
mod run;
mod schema;
mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};
use libstub::Code;

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
    #[command(flatten)]
    color: colorchoice_clap::Color,
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
    /// Tell whether this host can start pairs, and what to do if not
    Check {
        /// Wait this long for a xenstored that is started late
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        wait: Option<Duration>,
    },
    /// Create a guest and its stubdomain from an xl.cfg file, and start the guest
    Create(cmd::Create),
    /// Create a guest as `create` does, look after it until it is gone, and end it on a signal
    Run(cmd::Run),
    /// Look after all pairs of this host: do what their configs say when a guest or its QEMU ends
    Daemon(cmd::Limits),
    /// List the pairs of this host
    List,
    /// Show all that is known of a pair
    Show {
        /// The guest's name
        name: String,
    },
    /// Print what a guest and its stubdomain said on their consoles
    Logs(cmd::Logs),
    /// Destroy a guest and its stubdomain
    Destroy {
        /// The guest's name
        name: String,
    },
    /// Remove what is left of pairs whose create or destroy did not end
    Reap(cmd::Reap),
    /// Say what an error code means, and what to do
    Explain {
        /// The code; without one, all are listed
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(Code::ALL.iter().map(|code| code.as_str())), hide_possible_values = true)]
        code: Option<String>,
    },
    /// Build what stubdomains boot from
    #[command(subcommand)]
    Image(stub_image::cli::Command),
}

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u32 = text.parse().map_err(|_| "expected a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds.into()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    args.color.write_global();
    log(args.verbose, args.log_format, matches!(args.command, Command::Daemon(_)));
    let journal = libstub::Journal::new(args.journal);
    let result = match args.command {
        Command::Check { wait } => return cmd::check(journal, wait, args.json),
        Command::Create(create) => cmd::create(journal, &create, args.json),
        Command::Run(run) => cmd::run(journal, &run, args.json),
        Command::Daemon(limits) => cmd::daemon(journal, &limits),
        Command::List => cmd::list(&journal, args.json),
        Command::Show { name } => cmd::show(&journal, &name, args.json),
        Command::Logs(logs) => cmd::logs(&journal, &logs, args.json),
        Command::Destroy { name } => cmd::destroy(journal, &name, args.json),
        Command::Reap(reap) => match cmd::reap(journal, &reap, args.json) {
            Ok(Some(status)) => return status.into(),
            result => result.map(drop),
        },
        Command::Explain { code } => {
            cmd::explain(code.as_deref());
            Ok(())
        }
        Command::Image(command) => stub_image::cli::run(command).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(args.json),
    }
}

/// Sends what the library logs to standard error.
fn log(verbose: u8, format: LogFormat, daemon: bool) {
    let level = match verbose {
        // All that a daemon has to say is in its log.
        0 if daemon => "warn,libstub=info,xen=off",
        // What Xen's libraries log as an error is part of the error that is reported.
        0 => "warn,xen=off",
        1 => "info,libstub=debug,libstub::call=info",
        _ => "debug",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
