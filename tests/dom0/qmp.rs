// SPDX-License-Identifier: GPL-3.0-only
//! QEMU's monitor in a stubdomain, from dom0: ours and upstream's clients, and bad ones.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libstub::host::Vchan;
use libstub::{Journal, Name, Qmp, QmpError, ShutdownReason, XenHost};
use serde_json::json;
use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use stub_tests::wait_for;
use xen_sys::{Access as _, Ctrl, DomId, Store};

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn connect(guest: &Guest, deadline: Instant) -> Result<Qmp<Vchan>, QmpError> {
    let host = XenHost::open().expect("a dom0");
    let name = Name::new(&guest.name).expect("a name");
    libstub::qmp::connect(&host, &Journal::new(libstub::DIRECTORY), &name, deadline)
}

/// A session with a pair's monitor that works.
fn session(guest: &Guest) -> Qmp<Vchan> {
    let mut qmp = connect(guest, within(60)).expect("a session");
    let status = qmp.execute("query-status", None, within(60)).expect("a status");
    assert_eq!(status["status"], "running", "{status}");
    qmp
}

/// Upstream's client: what it is given on its socket goes to the monitor.
struct Proxy {
    child: Child,
    socket: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Proxy {
    fn start((guest, stubdom): (u16, u16)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("qmp");
        let child = Command::new("vchan-socket-proxy")
            .arg(stubdom.to_string())
            .arg(format!("/local/domain/{stubdom}/device-model/{guest}/qmp-vchan"))
            .arg(&socket)
            .stdin(Stdio::null())
            .spawn()
            .expect("vchan-socket-proxy in PATH");
        Self { child, socket, _directory: directory }
    }

    /// A connection through it, past QEMU's greeting.
    fn connect(&self) -> BufReader<UnixStream> {
        let stream = wait_for("the proxy's socket", || UnixStream::connect(&self.socket).ok());
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let mut stream = BufReader::new(stream);
        let mut greeting = String::new();
        stream.read_line(&mut greeting).expect("a greeting");
        assert!(greeting.starts_with("{\"QMP\""), "{greeting:?}");
        stream
    }

    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("its status");
    }
}

fn send(stream: &mut BufReader<UnixStream>, bytes: &[u8]) {
    stream.get_mut().write_all(bytes).expect("sent");
}

#[test]
fn the_monitor_of_a_running_pair_answers_and_tells() {
    let probe = Probe::take();
    let guest = Guest::new();
    stubctl::create_running(&guest);
    let start = Instant::now();
    let mut qmp = session(&guest);
    println!("figure: {} ms from no connection to the first answer", start.elapsed().as_millis());
    for (command, event, status) in [("stop", "STOP", "paused"), ("cont", "RESUME", "running")] {
        qmp.execute(command, None, within(60)).expect("done");
        let told = qmp.event(within(60)).expect("no fault").expect("an event");
        assert_eq!(told.name, event);
        assert_eq!(qmp.execute("query-status", None, within(60)).expect("a status")["status"], status);
    }
    let error = qmp.execute("nonsense", Some(json!({ "a": 1 })), within(60)).expect_err("refused");
    assert!(matches!(&error, QmpError::Refused { class, .. } if class == "CommandNotFound"), "{error}");
    // Far more than the rings hold at once.
    let schema = qmp.execute("query-qmp-schema", None, within(60)).expect("a schema").to_string();
    assert!(schema.len() > 50_000, "{} bytes", schema.len());
    println!("figure: QEMU's own schema has {} bytes", schema.len());
    drop(qmp);
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn each_client_has_a_session_of_its_own_and_one_has_it_at_a_time() {
    let probe = Probe::take();
    let guest = Guest::new();
    stubctl::create_running(&guest);
    for _ in 0..20 {
        let first = session(&guest);
        let refused = connect(&guest, within(1)).expect_err("one client at a time");
        assert!(matches!(refused, QmpError::Busy(_)), "{refused}");
        drop(first);
        // At once: whatever the first left must be gone all the same.
        drop(session(&guest));
    }
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn upstream_s_client_works_and_its_death_in_a_line_spoils_nothing() {
    let probe = Probe::take();
    let guest = Guest::new();
    let ids = stubctl::create_running(&guest);
    for _ in 0..3 {
        let proxy = Proxy::start(ids);
        let mut stream = proxy.connect();
        send(&mut stream, b"{\"execute\": \"qmp_capabilities\", \"id\": \"mine\"}\n");
        let mut answer = String::new();
        stream.read_line(&mut answer).expect("an answer");
        assert!(answer.contains("\"mine\""), "{answer}");
        send(&mut stream, b"{\"execute\": \"quer");
        proxy.kill();
        drop(session(&guest));
    }
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn garbage_stays_with_the_client_that_sent_it() {
    let probe = Probe::take();
    let guest = Guest::new();
    let ids = stubctl::create_running(&guest);
    let proxy = Proxy::start(ids);
    for garbage in [&b"\xff\x00}}}}\n"[..], &[b'['; 1 << 16], b"{\"execute\": \"query-status\"}\n"] {
        let mut stream = proxy.connect();
        send(&mut stream, garbage);
        let mut answer = [0; 16];
        let _ = stream.read(&mut answer);
        drop(stream);
        drop(session(&guest));
    }
    proxy.kill();
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn a_qemu_that_is_told_to_quit_ends_its_stubdom_and_is_no_failure() {
    let probe = Probe::take();
    let guest = Guest::new();
    let (domid, stubdom) = stubctl::create_running(&guest);
    let mut qmp = session(&guest);
    // The answer may come, or the end before it.
    let _ = qmp.execute("quit", None, within(60));
    drop(qmp);
    wait_for("the end of the stubdomain", || {
        let info = Ctrl::open().and_then(|ctrl| ctrl.domain_info(DomId::new(stubdom))).expect("an answer");
        info?.shutdown.filter(|reason| *reason == ShutdownReason::Poweroff)
    });
    let read = |name: &str| {
        let key = format!("/local/domain/{stubdom}/device-model/{domid}/stub/{name}");
        Store::open().expect("xenstored").read(&key).expect("readable")
    };
    assert_eq!(read("qemu-exit").as_deref(), Some(&b"exit 0"[..]));
    assert_eq!(read("failed"), None);
    stubctl::destroy(&guest);
    probe.assert_restored();
}
