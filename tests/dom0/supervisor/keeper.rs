// SPDX-License-Identifier: GPL-3.0-only
//! A `stubctl daemon` or `stubctl run` under test.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stub_tests::wait_for;

/// A `stubctl` that looks after pairs, and its log.
pub(super) struct Keeper {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Keeper {
    pub(super) fn start(args: &[&str]) -> Self {
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
    pub(super) fn daemon(args: &[&str]) -> Self {
        let daemon = Self::start(&[&["--color", "never", "daemon"], args].concat());
        daemon.says("pairs are looked after");
        daemon
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(self.log.path()).expect("its log")
    }

    pub(super) fn has_said(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    pub(super) fn says(&self, text: &str) {
        let said = || self.has_said(text).then_some(());
        let deadline = Instant::now() + stub_tests::PATIENCE;
        while said().is_none() {
            assert!(Instant::now() < deadline, "no {text:?} in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().expect("kill").success());
    }

    /// Ends it as systemd does; gives its exit status and all that it said.
    pub(super) fn end(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.wait()
    }

    pub(super) fn kill(self) {
        self.signal("KILL");
        self.wait();
    }

    pub(super) fn wait(mut self) -> (Option<i32>, String) {
        let status = wait_for("its end", || self.child.try_wait().expect("its state"));
        println!("{}", self.text());
        (status.code(), self.text())
    }

    /// Its resident memory in KiB, its threads and its descriptors.
    pub(super) fn figures(&self) -> (u64, u64, usize) {
        let proc = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{proc}/status")).expect("its status");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
            line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
        };
        let fds = fs::read_dir(format!("{proc}/fd")).expect("its descriptors").count();
        (number("VmRSS:"), number("Threads:"), fds)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
