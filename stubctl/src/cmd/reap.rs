// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl reap`: removes what creates and destroys left that did not end.

use libstub::{Journal, Name, ReapOptions, Reaped, XenHost};

use crate::exit_code::Status;
use crate::output::{self, note, say};
use crate::report::Failure;
use crate::run::Loop;
use crate::schema::Reapings;

/// What to reap.
#[derive(Debug, clap::Args)]
pub(crate) struct Reap {
    /// The guest's name; without one, all pairs are looked at
    name: Option<String>,
    /// Tell what would be removed; do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Gives the exit status of what could be done.
pub(crate) fn reap(journal: Journal, reap: &Reap, as_json: bool) -> Result<Option<Status>, Failure> {
    let name = reap.name.as_deref().map(Name::new).transpose().map_err(|error| Failure::name(&error))?;
    let host = Box::new(XenHost::open()?);
    let mut event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let options = ReapOptions { name, dry_run: reap.dry_run };
    let wanted = options.name.clone();
    let operation = libstub::reap(host, journal, options).map_err(|error| Failure::internal(&error))?;
    let reaped = event_loop
        .run(operation, |_| {})
        .map_err(|error| Failure::interrupted(&error, wanted.as_ref()))??;
    let owed = reaped.pairs.iter().any(|pair| !pair.owed.is_empty());
    if as_json {
        output::json(&Reapings::new(reaped, reap.dry_run));
    } else {
        print(&reaped, reap.dry_run);
    }
    Ok(owed.then_some(Status::Owed))
}

fn print(reaped: &Reaped, dry_run: bool) {
    for file in &reaped.set_aside {
        let moved = if dry_run { "would be moved" } else { "was moved" };
        note(format_args!("warning[journal-unreadable]: a damaged record {moved} to {}", file.display()));
    }
    for name in &reaped.busy {
        note(format_args!("{name} is left alone: another operation on it is under way"));
    }
    for pair in &reaped.pairs {
        let why = pair.why.in_words();
        if dry_run {
            say(format_args!("{}: {why}: would be removed", pair.name));
            continue;
        }
        say(format_args!("{}: {why}: removed {}", pair.name, pair.undone.join(", ")));
        for owed in &pair.owed {
            say(format_args!("  left behind: {} ({})", owed.what, owed.why));
        }
    }
    if reaped.pairs.is_empty() {
        say("nothing is left of any pair");
    }
}
