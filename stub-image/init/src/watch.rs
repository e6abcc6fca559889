// SPDX-License-Identifier: GPL-3.0-only
//! Watches on xenstore keys, which `xenstore-rs` lacks: the wire protocol over a second `/dev/xen/xenbus`.
//!
//! A watch fires once when it is registered and may fire without a change, so an event only says: read the key again.
//! Layout and numbers are those of Xen's `public/io/xs_wire.h`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::InitError;

const DEVICE: &str = "/dev/xen/xenbus";
const HEADER: usize = 16;
const MAX_PAYLOAD: usize = 4096;
const XS_WATCH: u32 = 4;
const XS_WATCH_EVENT: u32 = 15;
const XS_ERROR: u32 = 16;

/// A connection to xenstore that only watches.
#[derive(Debug)]
pub struct Watcher<S = File> {
    stream: S,
    /// What was watched last, for messages.
    key: String,
}

/// What xenstore sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A watched key may have changed.
    Event,
    /// A request was answered.
    Answer,
}

impl Watcher {
    /// Opens the connection.
    pub fn open() -> Result<Self, InitError> {
        let stream = File::options().read(true).write(true).open(DEVICE);
        let stream =
            stream.map_err(|source| InitError::File { operation: "opening", path: DEVICE.into(), source })?;
        Ok(Self { stream, key: String::new() })
    }
}

impl<S: Read + Write> Watcher<S> {
    /// Asks for events of `key`.
    pub fn watch(&mut self, key: &str) -> Result<(), InitError> {
        key.clone_into(&mut self.key);
        let request = request(key).and_then(|bytes| self.stream.write_all(&bytes));
        request.map_err(|source| InitError::Store { operation: "watching", key: key.to_owned(), source })
    }

    /// Takes the next message, and waits for it if there is none.
    pub fn message(&mut self) -> Result<Message, InitError> {
        self.receive().map_err(|source| InitError::Store {
            operation: "waiting for an event of",
            key: self.key.clone(),
            source,
        })
    }

    /// Waits for an event.
    pub fn event(&mut self) -> Result<(), InitError> {
        while self.message()? != Message::Event {}
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let len = usize::try_from(word(12)).unwrap_or(usize::MAX);
        if len > MAX_PAYLOAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
        }
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload)?;
        match word(0) {
            XS_WATCH_EVENT => Ok(Message::Event),
            XS_ERROR => Err(io::Error::other(String::from_utf8_lossy(&payload).trim_end_matches('\0'))),
            _ => Ok(Message::Answer),
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The bytes that register a watch; the key is its own token.
fn request(key: &str) -> io::Result<Vec<u8>> {
    let payload = format!("{key}\0{key}\0");
    let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD);
    let len = len.ok_or(io::ErrorKind::InvalidInput)?;
    // Type, request, transaction (none), length of what follows.
    let mut bytes: Vec<u8> = [XS_WATCH, 0, 0, len].into_iter().flat_map(u32::to_ne_bytes).collect();
    bytes.extend_from_slice(payload.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes: Vec<u8> = [kind, 0, 0, len].into_iter().flat_map(u32::to_ne_bytes).collect();
        bytes.extend_from_slice(payload);
        bytes
    }

    struct Replies(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Replies {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Replies {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn watcher(replies: Vec<u8>) -> Watcher<Replies> {
        Watcher { stream: Replies(io::Cursor::new(replies), Vec::new()), key: String::new() }
    }

    #[test]
    fn a_request_is_header_path_and_token() {
        let mut watcher = watcher(Vec::new());
        watcher.watch("a/b").unwrap();
        assert_eq!(watcher.stream.1, sent(XS_WATCH, b"a/b\0a/b\0"));
        assert_eq!(watcher.stream.1[..HEADER], [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]);
        assert!(watcher.watch(&"x".repeat(MAX_PAYLOAD)).is_err());
    }

    #[test]
    fn an_event_is_found_behind_the_answer() {
        let replies = [sent(XS_WATCH, b"OK\0"), sent(XS_WATCH_EVENT, b"a/b\0a/b\0")].concat();
        watcher(replies).event().unwrap();
    }

    #[test]
    fn errors_and_oversized_messages_end_the_wait() {
        let refused = watcher(sent(XS_ERROR, b"EACCES\0")).event().unwrap_err();
        assert!(refused.chain().ends_with(": EACCES"), "{}", refused.chain());
        let mut oversized = sent(XS_WATCH_EVENT, b"");
        oversized[12..].copy_from_slice(&4097_u32.to_ne_bytes());
        assert!(watcher(oversized).event().unwrap_err().chain().ends_with("a message of 4097 bytes"));
        assert!(watcher(Vec::new()).event().is_err());
    }
}
