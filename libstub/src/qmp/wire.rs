// SPDX-License-Identifier: GPL-3.0-only
//! QMP's lines, from a QEMU that may send anything. Pure.

use serde_json::{Map, Value};

/// The longest line that is accepted. QEMU's longest, its own schema, has less than a quarter of it.
pub(super) const MAX_LINE: usize = 1 << 20;
/// How deep values may be nested; QEMU's schema needs less than half of it.
const MAX_DEPTH: u32 = 32;
/// A longer event is not kept; QEMU's own are much shorter.
const MAX_EVENT: usize = 8 << 10;
/// How much of a line that makes no sense is shown.
const EXCERPT: usize = 80;

/// What QEMU told without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name, such as `STOP`; letters, digits and underscores only.
    pub name: String,
    /// What goes with it, `null` if nothing does.
    pub data: Value,
}

/// A line that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Greeting,
    Return { id: Option<String>, value: Value },
    Error { id: Option<String>, class: String, description: String },
    Event(Event),
    LongEvent,
}

/// A line that cannot be accepted; nothing after it can be trusted either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    /// The line has no end within the limit.
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    /// The value is nested deeper than the limit.
    #[error("a value that is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// It is no JSON, or none that QMP has.
    #[error("a line that is no QMP: {0}")]
    NoQmp(String),
}

/// Collects bytes and gives whole lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// So far there is no line feed.
    searched: usize,
}

impl Lines {
    /// Takes bytes as they come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message; nothing if no line is complete. Empty lines are none.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Garbage> {
        loop {
            let new = self.bytes.get(self.searched..).unwrap_or_default();
            let end = new.iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
            if end.unwrap_or(self.bytes.len()) > MAX_LINE {
                return Err(Garbage::TooLong);
            }
            let Some(end) = end else {
                self.searched = self.bytes.len();
                return Ok(None);
            };
            let rest = self.bytes.split_off(end + 1);
            let line = std::mem::replace(&mut self.bytes, rest);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return parse(&line).map(Some);
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Message, Garbage> {
    if depth(line) > MAX_DEPTH {
        return Err(Garbage::TooDeep);
    }
    let garbage = || Garbage::NoQmp(excerpt(line));
    let value: Value = serde_json::from_slice(line).map_err(|_| garbage())?;
    let Value::Object(mut fields) = value else { return Err(garbage()) };
    let id = match fields.remove("id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    };
    if let Some(value) = fields.remove("return") {
        return Ok(Message::Return { id, value });
    }
    if let Some(Value::Object(error)) = fields.get("error") {
        let (class, description) = (text(error, "class"), text(error, "desc"));
        return Ok(Message::Error { id, class, description });
    }
    if let Some(Value::String(name)) = fields.get("event") {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(garbage());
        }
        if line.len() > MAX_EVENT {
            return Ok(Message::LongEvent);
        }
        let name = name.clone();
        return Ok(Message::Event(Event { name, data: fields.remove("data").unwrap_or(Value::Null) }));
    }
    if fields.contains_key("QMP") { Ok(Message::Greeting) } else { Err(garbage()) }
}

/// A member that is shown to users: escaped, and cut.
fn text(fields: &Map<String, Value>, name: &str) -> String {
    excerpt(fields.get(name).and_then(Value::as_str).unwrap_or_default().as_bytes())
}

fn excerpt(bytes: &[u8]) -> String {
    const LONG: usize = EXCERPT * 4;
    crate::console::escaped(&bytes[..bytes.len().min(LONG)]).trim().to_owned()
}

/// How deep brackets are nested outside of strings.
fn depth(line: &[u8]) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<Option<Message>, Garbage> {
        let mut lines = Lines::default();
        lines.push(line.as_bytes());
        lines.push(b"\n");
        lines.next()
    }

    #[test]
    fn messages_are_told_apart_whole_or_in_pieces() {
        let text = b"{\"QMP\": {}}\r\n\r\n{\"return\": {\"a\": 1}, \"id\": \"x\"}\r\n{\"event\": \"STOP\"}\n\
                     {\"error\": {\"class\": \"GenericError\", \"desc\": \"no\\u001b\"}}\n";
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for byte in text {
            lines.push(&[*byte]);
            got.extend(lines.next().expect("no garbage"));
        }
        let value = serde_json::json!({"a": 1});
        assert_eq!(
            got,
            [
                Message::Greeting,
                Message::Return { id: Some("x".into()), value },
                Message::Event(Event { name: "STOP".into(), data: Value::Null }),
                Message::Error { id: None, class: "GenericError".into(), description: "no\\u{1b}".into() },
            ]
        );
    }

    #[test]
    fn what_is_no_qmp_is_named_and_shown_harmless() {
        for line in
            ["{", "[]", "{\"event\": \"\\n\"}", "{\"event\": 1}", "{\"error\": 1}", "{}", "\u{1b}[2J", "\0"]
        {
            let Err(Garbage::NoQmp(shown)) = one(line) else { panic!("{line:?} was accepted") };
            assert!(shown.is_ascii() && !shown.contains(char::is_control), "{shown:?}");
        }
        let mut lines = Lines::default();
        lines.push(b"\xff\xfe\n");
        assert!(lines.next().is_err());
    }

    #[test]
    fn an_event_that_is_too_long_to_keep_is_known_as_one() {
        let event = |len: usize| format!("{{\"event\": \"E\", \"data\": \"{}\"}}", "x".repeat(len));
        assert!(matches!(one(&event(8000)), Ok(Some(Message::Event(_)))));
        assert_eq!(one(&event(8192)), Ok(Some(Message::LongEvent)));
    }

    #[test]
    fn depth_and_length_are_limited_before_anything_is_built() {
        let nested = |depth: usize| format!("{{\"return\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(one(&nested(31)).is_ok());
        assert_eq!(one(&nested(32)), Err(Garbage::TooDeep));
        assert_eq!(one(&"[".repeat(MAX_LINE)), Err(Garbage::TooDeep));
        assert!(one("{\"return\": \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"}").is_ok());
        let mut lines = Lines::default();
        let chunk = [b'x'; 4096];
        let pushed = (0..1000).take_while(|_| {
            lines.push(&chunk);
            lines.next() == Ok(None)
        });
        assert_eq!(pushed.count(), MAX_LINE / chunk.len());
    }
}
