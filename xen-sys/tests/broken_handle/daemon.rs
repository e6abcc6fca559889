// SPDX-License-Identifier: GPL-3.0-only
//! A xenstore daemon that misbehaves.

use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use xen_sys::{
    Access, Commit, DomId, EvtchnPort, Gfn, Permission, PermissionAccess, Result, Store, WatchEvent,
};

use crate::fake::{READ, Reply, Request, TRANSACTION_END, TRANSACTION_START, WATCH, daemon};
use crate::{Claim, assert_fails};

pub(crate) const CLAIMS: &[Claim] = &[
    ("without_a_daemon_open_fails", without_a_daemon_open_fails),
    ("an_error_reply_is_the_error", an_error_reply_is_the_error),
    ("an_error_nobody_knows_is_an_error", an_error_nobody_knows_is_an_error),
    ("a_hang_up_is_an_error", a_hang_up_is_an_error),
    ("a_hang_up_inside_of_a_reply_is_an_error", a_hang_up_inside_of_a_reply_is_an_error),
    ("a_reply_that_is_too_long_is_an_error", a_reply_that_is_too_long_is_an_error),
    ("a_reply_to_something_else_is_an_error", a_reply_to_something_else_is_an_error),
    ("transactions_fail_as_the_store_does", transactions_fail_as_the_store_does),
    ("a_failed_handle_stays_failed", a_failed_handle_stays_failed),
    ("garbage_does_no_harm", garbage_does_no_harm),
    ("ids_of_replies_are_not_looked_at", ids_of_replies_are_not_looked_at),
    ("what_is_missing_is_none", what_is_missing_is_none),
    ("nul_bytes_never_reach_the_daemon", nul_bytes_never_reach_the_daemon),
    ("a_conflict_is_an_outcome", a_conflict_is_an_outcome),
    ("a_commit_carries_its_transaction", a_commit_carries_its_transaction),
    ("a_dropped_transaction_is_aborted", a_dropped_transaction_is_aborted),
    ("an_event_arrives_through_the_descriptor", an_event_arrives_through_the_descriptor),
    ("events_end_with_an_error_when_the_daemon_does", events_end_with_an_error_when_the_daemon_does),
];

const DOMID: DomId = DomId::new(7);
const ENTRY: Permission = Permission { domid: DOMID, access: PermissionAccess::Read };

type Method<T> = (&'static str, fn(&T) -> Result<()>);
/// What store and transaction have in common.
type AccessMethod = (&'static str, fn(&dyn Access) -> Result<()>);

const ACCESS_METHODS: &[AccessMethod] = &[
    ("read", |access| access.read("/a").map(drop)),
    ("write", |access| access.write("/a", b"value")),
    ("mkdir", |access| access.mkdir("/a")),
    ("rm", |access| access.rm("/a")),
    ("list", |access| access.list("/a").map(drop)),
    ("permissions", |access| access.permissions("/a").map(drop)),
    ("set_permissions", |access| access.set_permissions("/a", &[ENTRY])),
];

const STORE_METHODS: &[Method<Store>] = &[
    ("transaction", |store| store.transaction().map(drop)),
    ("watch", |store| store.watch("/a", "token")),
    ("unwatch", |store| store.unwatch("/a", "token")),
    ("introduce", |store| store.introduce(DOMID, Gfn::new(1), EvtchnPort::new(1))),
    ("set_target", |store| store.set_target(DOMID, DomId::new(8))),
    ("release", |store| store.release(DOMID)),
    ("is_introduced", |store| store.is_introduced(DOMID).map(drop)),
];

fn open() -> Store {
    Store::open().expect("the daemon listens")
}

/// Calls every method on a connection of its own, where each request gets this reply.
fn every_method(reply: &Reply, outcome: impl Fn(&str, Result<()>)) {
    let answer = reply.clone();
    daemon(move |_| answer.clone());
    for (name, method) in ACCESS_METHODS {
        outcome(name, method(&open()));
    }
    for (name, method) in STORE_METHODS {
        outcome(name, method(&open()));
    }
}

fn without_a_daemon_open_fails() {
    assert_fails("open", Store::open());
}

fn an_error_reply_is_the_error() {
    every_method(&Reply::Error("EACCES"), |name, result| {
        assert_eq!(result.expect_err(name).errno(), Some(libc::EACCES), "{name}");
    });
}

fn an_error_nobody_knows_is_an_error() {
    every_method(&Reply::Error("EWHATEVER"), assert_fails);
}

fn a_hang_up_is_an_error() {
    every_method(&Reply::HangUp, assert_fails);
}

fn a_hang_up_inside_of_a_reply_is_an_error() {
    every_method(&Reply::CutShort, assert_fails);
}

fn a_reply_that_is_too_long_is_an_error() {
    every_method(&Reply::TooLong, assert_fails);
}

fn a_reply_to_something_else_is_an_error() {
    every_method(&Reply::OtherKind, assert_fails);
}

fn transactions_fail_as_the_store_does() {
    daemon(|request| match request.kind {
        TRANSACTION_START => Reply::Ok(b"1\0".to_vec()),
        _ => Reply::HangUp,
    });
    for (name, method) in ACCESS_METHODS {
        let store = open();
        assert_fails(name, method(&store.transaction().expect("begins")));
    }
    assert_fails("abort", open().transaction().expect("begins").abort());
    assert_fails("commit", open().transaction().expect("begins").commit());
}

fn a_failed_handle_stays_failed() {
    daemon(|request| if request.kind == READ { Reply::HangUp } else { Reply::Ok(b"OK\0".to_vec()) });
    let store = open();
    store.write("/a", b"value").expect("works before");
    assert_fails("read", store.read("/a"));
    for (name, method) in ACCESS_METHODS {
        assert_fails(name, method(&store));
    }
    for (name, method) in STORE_METHODS {
        assert_fails(name, method(&store));
    }
}

fn garbage_does_no_harm() {
    // Most methods do not look at what a positive answer says.
    every_method(&Reply::Ok(b"\xff\xfe\0\0garbage\x01\0".to_vec()), |_, outcome| drop(outcome));
    let store = open();
    assert_eq!(store.list("/a").expect("names").expect("a node").len(), 3);
    assert!(store.permissions("/a").is_err());
    assert!(store.transaction().is_err());
    assert_eq!(store.read("/a").expect("bytes").expect("a node").len(), 13);
}

fn ids_of_replies_are_not_looked_at() {
    daemon(|_| Reply::OtherId(b"value".to_vec()));
    assert_eq!(
        open().read("/a").expect("libxenstore takes replies in order").as_deref(),
        Some(&b"value"[..])
    );
}

fn what_is_missing_is_none() {
    daemon(|_| Reply::Error("ENOENT"));
    let store = open();
    assert_eq!(store.read("/a").expect("an answer"), None);
    assert_eq!(store.list("/a").expect("an answer"), None);
    assert_eq!(store.permissions("/a").expect("an answer"), None);
    store.rm("/a").expect("nothing to do");
    assert_fails("write", store.write("/a", b"value"));
}

fn nul_bytes_never_reach_the_daemon() {
    let seen = daemon(|_| Reply::Ok(b"OK\0".to_vec()));
    let store = open();
    assert!(store.read("/a\0b").is_err());
    assert!(store.watch("/a", "to\0ken").is_err());
    store.write("/a", b"a\0b").expect("values may have them");
    assert_eq!(seen.recv().expect("the write").body, b"/a\0a\0b");
}

fn begin_and(end: Reply) -> impl Fn(&Request) -> Reply {
    move |request| match request.kind {
        TRANSACTION_START => Reply::Ok(b"23\0".to_vec()),
        TRANSACTION_END => end.clone(),
        _ => Reply::Ok(b"OK\0".to_vec()),
    }
}

fn a_conflict_is_an_outcome() {
    daemon(begin_and(Reply::Error("EAGAIN")));
    let store = open();
    assert_eq!(store.transaction().expect("begins").commit().expect("an outcome"), Commit::Conflict);
}

fn a_commit_carries_its_transaction() {
    let seen = daemon(begin_and(Reply::Ok(b"OK\0".to_vec())));
    let store = open();
    let transaction = store.transaction().expect("begins");
    transaction.write("/a", b"value").expect("written");
    assert_eq!(transaction.commit().expect("an outcome"), Commit::Done);
    drop(store);
    let ids: Vec<_> =
        seen.try_iter().map(|request| (request.kind, request.transaction, request.body)).collect();
    assert_eq!(ids[1].1, 23);
    assert_eq!(ids[2], (TRANSACTION_END, 23, b"T\0".to_vec()));
    assert_eq!(ids.len(), 3);
}

fn a_dropped_transaction_is_aborted() {
    let seen = daemon(begin_and(Reply::Ok(b"OK\0".to_vec())));
    let store = open();
    drop(store.transaction().expect("begins"));
    let last = seen.try_iter().last().expect("requests");
    assert_eq!((last.kind, last.transaction, last.body), (TRANSACTION_END, 23, b"F\0".to_vec()));
}

/// Whether the store's descriptor is readable within a second.
fn readable(store: &Store) -> bool {
    let mut poll = libc::pollfd { fd: store.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is passed, and the descriptor is open.
    unsafe { libc::poll(&raw mut poll, 1, 1000) == 1 }
}

fn an_event_arrives_through_the_descriptor() {
    let reply = Reply::ThenEvent(b"OK\0".to_vec(), b"/a/b\0token\0".to_vec());
    daemon(move |request| if request.kind == WATCH { reply.clone() } else { Reply::Ok(b"OK\0".to_vec()) });
    let store = open();
    assert_eq!(store.check_watch().expect("an answer"), None);
    store.watch("/a", "token").expect("watched");
    assert!(readable(&store));
    let event = WatchEvent { path: "/a/b".to_owned(), token: "token".to_owned() };
    assert_eq!(store.check_watch().expect("an answer"), Some(event));
    assert_eq!(store.check_watch().expect("an answer"), None);
    store.unwatch("/a", "token").expect("no longer watched");
}

fn events_end_with_an_error_when_the_daemon_does() {
    daemon(|_| Reply::ThenHangUp(b"OK\0".to_vec()));
    let store = open();
    store.watch("/a", "token").expect("watched");
    let deadline = Instant::now() + Duration::from_secs(5);
    // The library's thread notices in its own time.
    while store.check_watch().is_ok() {
        assert!(Instant::now() < deadline, "the daemon is gone, and nobody says so");
        thread::sleep(Duration::from_millis(1));
    }
    assert_fails("read", store.read("/a"));
}
