// SPDX-License-Identifier: GPL-3.0-only
//! What a program that links the library can rely on.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use libstub::host::fake::{Behaviour, FakeHost};
use libstub::{
    Canceller, Cause, CreateError, CreateStage, DestroyError, Destroyed, GuestConfig, Journal, Operation,
    Pair, Progress, XenHost,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::Bench;

#[test]
fn what_a_caller_holds_can_go_to_another_thread() {
    fn send<T: Send + 'static>() {}
    fn shared<T: Send + Sync + 'static>() {}
    send::<XenHost>();
    send::<FakeHost>();
    send::<Operation<Pair, CreateError>>();
    send::<Operation<Destroyed, DestroyError>>();
    shared::<Canceller>();
    shared::<GuestConfig>();
    shared::<Journal>();
    shared::<CreateError>();
    shared::<DestroyError>();
}

/// Pending, handled, blocked and ignored signals of this thread.
fn signals() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("a status");
    // SigQ counts those of all processes of this user.
    let of_this = |line: &&str| line.starts_with("Sig") && !line.starts_with("SigQ");
    status.lines().filter(of_this).map(str::to_owned).collect()
}

#[test]
fn signals_are_left_to_the_program() {
    let before = signals();
    Bench::new(Behaviour::Ready).create().expect("created");
    assert_eq!(signals(), before);
}

/// Drives an operation as a program with a loop of its own does: by its descriptor and its deadline only.
fn drive(
    bench: &Bench,
    mut on_event: impl FnMut(&Operation<Pair, CreateError>),
) -> io::Result<Result<Pair, CreateError>> {
    let host = Box::new(bench.host.clone());
    let mut operation = libstub::create(host, bench.journal.clone(), bench.config.clone())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&operation.as_raw_fd()), Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(4);
    loop {
        let began = Instant::now();
        while let Some(progress) = operation.dispatch()? {
            match progress {
                Progress::Event(_) => on_event(&operation),
                Progress::Done(result) => return Ok(result),
            }
        }
        // A caller's other work waits meanwhile: generous for a loaded machine, far below any blocking call.
        assert!(began.elapsed() < Duration::from_secs(2), "dispatch blocked");
        let timeout = operation.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, timeout)?;
    }
}

#[test]
fn a_create_is_driven_by_a_loop_of_the_callers_own() {
    let mut events = 0;
    let pair = drive(&Bench::new(Behaviour::Ready), |_| events += 1).expect("a loop").expect("created");
    assert_eq!(pair.name.as_str(), "g");
    assert!(events > 5, "{events} events");
}

#[test]
fn a_cancel_from_the_callers_loop_undoes_everything() {
    let bench = Bench::new(Behaviour::Silence);
    let error = drive(&bench, Operation::cancel).expect("a loop").expect_err("cancelled");
    assert!(matches!(*error.cause, Cause::Cancelled), "{error:?}");
    assert_eq!((error.owed.len(), bench.remains()), (0, Vec::new()));
}

#[test]
fn a_create_that_nobody_drives_ends_when_it_is_dropped() {
    let bench = Bench::new(Behaviour::Silence);
    let operation =
        libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), bench.config.clone());
    drop(operation.expect("an operation"));
    let deadline = Instant::now() + Duration::from_secs(60);
    // The worker undoes in the background; its claim on the name goes last.
    loop {
        match bench.create() {
            Err(error) if matches!(*error.cause, Cause::Journal(_) | Cause::PairExists) => {
                assert!(Instant::now() < deadline, "still busy: {error:?}");
                std::thread::yield_now();
            }
            result => {
                let error = result.expect_err("it is silent");
                assert!(matches!(error.stage, CreateStage::Ready(_)), "{error:?}");
                break;
            }
        }
    }
    assert_eq!(bench.remains(), Vec::<String>::new());
}
