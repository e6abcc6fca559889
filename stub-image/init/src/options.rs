// SPDX-License-Identifier: GPL-3.0-only
//! What the toolstack asks of PID 1 on the kernel's command line.

use std::fs;

use crate::InitError;

const CMDLINE: &str = "/proc/cmdline";

/// The words of the command line that are PID 1's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `stub.debug-shell`: a shell on the console, if the image has one.
    pub debug_shell: bool,
    /// `stub.seccomp=log`: what QEMU's filter would refuse is allowed, and told by the kernel.
    pub log_refused: bool,
}

impl Options {
    /// Reads the command line of this boot.
    pub fn read() -> Result<Self, InitError> {
        let text = fs::read_to_string(CMDLINE);
        text.map(|text| Self::parse(&text)).map_err(|source| InitError::File {
            operation: "reading",
            path: CMDLINE.into(),
            source,
        })
    }

    fn parse(text: &str) -> Self {
        let has = |word: &str| text.split_ascii_whitespace().any(|found| found == word);
        Self { debug_shell: has("stub.debug-shell"), log_refused: has("stub.seccomp=log") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count() {
        let options = |text| Options::parse(text);
        assert_eq!(options("quiet stub.debug-shell=0 xstub.seccomp=log\n"), Options::default());
        let both = Options { debug_shell: true, log_refused: true };
        assert_eq!(options("console=hvc0 stub.seccomp=log stub.debug-shell\n"), both);
    }
}
