// SPDX-License-Identifier: GPL-3.0-only
//! Our vchan with libxenvchan at the other end, inside of dom0: upstream's proxy is that end.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use libstub::host::Vchan;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use stub_init::qmp::{Server, Turn};
use stub_tests::wait_for;
use xen_sys::{Access as _, DomId, EvtchnPort, GrantRef, Store};

/// Where the channel is offered; libxenvchan has room for 49 bytes.
const KEYS: &str = "/local/domain/0/data/stub-tests";
const TOTAL: usize = 256 << 10;

fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).expect("small")
}

fn proxy(mode: &str, socket: &Path) -> Child {
    let mut command = Command::new("vchan-socket-proxy");
    command.args(["--mode", mode, "0", KEYS]).arg(socket).stdin(Stdio::null());
    command.spawn().expect("vchan-socket-proxy in PATH")
}

fn end(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("its status");
}

/// Gives every byte back to whoever connects, as often as somebody does.
fn echo(listener: &UnixListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let mut buffer = [0; 1000];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    }
}

fn echoing(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket");
    std::thread::spawn(move || echo(&listener));
}

fn publish(server: &Server) {
    let store = Store::open().expect("xenstored");
    let offer = server.offer();
    store
        .write(&format!("{KEYS}/event-channel"), offer.event_channel.to_string().as_bytes())
        .expect("written");
    store.write(&format!("{KEYS}/ring-ref"), offer.ring_ref.to_string().as_bytes()).expect("written");
}

/// What PID 1 does, until told to stop.
fn serve(socket: &Path, stop: &AtomicBool) {
    let mut server = Server::open(0, socket).expect("a server");
    publish(&server);
    let mut more = false;
    while !stop.load(Ordering::SeqCst) {
        let mut waits: Vec<PollFd<'_>> = server.waits().map(|(fd, flags)| PollFd::new(fd, flags)).collect();
        let timeout = if more { PollTimeout::ZERO } else { PollTimeout::from(100_u8) };
        poll(&mut waits, timeout).expect("a wait");
        drop(waits);
        let turn = server.turn().expect("a channel");
        if turn == Turn::Offered {
            publish(&server);
        }
        if turn == Turn::Taken {
            Store::open().and_then(|store| store.rm(&format!("{KEYS}/ring-ref"))).expect("removed");
        }
        more = matches!(turn, Turn::More | Turn::Taken);
    }
}

#[test]
fn the_server_of_pid_1_serves_libxenvchan_s_clients_one_after_the_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let (inner, outer) = (directory.path().join("inner"), directory.path().join("outer"));
    echoing(&inner);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&inner, &stop));
        for _ in 0..3 {
            let child = proxy("client", &outer);
            let mut stream = wait_for("the proxy's socket", || UnixStream::connect(&outer).ok());
            let mut writer = stream.try_clone().expect("a stream");
            scope.spawn(move || {
                let all: Vec<u8> = (0..TOTAL).map(byte).collect();
                writer.write_all(&all).expect("sent");
            });
            let mut got = vec![0; TOTAL];
            stream.read_exact(&mut got).expect("all of it back");
            assert!(got.iter().enumerate().all(|(at, got)| *got == byte(at)), "other bytes came back");
            // Bytes on their way at its death are nobody's.
            stream.write_all(&[0xee; 5000]).expect("sent");
            end(child);
            std::fs::remove_file(&outer).expect("its socket");
        }
        stop.store(true, Ordering::SeqCst);
    });
    Store::open().and_then(|store| store.rm(KEYS)).expect("removed");
}

#[test]
fn our_client_is_served_by_libxenvchan() {
    let directory = tempfile::tempdir().expect("a directory");
    let inner = directory.path().join("inner");
    echoing(&inner);
    let server = proxy("server", &inner);
    let store = Store::open().expect("xenstored");
    let number = |name: &str| {
        let value = store.read(&format!("{KEYS}/{name}")).expect("readable")?;
        String::from_utf8(value).ok()?.parse::<u32>().ok()
    };
    let (ring, port) = wait_for("its offer", || number("ring-ref").zip(number("event-channel")));
    let open = || Vchan::open(DomId::DOM0, GrantRef::new(ring), EvtchnPort::new(port));
    let mut channel = open().expect("a channel");
    assert!(open().is_err(), "a second client");
    let all: Vec<u8> = (0..TOTAL).map(byte).collect();
    let (mut sent, mut got) = (0, Vec::new());
    let mut buffer = [0; 3000];
    while got.len() < TOTAL {
        let wrote = channel.write(&all[sent..(sent + 1500).min(TOTAL)]).expect("a server");
        let read = channel.read(&mut buffer).expect("a server");
        sent += wrote;
        got.extend_from_slice(&buffer[..read]);
        if wrote == 0 && read == 0 {
            let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut wait, PollTimeout::from(60_000_u16)), Ok(1), "nobody rang");
            channel.acknowledge().expect("taken");
        }
    }
    assert!(got == all, "other bytes came back");
    // The server dies: what is there is read, then there is an end.
    end(server);
    wait_for("the end", || channel.read(&mut buffer).is_err().then_some(()));
    drop(channel);
    // It had no time to remove its keys.
    store.rm(KEYS).expect("removed");
}
