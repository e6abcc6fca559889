// SPDX-License-Identifier: GPL-3.0-only
//! One boot of the lab: what goes in, the script's output as it comes, its exit status, the logs that stay.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::disks::{Disks, keep};
use super::root::Root;
use super::{Xen, machine};
use crate::{step, workspace};

/// Seconds that a script may take unless it is told otherwise.
pub(crate) const LIMIT: u64 = 1800;

/// What boot, log keeping and power-off may take beside the script.
const OVERHEAD: Duration = Duration::from_secs(240);

/// The line that carries the script's exit status.
const EXIT: &str = "lab-exit ";

/// A dom0 to be booted once.
pub(crate) struct Lab {
    name: String,
    pub(super) xen: Xen,
    pub(super) mem: String,
    /// Seconds that the script may take; 0 is no limit.
    pub(super) deadline: u64,
    pub(super) bin: Vec<PathBuf>,
    pub(super) image: Option<PathBuf>,
    pub(super) put: Vec<(PathBuf, String)>,
    /// A reboot is another boot, with what was written to the disks; else it is the end.
    reboots: bool,
}

impl Lab {
    /// A lab whose logs will be in `target/lab/<name>`.
    pub(crate) fn new(name: &str, xen: Xen, mem: &str, deadline: u64) -> Self {
        let (bin, put) = (Vec::new(), Vec::new());
        Self {
            name: name.to_owned(),
            xen,
            mem: mem.to_owned(),
            deadline,
            bin,
            image: None,
            put,
            reboots: false,
        }
    }

    /// Lets the script reboot dom0: it is run again then.
    pub(crate) fn may_reboot(&mut self) {
        self.reboots = true;
    }

    /// Puts binaries into dom0's PATH and the image where `stubctl` looks for it.
    pub(crate) fn install(&mut self, bin: &[PathBuf], image: &Path) {
        self.bin.extend_from_slice(bin);
        self.image = Some(image.to_owned());
    }

    /// Puts a file or directory into dom0 as `/lab/put/<its name>`.
    pub(crate) fn put(&mut self, path: &Path) -> Result<()> {
        let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
        let name = name.to_string_lossy().into_owned();
        self.put_as(path, &name);
        Ok(())
    }

    /// Puts a file or directory into dom0 as `/lab/put/<name>`.
    pub(crate) fn put_as(&mut self, path: &Path, name: &str) {
        self.put.push((path.to_owned(), name.to_owned()));
    }

    /// Where this lab's logs are kept.
    pub(crate) fn logs(&self) -> PathBuf {
        workspace().join("target/lab").join(&self.name)
    }

    /// Boots, runs `script`, gives each line of its output to `line`, and returns its exit status.
    pub(crate) fn run(&self, script: &str, mut line: impl FnMut(&str)) -> Result<u8> {
        let root = Root::ensure(self.xen)?;
        let work = tempfile::tempdir()?;
        let disks = Disks::make(self, work.path(), script)?;
        let logs = self.logs();
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        let mut qemu = machine::qemu(&root, &self.mem, &disks, &logs, "stdio,signal=off")?;
        if !self.reboots {
            qemu.arg("-no-reboot");
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut machine = Machine(qemu.spawn().context("cannot start the lab's QEMU")?);
        let result = self.follow(&mut machine, &mut line);
        drop(machine);
        keep(&disks.out, &logs);
        result.with_context(|| format!("the lab's logs are in {}", logs.display()))
    }

    fn follow(&self, machine: &mut Machine, line: &mut dyn FnMut(&str)) -> Result<u8> {
        let (sender, lines) = mpsc::channel();
        let stdout = machine.0.stdout.take().context("no output from the lab's QEMU")?;
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&text).trim_end_matches('\r').to_owned()).is_err() {
                    return;
                }
            }
        });
        let until = Instant::now() + Duration::from_secs(self.deadline) + OVERHEAD;
        let booting = step::Step::start("Xen and dom0 boot");
        let mut booting = Some(booting);
        let mut status = None;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(text) => {
                    if let Some(step) = booting.take() {
                        step.done();
                        continue;
                    }
                    match text.strip_prefix(EXIT).map(str::parse) {
                        Some(Ok(code)) => status = Some(code),
                        _ => line(&text),
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if status.is_some() => break,
                Err(RecvTimeoutError::Timeout) => bail!("the lab did not end by itself"),
            }
        }
        status.context("the lab's machine went down before the script ended")
    }
}

/// The emulated machine's process; dropping it ends it.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
