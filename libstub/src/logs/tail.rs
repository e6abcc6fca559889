// SPDX-License-Identifier: GPL-3.0-only
//! A log file that grows: its last lines, then what is added. Its writer is hostile, its reader is a terminal.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::console::escaped;

/// A line that is longer is given in pieces of this many bytes.
const MAX_LINE: usize = 1024;

/// How much of a file's end is looked through for its last lines.
const MAX_BACK: u64 = 8 << 20;

/// How much is read at once, and taken at most before others have their turn.
const CHUNK: usize = 64 << 10;

/// A file, and how far it was read.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    open: Option<File>,
    /// The end of what was read that has no line feed yet.
    rest: Vec<u8>,
}

impl Tail {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None, rest: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines; reading goes on behind them. A file that is not there has none.
    pub(super) fn last(&mut self, lines: usize) -> io::Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        let start = size.saturating_sub(MAX_BACK);
        file.seek(SeekFrom::Start(start))?;
        let mut end = Vec::new();
        (&mut file).take(size - start).read_to_end(&mut end)?;
        self.open = Some(file);
        // What is cut off at the front is no line; what is not ended yet comes with its end.
        if start > 0 {
            let cut = end.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            end.drain(..cut);
        }
        let mut all = self.take(&end);
        Ok(all.split_off(all.len().saturating_sub(lines)))
    }

    /// The lines that were added, and whether there may be more at once.
    pub(super) fn added(&mut self) -> io::Result<(Vec<String>, bool)> {
        let mut replaced = false;
        if let Some(file) = &mut self.open {
            let position = file.stream_position()?;
            let (open, named) = (file.metadata()?, self.path.metadata().ok());
            let same = |named: &std::fs::Metadata| (named.dev(), named.ino()) == (open.dev(), open.ino());
            // Rotated: the old file is read to its end first. Truncated: it begins anew.
            replaced = named.as_ref().is_some_and(|named| !same(named)) && position >= open.len();
            if position > open.len() {
                file.seek(SeekFrom::Start(0))?;
            }
        }
        let mut lines: Vec<String> = replaced.then(|| self.remainder()).flatten().into_iter().collect();
        if self.open.is_none() || replaced {
            match File::open(&self.path) {
                Ok(file) => self.open = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((lines, false)),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &mut self.open else { return Ok((lines, false)) };
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk)?;
        lines.extend(self.take(&chunk[..length]));
        Ok((lines, length > 0))
    }

    /// What the file ends in without a line feed, when nothing more will come.
    pub(super) fn remainder(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| escaped(&rest))
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.rest.extend_from_slice(piece);
            let ended = self.rest.pop_if(|byte| *byte == b'\n').is_some();
            while self.rest.len() > MAX_LINE {
                lines.push(escaped(&self.rest.drain(..MAX_LINE).collect::<Vec<_>>()));
            }
            if ended {
                lines.push(escaped(&std::mem::take(&mut self.rest)));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("log")
        }

        fn add(&self, text: &[u8]) {
            let file = File::options().create(true).append(true).open(self.path());
            file.and_then(|mut file| file.write_all(text)).expect("written");
        }

        fn tail(&self) -> Tail {
            Tail::new(self.path())
        }
    }

    fn added(tail: &mut Tail) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (lines, more) = tail.added().expect("readable");
            all.extend(lines);
            if !more {
                return all;
            }
        }
    }

    #[test]
    fn the_last_lines_come_first_and_then_each_that_is_added_once() {
        let log = Log::new();
        log.add(b"one\ntwo\r\nthree\nfo");
        let mut tail = log.tail();
        assert_eq!(tail.last(2).expect("readable"), ["two", "three"]);
        assert_eq!(added(&mut tail), Vec::<String>::new());
        log.add(b"ur\nfive\n");
        assert_eq!(added(&mut tail), ["four", "five"]);
        assert_eq!(added(&mut tail), Vec::<String>::new());
        assert_eq!(tail.remainder(), None);
        log.add(b"six");
        assert_eq!(added(&mut tail), Vec::<String>::new());
        assert_eq!(tail.remainder().as_deref(), Some("six"));
    }

    #[test]
    fn a_file_that_appears_is_rotated_or_truncated_is_followed() {
        let log = Log::new();
        let mut tail = log.tail();
        assert_eq!(tail.last(5).expect("no file is no failure"), Vec::<String>::new());
        assert_eq!(added(&mut tail), Vec::<String>::new());
        log.add(b"first\n");
        assert_eq!(added(&mut tail), ["first"]);
        log.add(b"before rotation\n");
        fs::rename(log.path(), log.path().with_extension("1")).expect("renamed");
        log.add(b"after rotation\n");
        assert_eq!(added(&mut tail), ["before rotation", "after rotation"]);
        fs::write(log.path(), "new\n").expect("truncated");
        assert_eq!(added(&mut tail), ["new"]);
    }

    #[test]
    fn nothing_of_a_hostile_writer_gets_through_or_piles_up() {
        let log = Log::new();
        log.add(b"\x1b]0;title\x07\x1b[2Jred\xc2\x9b1m\n");
        let mut tail = log.tail();
        let lines = tail.last(1).expect("readable");
        assert!(lines[0].chars().all(|c| (' '..='~').contains(&c)), "{lines:?}");
        log.add(&vec![b'a'; 10 * MAX_LINE]);
        let pieces = added(&mut tail);
        assert!(pieces.iter().all(|piece| piece.len() == MAX_LINE), "a line was not cut");
        assert!(tail.rest.len() <= MAX_LINE, "an endless line piles up");
        assert_eq!(pieces.len() * MAX_LINE + tail.rest.len(), 10 * MAX_LINE, "something was lost");
    }

    #[test]
    fn of_a_huge_file_the_end_is_read() {
        let log = Log::new();
        let back = usize::try_from(MAX_BACK).expect("it fits");
        log.add(&b"0123456789abcde\n".repeat(back / 16 + CHUNK));
        log.add(b"last\n");
        assert_eq!(log.tail().last(2).expect("readable"), ["0123456789abcde", "last"]);
        let all = log.tail().last(usize::MAX).expect("readable");
        assert!(all.iter().all(|line| line.len() <= 15), "half a line was shown");
        assert!(all.len() <= back / 16 + 1, "more than the end was read");
    }
}
