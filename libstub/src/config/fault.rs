// SPDX-License-Identifier: GPL-3.0-only
//! Mistakes in a config file, shown with their place.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::code::Code;

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
    /// The file says something that cannot be done.
    #[error("{}", shown(.0))]
    Faults(Vec<Fault>),
}

/// One mistake in a config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A mistake before its place was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

impl Mark {
    pub(super) fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self { span: span.clone(), message: message.into() }
    }
}

impl ConfigError {
    /// The first fault under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } | Self::NotText { .. } => Code::ConfigUnreadable,
            Self::Faults(_) => Code::ConfigValue,
        }
    }

    pub(super) fn faults(file: &Path, text: &str, mut marks: Vec<Mark>) -> Self {
        marks.sort_by_key(|mark| mark.span.start);
        Self::Faults(marks.into_iter().map(|mark| locate(file, text, mark)).collect())
    }
}

fn locate(file: &Path, text: &str, mark: Mark) -> Fault {
    let at = mark.span.start.min(text.len());
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    Fault {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[start..].chars().count() + 1,
        text: line.to_owned(),
        message: mark.message,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        writeln!(f, "    {}", self.text)?;
        write!(f, "    {:>1$}", "^", self.column)
    }
}

fn shown(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}
