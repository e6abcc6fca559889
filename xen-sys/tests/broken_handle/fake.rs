// SPDX-License-Identifier: GPL-3.0-only
//! A xenstore daemon that does what a claim wants it to.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

pub(crate) const WATCH: u32 = 4;
pub(crate) const TRANSACTION_START: u32 = 6;
pub(crate) const TRANSACTION_END: u32 = 7;
pub(crate) const READ: u32 = 2;
const WATCH_EVENT: u32 = 15;
const ERROR: u32 = 16;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) transaction: u32,
    pub(crate) body: Vec<u8>,
}

/// What it gets for it.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer to the request.
    Ok(Vec<u8>),
    /// An error by name.
    Error(&'static str),
    /// An answer to a request that nobody made.
    OtherKind,
    /// An answer under an id that is not the request's.
    OtherId(Vec<u8>),
    /// An answer that announces more than any may have.
    TooLong,
    /// An answer that ends before its end, and with it the connection.
    CutShort,
    /// The end of the connection.
    HangUp,
    /// An answer, followed by an event.
    ThenEvent(Vec<u8>, Vec<u8>),
    /// An answer, followed by the end of the connection.
    ThenHangUp(Vec<u8>),
}

fn header(kind: u32, id: u32, transaction: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).expect("short");
    [kind, id, transaction, length].iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn message(kind: u32, id: u32, transaction: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, id, transaction, body.len());
    bytes.extend_from_slice(body);
    bytes
}

fn request(stream: &mut UnixStream) -> io::Result<Request> {
    let mut header = [0_u8; 16];
    stream.read_exact(&mut header)?;
    let number = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let mut body = vec![0; number(12) as usize];
    stream.read_exact(&mut body)?;
    Ok(Request { kind: number(0), id: number(4), transaction: number(8), body })
}

/// Serves one connection until it ends.
fn serve(
    mut stream: UnixStream,
    answer: &impl Fn(&Request) -> Reply,
    seen: impl Fn(Request),
) -> io::Result<()> {
    loop {
        let request = request(&mut stream)?;
        let reply = answer(&request);
        let Request { kind, id, transaction, .. } = request;
        seen(request);
        let ok = |body: &[u8]| message(kind, id, transaction, body);
        let (bytes, last) = match &reply {
            Reply::Ok(body) => (ok(body), false),
            Reply::Error(name) => (message(ERROR, id, transaction, format!("{name}\0").as_bytes()), false),
            Reply::OtherKind => (message(kind ^ 1, id, transaction, b"OK\0"), false),
            Reply::OtherId(body) => (message(kind, id.wrapping_add(99), transaction, body), false),
            Reply::TooLong => (header(kind, id, transaction, 1 << 20), false),
            Reply::CutShort => ([header(kind, id, transaction, 100), b"OK".to_vec()].concat(), true),
            Reply::HangUp => (Vec::new(), true),
            Reply::ThenEvent(body, event) => ([ok(body), message(WATCH_EVENT, 0, 0, event)].concat(), false),
            Reply::ThenHangUp(body) => (ok(body), true),
        };
        stream.write_all(&bytes)?;
        if last {
            return Ok(());
        }
    }
}

/// Starts a daemon where libxenstore looks for it; it serves one connection after the other, and reports what it was asked.
pub(crate) fn daemon(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Receiver<Request> {
    let (sender, seen) = channel();
    let listener = UnixListener::bind(crate::socket()).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            // Clients may leave at any time, and claims need not look at what was seen.
            let _ = serve(stream, &answer, |request| drop(sender.send(request)));
        }
    });
    seen
}
