// SPDX-License-Identifier: GPL-3.0-only
//! A `stubctl` that can be stopped before any of its calls, as a log that nobody reads stops it.
//!
//! Each call is logged before it is made. The log goes to a datagram socket that takes one message: with a second one
//! the process waits in the kernel, between two calls, for as long as it is left there.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::stubctl::Ran;
use crate::wait_for;

/// How many messages a socket takes that is made from now on, beside the one that is always taken.
const QUEUE: &str = "/proc/sys/net/unix/max_dgram_qlen";

/// How often it is looked whether the process has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What it says on its standard output.
const OUTPUT: &str = "out";

/// Where the kernel keeps a sender whose peer takes no more.
const FULL: &str = "unix_wait_for_peer";

/// A running `stubctl`.
#[derive(Debug)]
pub struct Stepper {
    child: Child,
    log: UnixDatagram,
    ended: bool,
    directory: tempfile::TempDir,
}

impl Stepper {
    /// Starts `stubctl` with these arguments; it stops when it has made its first call.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        fs::write(QUEUE, "0").expect("a limit on queues");
        let log = UnixDatagram::bind(&path).expect("a socket");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.connect(&path).expect("connected");
        log.set_read_timeout(Some(LOOK)).expect("a timeout");
        let child = Command::new("stubctl")
            .args(["-vv", "--log-format", "json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(fs::File::create(directory.path().join(OUTPUT)).expect("a file"))
            .stderr(OwnedFd::from(sender))
            .spawn()
            .expect("stubctl in PATH");
        Self { child, log, ended: false, directory }
    }

    /// Starts a run and stops it before its point number `at`, from 1; says what it has just done.
    ///
    /// # Panics
    /// When it neither comes that far nor ends.
    pub fn stop_at(args: &[&str], at: usize) -> (Self, String) {
        let mut run = Self::start(args);
        let mut last = String::new();
        for _ in 1..at {
            let Some(event) = (loop {
                match run.step() {
                    Some(event) if !is_point(&event) => {}
                    event => break event,
                }
            }) else {
                break;
            };
            last = words(&event);
        }
        run.settle();
        (run, last)
    }

    /// Lets it go on to its next call, and gives what it logged; `None` when it ended.
    ///
    /// # Panics
    /// When it does neither in time.
    pub fn step(&mut self) -> Option<Value> {
        let mut buffer = vec![0; 1 << 16];
        wait_for("the next call", || match self.log.recv(&mut buffer) {
            Ok(length) => Some(Some(serde_json::from_slice(&buffer[..length]).unwrap_or(Value::Null))),
            Err(_) if self.ended => Some(None),
            Err(_) => {
                // What it logged before its end is still to be read.
                self.ended = self.child.try_wait().expect("its state").is_some();
                None
            }
        })
    }

    /// Waits until it stands still between two calls, or has ended.
    ///
    /// # Panics
    /// When it does neither in time.
    pub fn settle(&mut self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        wait_for("a stop between two calls", || {
            let waits = |task: fs::DirEntry| {
                fs::read_to_string(task.path().join("wchan")).is_ok_and(|at| at.trim() == FULL)
            };
            let stopped = fs::read_dir(&tasks).is_ok_and(|tasks| tasks.filter_map(Result::ok).any(waits));
            (stopped || self.child.try_wait().expect("its state").is_some()).then_some(())
        });
    }

    /// Sends it a signal, by its name.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn signal(&self, signal: &str) {
        self.signals(&[signal]);
    }

    /// Sends it signals, by their names, with nothing between them.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn signals(&self, signals: &[&str]) {
        let kills: Vec<String> =
            signals.iter().map(|signal| format!("kill -s {signal} {}", self.child.id())).collect();
        Command::new("sh").args(["-c", &kills.join("; ")]).status().expect("a shell");
    }

    /// Lets it run until it is about to make this call.
    ///
    /// # Panics
    /// When it ends before.
    pub fn run_to(&mut self, call: &str) {
        while let Some(event) = self.step() {
            if is_point(&event) && event["fields"]["call"] == call {
                return;
            }
        }
        panic!("it ended before any {call}");
    }

    /// Lets it run to its end, and gives its exit status with what it said on its standard output.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn end(mut self) -> Ran {
        while self.step().is_some() {}
        let status = self.child.wait().expect("its status").code().unwrap_or(-1);
        let stdout = fs::read_to_string(self.directory.path().join(OUTPUT)).expect("its output");
        Ran { status, stdout, stderr: String::new() }
    }

    /// Lets it run to its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn finish(mut self) -> ExitStatus {
        while self.step().is_some() {}
        self.child.wait().expect("its status")
    }
}

/// Whether this is a call, or the writing of a record: the points at which a process can die.
pub fn is_point(event: &Value) -> bool {
    event["target"] == "libstub::call"
}

/// What is called at a point.
pub fn words(event: &Value) -> String {
    let text = |key: &str| event["fields"][key].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("call"), text("on"))
}
