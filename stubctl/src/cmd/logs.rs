// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl logs`: what guest and stubdomain said on their consoles.

use std::io;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use libstub::{ConsoleLogs, Journal, LogLine, LogSource, Name, ShowError, XenHost};

use crate::output::{note, try_say};
use crate::report::Failure;
use crate::run::Loop;

/// How often it is looked whether the pair is still there: Xen is asked, which needs no xenstored.
const LOOK: Duration = Duration::from_secs(1);

/// Which logs.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The guest's name
    name: String,
    /// Only the guest's console
    #[arg(long, conflicts_with = "stubdom")]
    guest: bool,
    /// Only the stubdomain's console
    #[arg(long)]
    stubdom: bool,
    /// Go on with what is added, until the pair is gone
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each console, counted from the end
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    lines: usize,
}

impl Logs {
    fn sources(&self) -> Vec<LogSource> {
        let wanted = |source: &LogSource| match source {
            LogSource::Guest => !self.stubdom,
            LogSource::Stubdom => !self.guest,
        };
        LogSource::ALL.into_iter().filter(wanted).collect()
    }
}

pub(crate) fn logs(journal: &Journal, args: &Logs, as_json: bool) -> Result<(), Failure> {
    let name = Name::new(&args.name).map_err(|error| Failure::name(&error))?;
    let sources = args.sources();
    let print = Print { both: sources.len() > 1, as_json };
    let mut logs = ConsoleLogs::new(&name, &sources);
    let host = XenHost::open();
    let alive = match &host {
        Ok(host) => libstub::is_alive(host, journal, &name)?,
        Err(_) => false,
    };
    if alive && !logs.enabled() {
        return ring(&host?, journal, &name, args, &print);
    }
    if logs.files().is_empty() && !alive {
        host?;
        return Err(ShowError::NoSuchPair(name).into());
    }
    if !alive {
        note(format_args!("note: {name} is not there any more; this is what its consoles left"));
    }
    // Watched before it is read: what is added in between comes as an event.
    let follow = if args.follow && alive { Some(logs.watch()) } else { None };
    let internal = |error: io::Error| Failure::internal(&error);
    let last = logs.last(args.lines).map_err(internal)?;
    if last.iter().try_for_each(|line| print.line(line)).is_err() {
        return Ok(());
    }
    if let (Some(descriptor), Ok(host)) = (follow, &host) {
        let mut event_loop = Loop::new().map_err(internal)?;
        descriptor.and_then(|descriptor| event_loop.watch(descriptor)).map_err(internal)?;
        follow_to_the_end(&mut event_loop, &mut logs, &print, || {
            Ok(libstub::is_alive(host, journal, &name)?)
        })?;
    }
    // Nobody who reads is no failure.
    let _ = logs.remainder().iter().try_for_each(|line| print.line(line));
    Ok(())
}

/// Prints what is added until the pair is gone, a signal comes, or nobody reads any more.
fn follow_to_the_end(
    event_loop: &mut Loop,
    logs: &mut ConsoleLogs,
    print: &Print,
    alive: impl Fn() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let internal = |error: io::Error| Failure::internal(&error);
    let mut last_look = false;
    loop {
        let (lines, more) = logs.added().map_err(internal)?;
        if lines.iter().try_for_each(|line| print.line(line)).is_err() {
            return Ok(());
        }
        if last_look && !more {
            return Ok(());
        }
        let wait = if more || last_look { Duration::ZERO } else { LOOK };
        if event_loop.signalled_within(wait).map_err(internal)? {
            return Ok(());
        }
        // What it wrote before it went is read once more.
        last_look = last_look || (!more && !alive()?);
    }
}

/// Without log files there is only what the rings still hold.
fn ring(host: &XenHost, journal: &Journal, name: &Name, args: &Logs, print: &Print) -> Result<(), Failure> {
    let lines = libstub::last_words(host, journal, name, &args.sources())?;
    note(
        "note: xenconsoled keeps no log of domains (stubctl check tells how); these are the consoles' last words",
    );
    if args.follow {
        note("note: without a log there is nothing to follow");
    }
    let of = |domain| lines.iter().filter(move |line| line.domain == domain).collect::<Vec<_>>();
    for domain in args.sources() {
        let lines = of(domain);
        let shown = &lines[lines.len().saturating_sub(args.lines)..];
        if shown.iter().try_for_each(|line| print.line(line)).is_err() {
            break;
        }
    }
    Ok(())
}

/// How lines are printed.
struct Print {
    /// Whose a line is has to be told.
    both: bool,
    as_json: bool,
}

impl Print {
    fn line(&self, line: &LogLine) -> io::Result<()> {
        if self.as_json {
            return try_say(serde_json::to_string(line)?);
        }
        if !self.both {
            return try_say(&line.line);
        }
        let colour = match line.domain {
            LogSource::Stubdom => AnsiColor::Magenta,
            LogSource::Guest => AnsiColor::Cyan,
        };
        let style = Style::new().fg_color(Some(colour.into()));
        try_say(format_args!("{style}{:<7} |{style:#} {}", line.domain.as_str(), line.line))
    }
}
