// SPDX-License-Identifier: GPL-3.0-only
//! Where in which text something stands.

use std::path::Path;

/// A stretch of a source, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// 0 is the file, the others are the overrides in their order.
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Something and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A text that is read as a config, and its name in messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

/// A place as a user counts: lines and characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text }
    }

    /// The place of a span; what goes over lines is cut at the first one's end.
    pub(super) fn place(&self, span: Span) -> Place<'a> {
        let at = floor(self.text, span.start);
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let at = at.min(start + line.len());
        let end = floor(self.text, span.end).clamp(at, start + line.len());
        let before = &self.text[..at];
        Place {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            width: self.text[at..end].chars().count().max(1),
            text: line,
        }
    }

    /// The line, from 1, where a span begins.
    pub(super) fn line(&self, span: Span) -> usize {
        self.place(span).line
    }
}

/// The character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, start: usize, end: usize) -> (usize, usize, usize, &str) {
        let source = Source::new(Path::new("g"), text);
        let Place { line, column, width, text } = source.place(Span { source: 0, start, end });
        (line, column, width, text)
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        assert_eq!(place("a\nbä = 1\n", 8, 9), (2, 6, 1, "bä = 1"));
        assert_eq!(place("a\r\nb\r\n", 3, 4), (2, 1, 1, "b"));
        assert_eq!(place("a\r\nb\r\n", 4, 5), (2, 2, 1, "b"));
        assert_eq!(place("a\n", 2, 2), (2, 1, 1, ""));
        assert_eq!(place("", 0, 0), (1, 1, 1, ""));
    }

    #[test]
    fn what_goes_over_lines_is_cut_and_what_is_outside_is_moved_in() {
        assert_eq!(place("ab\ncd", 1, 5), (1, 2, 1, "ab"));
        assert_eq!(place("ab", 7, 9), (1, 3, 1, "ab"));
        assert_eq!(place("ä", 1, 1), (1, 1, 1, "ä"));
    }
}
