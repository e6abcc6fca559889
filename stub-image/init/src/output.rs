// SPDX-License-Identifier: GPL-3.0-only
//! What QEMU says: to the console at a bounded rate, and its last words kept for the report of its end.
//!
//! A guest can make QEMU complain without end (XSA-180), and the toolstack may log the console. QEMU itself is never
//! held up: what is over the budget is read, counted and dropped.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use crate::budget::Budget;
use crate::console;

/// What QEMU says while it starts fits in whole.
const BURST: u64 = 16 * 1024;
/// 22 MB a day at most.
const PER_SECOND: u64 = 256;
/// A longer line is cut in pieces.
const LINE: usize = 512;
/// What is kept of the end, in bytes; a report holds not much more.
const LAST_WORDS: usize = 1000;
/// Reads at a time, so that a flood leaves room for everything else.
const READS: u32 = 16;
/// Marks QEMU's lines on the console: what it says can look like anything.
const PREFIX: &str = "qemu";

/// The reading end of QEMU's standard output and error.
#[derive(Debug)]
pub struct Output {
    pipe: Option<File>,
    lines: Lines,
}

impl Output {
    /// Takes a pipe that does not block.
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Some(pipe.into()), lines: Lines::new(Instant::now()) }
    }

    /// The pipe, as long as somebody can write to it.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes some of what is there.
    pub fn read(&mut self) {
        for _ in 0..READS {
            let Some(pipe) = &mut self.pipe else { return };
            let mut buffer = [0; 4096];
            match pipe.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    let say = |line: &str| console::line(PREFIX, line);
                    self.lines.take(&buffer[..count], Instant::now(), say);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }

    /// The end of what was said, with what is still in the pipe; call it when QEMU is dead.
    pub fn last_words(&mut self) -> &str {
        self.read();
        self.lines.end(|line| console::line(PREFIX, line));
        self.lines.last_words.trim_end_matches("; ")
    }
}

/// Bytes made to lines, and lines rationed.
#[derive(Debug)]
struct Lines {
    budget: Budget,
    partial: Vec<u8>,
    dropped: u64,
    last_words: String,
}

impl Lines {
    fn new(now: Instant) -> Self {
        let budget = Budget::new(BURST, PER_SECOND, now);
        Self { budget, partial: Vec::new(), dropped: 0, last_words: String::new() }
    }

    fn take(&mut self, bytes: &[u8], now: Instant, mut say: impl FnMut(&str)) {
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() == LINE {
                self.line(now, &mut say);
            }
        }
    }

    fn line(&mut self, now: Instant, say: &mut impl FnMut(&str)) {
        let line = plain(&std::mem::take(&mut self.partial));
        if line.is_empty() {
            return;
        }
        self.remember(&line);
        if !self.budget.spend(line.len(), now) {
            self.dropped += u64::try_from(line.len()).unwrap_or(u64::MAX);
            return;
        }
        self.tell_dropped(say);
        say(&line);
    }

    fn tell_dropped(&mut self, say: &mut impl FnMut(&str)) {
        if self.dropped > 0 {
            say(&format!("[{} bytes more were dropped]", std::mem::take(&mut self.dropped)));
        }
    }

    fn end(&mut self, mut say: impl FnMut(&str)) {
        self.line(Instant::now(), &mut say);
        self.tell_dropped(&mut say);
    }

    fn remember(&mut self, line: &str) {
        self.last_words.push_str(line);
        self.last_words.push_str("; ");
        let over = self.last_words.len().saturating_sub(LAST_WORDS);
        self.last_words.drain(..self.last_words.ceil_char_boundary(over));
    }
}

/// Text that cannot move a terminal's cursor.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn said(lines: &mut Lines, bytes: &[u8], now: Instant) -> Vec<String> {
        let mut said = Vec::new();
        lines.take(bytes, now, |line| said.push(line.to_owned()));
        said
    }

    #[test]
    fn lines_are_whole_short_and_harmless() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        assert_eq!(said(&mut lines, b"one\r\n\x1b[2Jtw", now), ["one"]);
        assert_eq!(said(&mut lines, b"o\n\n", now), [".[2Jtwo"]);
        assert_eq!(said(&mut lines, &[b'x'; LINE + 1], now), ["x".repeat(LINE)]);
        let mut rest = Vec::new();
        lines.end(|line| rest.push(line.to_owned()));
        assert_eq!(rest, ["x"]);
    }

    #[test]
    fn a_flood_costs_the_burst_and_is_counted() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        let flood = "0123456789abcde\n".repeat(1 << 16);
        let told = said(&mut lines, flood.as_bytes(), now);
        let bytes = told.iter().map(String::len).sum::<usize>();
        assert!(bytes <= usize::try_from(BURST).unwrap() && bytes > 16_000, "{bytes}");
        let later = said(&mut lines, b"later\n", now + std::time::Duration::from_secs(1));
        let dropped = (15 << 16) - bytes;
        assert_eq!(later, [format!("[{dropped} bytes more were dropped]"), "later".to_owned()]);
        assert!(lines.last_words.len() <= LAST_WORDS && lines.last_words.ends_with("later; "));
    }

    #[test]
    fn last_words_are_kept_though_they_were_over_the_budget() {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        let mut output = Output::new(reader);
        output.lines.budget = Budget::new(0, 0, Instant::now());
        File::from(writer).write_all("gone\nqemu: -nonsense: invalid öption".as_bytes()).unwrap();
        assert_eq!(output.last_words(), "gone; qemu: -nonsense: invalid öption");
        output.read();
        assert!(output.fd().is_none());
    }
}
