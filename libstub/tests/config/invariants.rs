// SPDX-License-Identifier: GPL-3.0-only
//! What holds for every text that is read as a config; the fuzz target and a test of the first ring share it.

use std::path::Path;

use libstub::config::{Fault, Loaded};
use libstub::{ConfigError, GuestConfig};

/// Reads a config, whose lines behind a NUL are overrides.
pub(crate) fn check(text: &str) {
    let (text, overrides) = text.split_once('\0').unwrap_or((text, ""));
    let overrides: Vec<String> = overrides.split_terminator('\0').map(str::to_owned).collect();
    let read = |text: &str| GuestConfig::parse_with(text, Path::new("g.cfg"), &overrides);
    let faults = faults(read(text));
    let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
    for fault in &faults {
        place(fault, plain, &overrides);
        shown(fault);
    }
    // Neither a comment at the end nor how lines end changes what is meant.
    let places = |faults: &[Fault]| -> Vec<(usize, usize, String)> {
        faults.iter().map(|fault| (fault.line, fault.column, fault.message.clone())).collect()
    };
    let commented = format!("{text}\n# the end");
    assert_eq!(places(&faults), places(&self::faults(read(&commented))));
    if !text.contains('\r') {
        assert_eq!(places(&faults), places(&self::faults(read(&text.replace('\n', "\r\n")))));
    }
}

fn faults(loaded: Result<Loaded, ConfigError>) -> Vec<Fault> {
    match loaded {
        Ok(Loaded { config, warnings }) => {
            assert_eq!(config.faults(), Vec::<String>::new(), "what is taken can be served");
            warnings
        }
        Err(ConfigError::Faults(faults)) => {
            assert!(!faults.is_empty());
            faults
        }
        Err(error) => panic!("no file was read: {error}"),
    }
}

/// The line is that of the text, and the fault lies within it.
fn place(fault: &Fault, text: &str, overrides: &[String]) {
    let whole = fault.text.is_empty() && (fault.line, fault.column) == (1, 1);
    let holds = |source: &str| {
        let line = source.split('\n').nth(fault.line - 1).map(|line| line.strip_suffix('\r').unwrap_or(line));
        line == Some(fault.text.as_str())
    };
    let known =
        if fault.file == Path::new("--set") { overrides.iter().any(|text| holds(text)) } else { holds(text) };
    assert!(known || whole, "{fault:?}");
    let length = fault.text.chars().count();
    let end = fault.column - 1 + fault.width;
    assert!(fault.width >= 1 && (whole || end <= length.max(fault.column)), "{fault:?}");
    assert!(whole || fault.column <= length + 1, "{fault:?}");
}

/// What is printed cannot command a terminal.
fn shown(fault: &Fault) {
    let shown = fault.to_string();
    assert!(!shown.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{shown:?}");
    assert!(shown.lines().count() <= 3, "{shown:?}");
}
