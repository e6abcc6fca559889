// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl list`: all pairs, one a line.

use std::io::IsTerminal as _;

use comfy_table::{Cell, Table};
use libstub::{Journal, PairInfo, PairState, XenHost};

use crate::output::{self, Tone, note, or_dash, say, seconds, toned};
use crate::report::Failure;
use crate::schema::Listed;

pub(crate) fn list(journal: &Journal, as_json: bool) -> Result<(), Failure> {
    let (pairs, unreadable) = libstub::list(&XenHost::open()?, journal)?;
    for error in &unreadable {
        note(format_args!("warning: {error}"));
    }
    if as_json {
        let unreadable = unreadable.iter().map(ToString::to_string).collect();
        output::json(&Listed { pairs, unreadable });
    } else if !pairs.is_empty() || std::io::stdout().is_terminal() {
        say(table(&pairs));
    }
    Ok(())
}

/// A state in words, in the colour that it has everywhere.
pub(super) fn state(state: PairState) -> Cell {
    let tone = match state {
        PairState::Running => Tone::Good,
        PairState::Paused | PairState::Incomplete | PairState::Restarting => Tone::Uneasy,
        PairState::Crashed | PairState::StubdomDead => Tone::Bad,
        PairState::ShutDown | PairState::Gone => Tone::Quiet,
    };
    toned(state.in_words(), tone)
}

fn table(pairs: &[PairInfo]) -> Table {
    let mut table = output::table();
    table.set_header([
        "NAME",
        "STATE",
        "GUEST",
        "STUBDOM",
        "VCPUS",
        "MEM/MIB",
        "STUBDOM/MIB",
        "CPU/S",
        "STUBDOM/S",
        "SUPERVISED",
    ]);
    for pair in pairs {
        table.add_row([
            Cell::new(&pair.name),
            state(pair.state),
            Cell::new(or_dash(pair.guest)),
            Cell::new(or_dash(pair.stubdom)),
            Cell::new(pair.vcpus),
            Cell::new(pair.memory_kib / 1024),
            Cell::new(pair.stubdom_memory_kib / 1024),
            Cell::new(seconds(pair.cpu_ms)),
            Cell::new(seconds(pair.stubdom_cpu_ms)),
            Cell::new(if pair.supervised { "yes" } else { "no" }),
        ]);
    }
    table
}
