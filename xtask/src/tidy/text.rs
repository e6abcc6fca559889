// SPDX-License-Identifier: GPL-3.0-only
//! House rules about one Rust file: its head, its length, what it leaves for later, what it reaches for.

use std::path::Path;

use super::Fault;

/// A longer file holds more than one idea.
const MAX_LINES: usize = 400;

const LICENCE: &str = "// SPDX-License-Identifier: GPL-3.0-only";

/// Words of work left undone; in pieces, or this file would be the first to be found.
const UNDONE: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Names that belong to one place each, and the places.
const CONFINED: [(&str, &[&str]); 2] = [
    (concat!("xenctrl", "_sys"), &["xen-sys/src/raw"]),
    (concat!("xen_sys", "::raw"), &["xen-sys", "tests", "xtask"]),
];

/// The lines before a file's tests, which come last.
pub(super) fn code(text: &str) -> impl Iterator<Item = &str> {
    let next = text.lines().skip(1).chain([""]);
    let tests = |(line, next): &(&str, &str)| {
        *line == "#[cfg(test)]"
            && (next.starts_with("mod ") || next.starts_with("pub(crate) mod "))
            && next.ends_with('{')
    };
    text.lines().zip(next).take_while(move |both| !tests(both)).map(|(line, _)| line)
}

pub(super) fn faults(file: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut lines = text.lines();
    if lines.next() != Some(LICENCE) {
        faults.push(format!("{file}: the first line is not the SPDX line"));
    }
    if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        faults.push(format!("{file}: the second line does not say what the file is about"));
    }
    if code(text).count() > MAX_LINES {
        faults.push(format!("{file}: it is past {MAX_LINES} lines: split it by topic"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for word in UNDONE.iter().filter(|word| line.contains(*word)) {
            faults.push(format!("{file}:{number}: {word}: do it, or say what is missing where users look"));
        }
        for (name, places) in &CONFINED {
            let comment = line.trim_start().starts_with("//");
            if !comment
                && line.contains(name)
                && !places.iter().any(|place| Path::new(file).starts_with(place))
            {
                faults.push(format!("{file}:{number}: {name} is used outside {}", places[0]));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// SPDX-License-Identifier: GPL-3.0-only\n//! A file.\n";

    #[test]
    fn a_file_begins_with_its_licence_and_its_topic() {
        assert_eq!(faults("a.rs", GOOD), Vec::<Fault>::new());
        assert_eq!(faults("a.rs", "fn main() {}\n").len(), 2);
        assert_eq!(faults("a.rs", "").len(), 2);
    }

    #[test]
    fn a_long_file_is_found_but_its_tests_do_not_count() {
        let full = format!("{GOOD}{}", "\n".repeat(MAX_LINES - 2));
        assert_eq!(faults("a.rs", &full).len(), 0);
        assert_eq!(faults("a.rs", &format!("{full}\n")).len(), 1);
        assert_eq!(faults("a.rs", &format!("{full}#[cfg(test)]\nmod tests {{\n{full}}}\n")).len(), 0);
        assert_eq!(faults("a.rs", &format!("{GOOD}#[cfg(test)]\nmod tests;\n{full}")).len(), 1);
    }

    #[test]
    fn work_left_undone_is_found() {
        for word in UNDONE {
            assert_eq!(faults("a.rs", &format!("{GOOD}// {word} later\n")).len(), 1, "{word}");
        }
    }

    #[test]
    fn raw_bindings_stay_in_their_place() {
        let raw = format!("{GOOD}use {};\n", CONFINED[0].0);
        assert_eq!(faults("xen-sys/src/raw/mod.rs", &raw).len(), 0);
        assert_eq!(faults("xen-sys/src/ctrl/mod.rs", &raw).len(), 1);
        let safe = format!("{GOOD}use {};\n", CONFINED[1].0);
        assert_eq!(faults("xen-sys/src/call.rs", &safe).len(), 0);
        assert_eq!(faults("libstub/src/a.rs", &safe).len(), 1);
        assert_eq!(faults("libstub/src/a.rs", &format!("{GOOD}// not {}\n", CONFINED[1].0)).len(), 0);
    }
}
