// SPDX-License-Identifier: GPL-3.0-only
//! Mistakes in a config, shown with their place.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::source::{Source, Span};
use crate::code::Code;

/// Columns of a line that are shown; a longer one is cut around the fault.
const SHOWN: usize = 100;

/// A config that cannot be used. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not UTF-8.
    #[error("the config {} is not text", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
    },
    /// The file says something that cannot be done; warnings are among the faults, but never alone.
    #[error("the config cannot be used{}", shown(.0))]
    Faults(Vec<Fault>),
}

impl ConfigError {
    /// What is wrong under its stable name; of several faults, the first error's.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } | Self::NotText { .. } => Code::ConfigUnreadable,
            Self::Faults(faults) => {
                let mut errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
                errors.next().map_or(Code::ConfigSyntax, |fault| fault.code)
            }
        }
    }
}

/// How much a fault matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The config can be used.
    Warning,
    /// The config cannot be used.
    Error,
}

/// One mistake in a config.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// What kind of mistake it is.
    pub code: Code,
    /// Whether the config can be used nonetheless.
    pub severity: Severity,
    /// The file; `--set` for what did not come from a file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// How many characters of the line it covers, at least 1.
    pub width: usize,
    /// The line itself; empty if the fault is one of the whole file.
    pub text: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// What was meant, if something known is near.
    pub suggestion: Option<String>,
}

/// A mistake before its place was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) span: Span,
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Mark {
    pub(super) fn new(span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { span, code, severity: Severity::Error, message: message.into(), suggestion: None }
    }

    pub(super) fn warning(span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(span, code, message) }
    }

    pub(super) fn suggest(mut self, near: Option<impl Into<String>>) -> Self {
        self.suggestion = near.map(Into::into);
        self
    }

    /// The line, column and rest of what a user sees.
    pub(super) fn locate(self, sources: &[Source<'_>]) -> Fault {
        let empty = Source::new(Path::new(""), "");
        let source = sources.get(self.span.source).unwrap_or(&empty);
        let place = source.place(self.span);
        // Of what is missing in a whole file, no line says anything.
        let text = if self.span == Span::default() { "" } else { place.text };
        Fault {
            code: self.code,
            severity: self.severity,
            file: source.file.to_owned(),
            line: place.line,
            column: place.column,
            width: place.width,
            text: text.to_owned(),
            message: printable(&self.message),
            suggestion: self.suggestion.as_deref().map(printable),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let place = format!("{}:{}:{}", printable(&self.file.to_string_lossy()), self.line, self.column);
        write!(f, "{place}: {severity}[{}]: {}", self.code, self.message)?;
        if let Some(near) = &self.suggestion {
            write!(f, "; did you mean `{near}`?")?;
        }
        if self.text.is_empty() {
            return Ok(());
        }
        let (line, underline) = self.drawn();
        write!(f, "\n    {line}\n    {underline}")
    }
}

impl Fault {
    /// The line as a terminal can show it, and what underlines the fault.
    fn drawn(&self) -> (String, String) {
        let length = self.text.chars().count();
        let at = self.column - 1;
        let from = if length <= SHOWN { 0 } else { at.saturating_sub(SHOWN / 2).min(length - SHOWN) };
        let to = length.min(from + SHOWN);
        let (mut line, mut underline) = (String::new(), String::new());
        if from > 0 {
            line.push_str("...");
            underline.push_str("   ");
        }
        for (index, character) in self.text.chars().enumerate().take(to).skip(from) {
            let shown = line.len();
            match character {
                '\t' => line.push('\t'),
                _ if hidden(character) => line.extend(character.escape_default()),
                _ => line.push(character),
            }
            let columns = line[shown..].chars().count();
            for column in 0..columns {
                underline.push(match index {
                    _ if index == at && column == 0 => '^',
                    _ if (at..at + self.width).contains(&index) => '~',
                    // A tab is as wide below as it is above.
                    _ if character == '\t' => '\t',
                    _ => ' ',
                });
            }
        }
        if at >= to {
            underline.push('^');
        }
        if to < length {
            line.push_str("...");
        }
        (line, underline.trim_end().to_owned())
    }
}

/// What a terminal would obey, or draw as something else than it is.
fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A text on one line that says no more than it is.
fn printable(text: &str) -> String {
    let escape = |c: char| if hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn shown(faults: &[Fault]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        let _ = write!(text, "\n{fault}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, at: usize, width: usize) -> (String, String) {
        let source = Source::new(Path::new("g.cfg"), text);
        let span = Span { source: 0, start: at, end: at + width };
        Mark::new(span, Code::ConfigValue, "wrong").locate(&[source]).drawn()
    }

    #[test]
    fn the_underline_stands_below_what_is_wrong() {
        assert_eq!(drawn("a = 'xyz'", 5, 3), ("a = 'xyz'".to_owned(), "     ^~~".to_owned()));
        assert_eq!(drawn("\ta = 1", 1, 1).1, "\t^");
        assert_eq!(drawn("ä = 1", 5, 1).1, "    ^");
    }

    #[test]
    fn a_line_cannot_command_the_terminal() {
        let (line, underline) = drawn("a\u{1b}[2J = \u{202e}1", 2, 1);
        assert_eq!(line, "a\\u{1b}[2J = \\u{202e}1");
        assert!(underline.starts_with("       ^"), "{underline}");
    }

    #[test]
    fn neither_can_what_is_said_of_it() {
        let source = Source::new(Path::new("a\nb"), "a = 1");
        let span = Span { source: 0, start: 0, end: 1 };
        let fault = Mark::new(span, Code::ConfigValue, "`\u{1b}[2J\n`").locate(&[source]);
        let first = fault.to_string().lines().next().map(str::to_owned);
        assert_eq!(first.as_deref(), Some("a\\nb:1:1: error[config-value]: `\\u{1b}[2J\\n`"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let text = format!("{}wrong{}", "a".repeat(500), "b".repeat(500));
        let (line, underline) = drawn(&text, 500, 5);
        assert!(line.len() < 120 && line.contains("wrong") && line.starts_with("..."), "{line}");
        assert_eq!(line.find("wrong"), underline.find('^'));
    }

    #[test]
    fn a_fault_behind_the_last_character_has_a_place() {
        assert_eq!(drawn("a =", 3, 1), ("a =".to_owned(), "   ^".to_owned()));
    }
}
