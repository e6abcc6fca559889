// SPDX-License-Identifier: GPL-3.0-only
//! A client against servers in memory, most of them hostile.

use std::time::{Duration, Instant};

use super::*;

const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";

/// A server that is asked when a whole request came, and says whatever it likes.
struct Server<F> {
    answer: F,
    request: Vec<u8>,
    output: VecDeque<u8>,
    closed: bool,
    /// How many bytes it takes at a time.
    room: usize,
}

impl<F: FnMut(&Value) -> Option<String>> Server<F> {
    fn new(first: &str, answer: F) -> Self {
        Self { answer, request: Vec::new(), output: first.bytes().collect(), closed: false, room: 7 }
    }
}

impl<F: FnMut(&Value) -> Option<String>> Transport for Server<F> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.output.is_empty() && self.closed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        io::Read::read(&mut self.output, to)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let count = from.len().min(self.room);
        self.request.extend_from_slice(&from[..count]);
        if self.request.ends_with(b"\n") {
            let request = serde_json::from_slice(&self.request).expect("one request a line");
            self.request.clear();
            match (self.answer)(&request) {
                Some(text) => self.output.extend(text.bytes()),
                None => self.closed = true,
            }
        }
        Ok(count)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        // Nothing will come.
        std::thread::sleep(limit);
        Ok(())
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn ok(request: &Value) -> String {
    json!({ "return": {}, "id": request["id"] }).to_string() + "\n"
}

/// A client past its greeting, of a server that answers everything else like this.
fn client(
    mut answer: impl FnMut(&Value) -> Option<String>,
) -> Qmp<Server<impl FnMut(&Value) -> Option<String>>> {
    let answer = move |request: &Value| {
        if request["execute"] == "qmp_capabilities" { Some(ok(request)) } else { answer(request) }
    };
    Qmp::open(Server::new(GREETING, answer), later()).expect("a session")
}

#[test]
fn an_answer_is_matched_by_its_id_and_events_are_kept() {
    let mut qmp = client(|request| {
        assert_eq!((&request["execute"], &request["arguments"]["device"]), (&json!("eject"), &json!("cd")));
        let other = "{\"return\": 1}\n{\"return\": 2, \"id\": 1}\n{\"return\": 3, \"id\": \"0-1\"}\n\
                     {\"error\": {\"class\": \"C\", \"desc\": \"late\"}, \"id\": \"0-2\"}\n\
                     {\"event\": \"STOP\", \"data\": {\"a\": 1}}\n";
        let answer = json!({ "return": 4, "id": request["id"] });
        Some(format!("{other}{answer}\n"))
    });
    let value = qmp.execute("eject", Some(json!({ "device": "cd" })), later()).expect("an answer");
    assert_eq!(value, json!(4));
    let event = qmp.event(soon()).expect("no fault").expect("an event");
    assert_eq!((event.name.as_str(), event.data), ("STOP", json!({"a": 1})));
    assert!(qmp.event(soon()).expect("no fault").is_none());
}

#[test]
fn a_refusal_names_command_class_and_reason() {
    let mut qmp = client(|request| {
        let error = json!({ "class": "CommandNotFound", "desc": "unknown" });
        Some(json!({ "error": error, "id": request["id"] }).to_string() + "\n")
    });
    let error = qmp.execute("nonsense", None, later()).expect_err("refused");
    assert_eq!(error.to_string(), "QEMU refused nonsense: unknown (CommandNotFound)");
    assert!(matches!(qmp.execute("again", None, later()), Err(QmpError::Refused { .. })), "still of use");
}

#[test]
fn silence_ends_at_the_deadline_and_a_late_answer_is_dropped() {
    let mut held = None;
    let mut qmp = client(move |request| match held.replace(ok(request)) {
        None => Some(String::new()),
        Some(late) => Some(late + &json!({ "return": "mine", "id": request["id"] }).to_string() + "\n"),
    });
    let start = Instant::now();
    let error = qmp.execute("slow", None, soon()).expect_err("silent");
    assert!(matches!(error, QmpError::Silent(_)) && start.elapsed() >= Duration::from_millis(50), "{error}");
    assert_eq!(qmp.execute("next", None, later()).expect("an answer"), json!("mine"));
}

#[test]
fn a_server_that_takes_nothing_ends_at_the_deadline_and_for_good() {
    let mut qmp = client(|request| Some(ok(request)));
    qmp.transport.room = 0;
    assert!(matches!(qmp.execute("x", None, soon()), Err(QmpError::Silent(_))));
    qmp.transport.room = 7;
    let error = qmp.execute("x", None, later()).expect_err("half a line was sent");
    assert!(matches!(error, QmpError::Closed { .. }), "{error}");
}

#[test]
fn what_breaks_the_protocol_is_typed_and_final() {
    let deep = format!("{}\n", "[".repeat(100));
    let long = "x".repeat(3 << 20);
    for garbage in ["hello\n", "[]\n", "{\"event\": 7}\n", &deep, &long] {
        let mut qmp = client(|_| Some(garbage.to_owned()));
        let error = qmp.execute("x", None, later()).expect_err("garbage");
        assert!(matches!(error, QmpError::Garbage(_)), "{error}");
        assert!(matches!(qmp.execute("x", None, later()), Err(QmpError::Closed { .. })));
    }
}

#[test]
fn a_server_that_closes_is_told_so() {
    let mut qmp = client(|_| None);
    assert!(matches!(qmp.execute("quit", None, later()), Err(QmpError::Closed { .. })));
    assert!(matches!(qmp.event(later()), Err(QmpError::Closed { .. })));
}

#[test]
fn no_greeting_is_silence_and_another_first_word_is_no_greeting() {
    let open = |first: &str| Qmp::open(Server::new(first, |request| Some(ok(request))), soon());
    for first in ["", "{\"QMP\"", "{\"return\": {}}\n", "{\"event\": \"STOP\"}\n"] {
        assert!(matches!(open(first).err(), Some(QmpError::Silent(_))), "{first:?}");
    }
    assert!(matches!(open("SSH-2.0\r\n").err(), Some(QmpError::Garbage(_))));
}

#[test]
fn a_flood_of_events_is_bounded_and_counted() {
    let mut qmp = client(|request| {
        let flood: String = (0..1000).map(|n| format!("{{\"event\": \"E{n}\"}}\n")).collect();
        Some(flood + &ok(request))
    });
    qmp.execute("x", None, later()).expect("an answer behind the flood");
    assert_eq!(qmp.dropped_events(), 1000 - 128);
    assert_eq!(qmp.event(soon()).expect("no fault").expect("an event").name, "E872");
}

#[test]
fn a_deadline_that_is_over_still_gives_what_is_there() {
    let mut qmp = client(|request| Some(ok(request) + "{\"event\": \"A\"}\n{\"event\": \"B\"}\n"));
    qmp.execute("x", None, later()).expect("an answer");
    let mut next = || qmp.event(Instant::now()).expect("no fault").map(|event| event.name);
    assert_eq!([next(), next(), next()], [Some("A".into()), Some("B".into()), None]);
}

#[test]
fn a_server_that_never_stops_keeps_nobody_past_the_deadline() {
    struct Endless(Vec<u8>);
    impl Transport for Endless {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = to.len().min(self.0.len());
            to[..count].copy_from_slice(&self.0[..count]);
            Ok(count)
        }
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            Ok(from.len())
        }
        fn wait(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }
    }
    let endless = Endless(b"{\"event\": \"E\"}\n".to_vec());
    assert!(matches!(Qmp::open(endless, soon()).err(), Some(QmpError::Silent(_))));
}
