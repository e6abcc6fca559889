// SPDX-License-Identifier: GPL-3.0-only
//! A string of a config, every byte of which knows where it was written.

use std::ops::Range;

use super::fault::Mark;
use super::source::Span;
use crate::code::Code;

/// A string without its quotes and escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    value: String,
    /// Where each byte of the value was written.
    places: Vec<Span>,
}

impl Text {
    /// A string that is written as it is.
    pub(super) fn plain(written: &str, source: usize, start: usize) -> Self {
        let mut text = Self::default();
        for (index, character) in written.char_indices() {
            let at = start + index;
            text.push(character, Span { source, start: at, end: at + character.len_utf8() });
        }
        text
    }

    /// What stands between two quotes; each escape that xl does not know is a fault.
    pub(super) fn quoted(written: &str, source: usize, start: usize, faults: &mut Vec<Mark>) -> Self {
        let mut text = Self::default();
        let mut characters = written.char_indices();
        while let Some((index, character)) = characters.next() {
            let at = start + index;
            let span = |length| Span { source, start: at, end: at + length };
            if character != '\\' {
                text.push(character, span(character.len_utf8()));
                continue;
            }
            let Some((_, escaped)) = characters.next() else { break };
            let length = 1 + escaped.len_utf8();
            match unescape(escaped) {
                Some(meant) => text.push(meant, span(length)),
                None => faults.push(Mark::new(span(length), Code::ConfigSyntax, refusal(escaped))),
            }
        }
        text
    }

    fn push(&mut self, character: char, span: Span) {
        self.value.push(character);
        self.places.resize(self.value.len(), span);
    }

    pub(super) fn append(&mut self, other: Self) {
        self.value.push_str(&other.value);
        self.places.extend(other.places);
    }

    pub(super) fn as_str(&self) -> &str {
        &self.value
    }

    /// Where these bytes of the value were written; `None` if there are none.
    pub(super) fn span(&self, bytes: Range<usize>) -> Option<Span> {
        let places = self.places.get(bytes)?;
        let (first, last) = (*places.first()?, *places.last()?);
        Some(if first.source == last.source { Span { end: last.end, ..first } } else { first })
    }
}

/// As libxlu's lexer.
fn unescape(character: char) -> Option<char> {
    match character {
        '\\' | '"' | '\'' => Some(character),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ => None,
    }
}

fn refusal(escaped: char) -> String {
    match escaped {
        // libxlu reads the digits and drops the character.
        'x' | '0'..='7' => "an escape by number: xl loses such a character; write it as it is".to_owned(),
        _ => format!("`\\{escaped}` is no escape; a backslash is written twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_knows_where_it_was_written() {
        let mut faults = Vec::new();
        let text = Text::quoted("a\\tä\\\\,b", 0, 10, &mut faults);
        assert_eq!((text.as_str(), faults), ("a\tä\\,b", vec![]));
        let at = |bytes| text.span(bytes).map(|span| (span.start, span.end));
        assert_eq!(at(0..1), Some((10, 11)));
        assert_eq!(at(1..2), Some((11, 13)));
        assert_eq!(at(2..4), Some((13, 15)));
        assert_eq!(at(4..7), Some((15, 19)));
        assert_eq!(at(3..3), None);
        assert_eq!(at(7..9), None);
    }

    #[test]
    fn every_wrong_escape_is_a_fault_of_its_own() {
        let mut faults = Vec::new();
        let text = Text::quoted("\\d \\x41", 0, 1, &mut faults);
        assert_eq!(text.as_str(), " 41");
        assert_eq!(faults.iter().map(|mark| mark.span.start).collect::<Vec<_>>(), [1, 4]);
    }
}
