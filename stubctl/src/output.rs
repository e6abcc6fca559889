// SPDX-License-Identifier: GPL-3.0-only
//! How results are printed: lines, tables and JSON, with colours where somebody sees them.
//!
//! Whoever reads this program's output may be gone; what it does must not end with them, so that is no failure.

use std::fmt::Display;
use std::io::{self, Write as _};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::schema::Versioned;

/// Prints a line.
pub(crate) fn say(line: impl Display) {
    let _ = try_say(line);
}

/// Prints a line, and tells when nobody reads any more.
pub(crate) fn try_say(line: impl Display) -> io::Result<()> {
    // anstream takes the colours out unless they are wanted: --color, NO_COLOR, and whether this is a terminal.
    writeln!(anstream::stdout(), "{line}")
}

/// Prints a line that is no result.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Prints a result as JSON.
pub(crate) fn json(body: &impl Serialize) {
    match serde_json::to_string_pretty(&Versioned::new(body)) {
        Ok(text) => say(text),
        Err(error) => note(format_args!("error: the result cannot be written as JSON: {error}")),
    }
}

/// How good it is what a cell says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Uneasy,
    Bad,
    Quiet,
}

/// A cell with a tone.
pub(crate) fn toned(text: impl ToString, tone: Tone) -> Cell {
    Cell::new(text).fg(match tone {
        Tone::Good => Color::Green,
        Tone::Uneasy => Color::Yellow,
        Tone::Bad => Color::Red,
        Tone::Quiet => Color::DarkGrey,
    })
}

/// No table is squeezed below this.
const NARROWEST: u16 = 40;

/// A table without lines, as wide as the terminal at most.
pub(crate) fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // A serial line is a terminal that says it has no columns.
    if table.width().is_some_and(|width| width >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.enforce_styling();
    table
}

/// A table of names and values.
pub(crate) fn properties(rows: impl IntoIterator<Item = (&'static str, String)>) -> Table {
    let mut table = table();
    for (name, value) in rows {
        table.add_row([toned(name, Tone::Quiet), Cell::new(value)]);
    }
    table
}

/// What there may be none of.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Milliseconds as seconds.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}
