// SPDX-License-Identifier: GPL-3.0-only
//! A toolstack in one file: starts every config it is given at the same time, from one event loop of its own.
//!
//! `three_pairs A.cfg B.cfg C.cfg` creates three pairs side by side, tells what happens in each, and ends with 1 if
//! one failed. SIGINT and SIGTERM cancel what is under way; what was made is undone before the program ends.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use libstub::{CreateError, GuestConfig, Journal, Operation, Pair, Progress, XenHost};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

const SIGNALS: Token = Token(usize::MAX);

/// A create under way, and the name it is told under.
struct Start {
    name: String,
    operation: Operation<Pair, CreateError>,
    failed: Option<bool>,
}

impl Start {
    /// Reads a config and begins; each operation has a host of its own.
    fn begin(config: &Path) -> Result<Self, Box<dyn Error>> {
        let config = GuestConfig::read(config)?;
        let name = config.name.to_string();
        let host = Box::new(XenHost::open()?);
        let operation = libstub::create(host, Journal::new(libstub::DIRECTORY), config)?;
        Ok(Self { name, operation, failed: None })
    }

    /// Takes all that happened, without waiting for more.
    fn dispatch(&mut self) -> io::Result<()> {
        while let Some(progress) = self.operation.dispatch()? {
            match progress {
                Progress::Event(event) => {
                    println!("{}: {:.3} s: {}", self.name, event.at.as_secs_f64(), event.milestone);
                }
                Progress::Done(Ok(pair)) => {
                    println!(
                        "{}: runs as domain {}, its QEMU in domain {}",
                        self.name, pair.guest, pair.stubdom
                    );
                    self.failed = Some(false);
                }
                Progress::Done(Err(error)) => {
                    tell(&error);
                    self.failed = Some(true);
                }
            }
        }
        Ok(())
    }
}

/// Everything an error knows: what failed, why, what was undone, and what is still owed.
fn tell(error: &CreateError) {
    eprintln!("error[{}]: {error}", error.code());
    let mut cause = error.source();
    while let Some(reason) = cause {
        eprintln!("  because: {reason}");
        cause = reason.source();
    }
    for line in &error.findings.console {
        eprintln!("  | {line}");
    }
    for owed in &error.owed {
        eprintln!("  left behind: {} ({})", owed.what, owed.why);
    }
}

fn run(configs: impl Iterator<Item = String>) -> Result<bool, Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
    let mut starts = Vec::new();
    for config in configs {
        match Start::begin(Path::new(&config)) {
            Ok(start) => starts.push(start),
            Err(error) => {
                eprintln!("{config}: {error}");
                // Dropping an operation would cancel it too, but only in the background: wait for the end of each.
                starts.iter().for_each(|start: &Start| start.operation.cancel());
                break;
            }
        }
    }
    for (index, start) in starts.iter().enumerate() {
        let fd = start.operation.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(16);
    loop {
        for start in &mut starts {
            start.dispatch()?;
        }
        if starts.iter().all(|start| start.failed.is_some()) {
            return Ok(starts.iter().all(|start| start.failed == Some(false)));
        }
        let next = starts.iter().filter_map(|start| start.operation.next_deadline()).min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        if events.iter().any(|event| event.token() == SIGNALS) && signals.pending().next().is_some() {
            eprintln!("cancelled: waiting until everything is undone");
            starts.iter().for_each(|start| start.operation.cancel());
        }
    }
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
