// SPDX-License-Identifier: GPL-3.0-only
//! One function per command: call libstub, print what it says.

use std::io::{IsTerminal, Write};
use std::path::Path;

use comfy_table::{Table, presets};
use libstub::config::Loaded;
use libstub::{Event, GuestConfig, Journal, Name, PairInfo, XenHost};
use serde_json::json;

use crate::report::Failure;
use crate::run::Loop;

/// Prints a line. Whoever read this program's output may be gone; what it does must not end with them.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The version of every JSON object that is printed.
const SCHEMA: u32 = 1;

pub(crate) fn create(
    journal: Journal,
    cfg: &Path,
    set: &[String],
    timings: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let Loaded { config, warnings } = GuestConfig::read_with(cfg, set)?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    let name = config.name.clone();
    let host = Box::new(XenHost::open()?);
    let event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let operation = libstub::create(host, journal, config).map_err(|error| Failure::internal(&error))?;
    let mut events: Vec<Event> = Vec::new();
    let tell = |event: Event| {
        if timings && !as_json {
            say(format_args!("{:8.3} s  {}", event.at.as_secs_f64(), event.milestone));
        }
        events.push(event);
    };
    let pair = event_loop.run(operation, tell).map_err(|error| Failure::interrupted(&error, &name))??;
    if as_json {
        let timeline: Vec<_> = events
            .iter()
            .map(|event| json!({ "ms": event.at.as_millis(), "what": event.milestone.to_string() }))
            .collect();
        let uuid = pair.uuid.to_string();
        let pair = json!({
            "version": SCHEMA,
            "name": pair.name,
            "uuid": uuid,
            "guest": pair.guest,
            "stubdom": pair.stubdom,
            "timeline": timeline,
        });
        say(format_args!("{pair:#}"));
    } else {
        say(format_args!("{} runs: guest {}, stubdom {}", pair.name, pair.guest, pair.stubdom));
    }
    Ok(())
}

pub(crate) fn list(journal: &Journal, as_json: bool) -> Result<(), Failure> {
    let (pairs, unreadable) = libstub::list(&XenHost::open()?, journal)?;
    for error in &unreadable {
        eprintln!("warning: {error}");
    }
    if as_json {
        let unreadable: Vec<String> = unreadable.iter().map(ToString::to_string).collect();
        say(format_args!("{:#}", json!({ "version": SCHEMA, "pairs": pairs, "unreadable": unreadable })));
    } else if !pairs.is_empty() || std::io::stdout().is_terminal() {
        say(table(&pairs));
    }
    Ok(())
}

fn table(pairs: &[PairInfo]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
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
    ]);
    for pair in pairs {
        let domid = |domid: Option<_>| domid.map_or_else(|| "-".to_owned(), |domid: u16| domid.to_string());
        let seconds = |ms: u64| format!("{}.{}", ms / 1000, ms % 1000 / 100);
        table.add_row([
            pair.name.to_string(),
            pair.state.as_str().to_owned(),
            domid(pair.guest.map(|domid| domid.get())),
            domid(pair.stubdom.map(|domid| domid.get())),
            pair.vcpus.to_string(),
            (pair.memory_kib / 1024).to_string(),
            (pair.stubdom_memory_kib / 1024).to_string(),
            seconds(pair.cpu_ms),
            seconds(pair.stubdom_cpu_ms),
        ]);
    }
    table
}

pub(crate) fn destroy(journal: Journal, name: &str, as_json: bool) -> Result<(), Failure> {
    let name = Name::new(name).map_err(|error| Failure::usage(&error))?;
    let host = Box::new(XenHost::open()?);
    let event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let operation =
        libstub::destroy(host, journal, name.clone()).map_err(|error| Failure::internal(&error))?;
    let gone = event_loop.run(operation, |_| {}).map_err(|error| Failure::interrupted(&error, &name))??;
    if as_json {
        let uuid = gone.uuid.to_string();
        println!(
            "{:#}",
            json!({ "version": SCHEMA, "name": gone.name, "uuid": uuid, "removed": gone.undone })
        );
    } else {
        println!("{} is gone", gone.name);
    }
    Ok(())
}
