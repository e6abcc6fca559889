// SPDX-License-Identifier: GPL-3.0-only
//! Two ends over plain memory: honest ones that lose nothing, and hostile ones that break nothing.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use proptest::prelude::*;
use vchan::{Endpoint, Error, Layout, Order, PAGE_BYTES, Peer};

type Memory = Arc<[AtomicU32]>;
type End = Endpoint<Memory>;

fn memory(bytes: usize) -> Memory {
    (0..bytes / 4).map(|_| AtomicU32::new(0)).collect()
}

/// A server and its page, with `left` and `right` as orders.
fn server(left: u16, right: u16) -> (End, Memory, Vec<Memory>) {
    let orders = [left, right].map(|order| Order::new(order).expect("an order"));
    let page = memory(PAGE_BYTES);
    let own = orders.map(|order| (order.pages() > 0).then(|| memory(order.bytes())));
    let grants = orders.map(|order| (1..).take(order.pages()).collect::<Vec<u32>>());
    let [left, right] = [0, 1].map(|side| own[side].clone().map(|memory| (memory, &grants[side][..])));
    let layout = Layout::new(orders[0], orders[1]).expect("orders that fit");
    let end = Endpoint::serve(Arc::clone(&page), layout, left, right).expect("a server");
    (end, page, own.into_iter().flatten().collect())
}

fn client(page: &Memory, own: &[Memory]) -> End {
    let mut own = own.iter();
    let map = |_, grants: &[u32]| {
        let memory = own.next().expect("as many as the server has");
        assert_eq!(grants.len() * PAGE_BYTES, memory.len() * 4);
        Ok::<_, Error>(Arc::clone(memory))
    };
    Endpoint::attach(Arc::clone(page), map).expect("a page")
}

#[test]
fn a_page_has_one_client_in_its_life() {
    let (server, page, own) = server(10, 11);
    assert_eq!(server.peer(), Peer::Awaited);
    let mut first = client(&page, &own);
    assert!(first.connect());
    assert_eq!((server.peer(), first.peer()), (Peer::Here, Peer::Here));
    assert!(!client(&page, &own).connect(), "a second one while the first is there");
    first.close();
    assert_eq!(server.peer(), Peer::Gone);
    assert!(!client(&page, &own).connect(), "a second one after the first left");
    server.close();
    assert_eq!(first.peer(), Peer::Gone);
}

#[test]
fn a_page_is_laid_out_as_libxenvchan_does() {
    let (_server, page, _) = server(12, 13);
    let words: Vec<u32> = page[..9].iter().map(|word| word.load(SeqCst)).collect();
    // Indices; orders; client awaited, server open, the client is to ring when it wrote; grants.
    assert_eq!(words, [0, 0, 0, 0, 13 << 16 | 12, 0x0001_0102, 1, 1, 2]);
}

/// One end's doorbell: rings the other, waits for its own.
struct Bell(Sender<()>, Receiver<()>);

impl Bell {
    fn pair() -> (Self, Self) {
        let ((to_a, at_a), (to_b, at_b)) = (channel(), channel());
        (Self(to_b, at_a), Self(to_a, at_b))
    }

    fn ring(&self) {
        // The other end may be done and gone.
        let _ = self.0.send(());
    }

    fn wait(&self) {
        self.1.recv_timeout(Duration::from_secs(60)).expect("to be rung");
    }
}

const TOTAL: usize = 1 << 20;

/// The byte at a place of the stream; a period that no ring has.
fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).expect("small")
}

fn send(end: &mut End, bell: &Bell, chunk: usize) {
    let all: Vec<u8> = (0..TOTAL).map(byte).collect();
    let mut sent = 0;
    while sent < TOTAL {
        let moved = end.write(&all[sent..(sent + chunk).min(TOTAL)]).expect("an honest peer");
        sent += moved.bytes;
        if moved.ring {
            bell.ring();
        }
        if moved.bytes == 0 {
            bell.wait();
        }
    }
}

fn receive(end: &mut End, bell: &Bell, chunk: usize) {
    let mut buffer = vec![0; chunk];
    let mut received = 0;
    while received < TOTAL {
        let moved = end.read(&mut buffer).expect("an honest peer");
        let wanted: Vec<u8> = (received..received + moved.bytes).map(byte).collect();
        assert!(buffer[..moved.bytes] == wanted, "other bytes near {received}");
        received += moved.bytes;
        if moved.ring {
            bell.ring();
        }
        if moved.bytes == 0 {
            bell.wait();
        }
    }
}

#[test]
fn a_stream_arrives_whole_and_nobody_sleeps_over_it() {
    for (left, right) in [(10, 11), (11, 10), (12, 11), (10, 14), (13, 12)] {
        let (mut server, page, own) = server(left, right);
        let mut client = client(&page, &own);
        assert!(client.connect());
        let (at_server, at_client) = Bell::pair();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                send(&mut client, &at_client, 701);
                receive(&mut client, &at_client, 4096);
            });
            scope.spawn(move || {
                receive(&mut server, &at_server, 997);
                send(&mut server, &at_server, 5000);
            });
        });
    }
}

#[derive(Debug, Clone)]
enum Act {
    Read(usize),
    Write(usize),
    /// The peer writes a word of the shared page.
    Meddle(usize, u32),
    /// The peer moves an index by a little, as an honest one could.
    Nudge(usize, u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..6000_usize).prop_map(Act::Read),
        (0..6000_usize).prop_map(Act::Write),
        (0..1024_usize, any::<u32>()).prop_map(|(at, value)| Act::Meddle(at, value)),
        (0..6_usize, any::<u32>()).prop_map(|(at, value)| Act::Meddle(at, value)),
        (0..4_usize, 0..3000_u32).prop_map(|(at, by)| Act::Nudge(at, by)),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    #[test]
    fn a_hostile_peer_gets_an_error_or_nothing(acts in acts(), as_client: bool, orders in 0..4_usize) {
        let (left, right) = [(10, 11), (11, 10), (12, 11), (12, 13)][orders];
        let (server, page, own) = server(left, right);
        let mut end = if as_client { client(&page, &own) } else { server };
        let (read, write) = if as_client { (right, left) } else { (left, right) };
        for act in acts {
            match act {
                Act::Meddle(at, value) => page[at].store(value, SeqCst),
                Act::Nudge(at, by) => { page[at].fetch_add(by, SeqCst); }
                Act::Read(len) => if let Ok(moved) = end.read(&mut vec![0; len]) {
                    prop_assert!(moved.bytes <= len.min(1 << read));
                },
                Act::Write(len) => {
                    let before: Vec<u32> = page.iter().map(|word| word.load(SeqCst)).collect();
                    let result = end.write(&vec![0xaa; len]);
                    if let Ok(moved) = result {
                        prop_assert!(moved.bytes <= len.min(1 << write));
                    }
                    // Of the shared page only our own index, the notify bytes and our own ring may have changed.
                    let ring = if write < 12 { (1 << write) / 4..(1 << write) / 2 } else { 0..0 };
                    let index = if as_client { 1 } else { 3 };
                    for (at, old) in before.iter().enumerate() {
                        let ours = at == index || at == 5 || ring.contains(&at);
                        prop_assert!(ours || page[at].load(SeqCst) == *old, "word {} changed", at);
                    }
                }
            }
            let _ = end.peer();
        }
    }

    #[test]
    fn any_page_at_all_can_be_attached_to_or_refused(words in prop::collection::vec(any::<u32>(), 6), small: bool) {
        let page = memory(PAGE_BYTES);
        words.iter().zip(page.iter()).for_each(|(value, word)| word.store(*value, SeqCst));
        if small {
            page[4].store((words[4] & 0x000f_000f) | 0x0008_0008, SeqCst);
        }
        let map = |_, grants: &[u32]| Ok::<_, Error>(memory(grants.len() * PAGE_BYTES));
        if let Ok(mut end) = Endpoint::attach(page, map) {
            let _ = end.connect();
            let _ = end.read(&mut [0; 64]);
            let _ = end.write(&[0; 64]);
        }
    }
}
