// SPDX-License-Identifier: GPL-3.0-only
//! A `stubctl daemon` or `stubctl run` under test.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{PATIENCE, wait_for};

/// A `stubctl` that looks after pairs, and its log.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Keeper {
    /// Starts it with these arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(args: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let to = |log: &tempfile::NamedTempFile| {
            Stdio::from(File::options().append(true).open(log.path()).expect("a file"))
        };
        let mut command = Command::new("stubctl");
        command.args(args).stdin(Stdio::null()).stdout(to(&log)).stderr(to(&log));
        let child = command.spawn().expect("stubctl in PATH");
        Self { child, log }
    }

    /// A daemon that is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn daemon(args: &[&str]) -> Self {
        let daemon = Self::start(&[&["--color", "never", "daemon"], args].concat());
        daemon.says("pairs are looked after");
        daemon
    }

    /// All that it said.
    ///
    /// # Panics
    /// When its log cannot be read.
    pub fn text(&self) -> String {
        fs::read_to_string(self.log.path()).expect("its log")
    }

    /// Whether it said this.
    pub fn has_said(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// Waits until it says this.
    ///
    /// # Panics
    /// When it does not.
    pub fn says(&self, text: &str) {
        let said = || self.has_said(text).then_some(());
        let deadline = Instant::now() + PATIENCE;
        while said().is_none() {
            assert!(Instant::now() < deadline, "no {text:?} in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends it a signal, by its name.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().expect("kill").success());
    }

    /// Ends it as systemd does; gives its exit status and all that it said.
    pub fn end(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Ends it at once.
    pub fn kill(self) {
        self.signal("KILL");
        self.wait();
    }

    /// Waits for its end; gives its exit status and all that it said.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let status = wait_for("its end", || self.child.try_wait().expect("its state"));
        println!("{}", self.text());
        (status.code(), self.text())
    }

    /// Its resident memory in KiB but for what is mapped of files, its threads and its descriptors.
    ///
    /// # Panics
    /// When it is gone.
    pub fn figures(&self) -> (u64, u64, usize) {
        let proc = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{proc}/status")).expect("its status");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
            line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
        };
        let fds = fs::read_dir(format!("{proc}/fd")).expect("its descriptors").count();
        (number("RssAnon:"), number("Threads:"), fds)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
