// SPDX-License-Identifier: GPL-3.0-only
//! Long steps that a person waits for: a spinner on a terminal, a line each elsewhere.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How many of a failed command's last lines are shown.
const TAIL: usize = 40;

/// A step under way.
pub(crate) struct Step {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Announces a step.
    pub(crate) fn start(name: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style).with_message(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("  .. {name}");
        }
        Self { name: name.to_owned(), started: Instant::now(), bar }
    }

    /// Shows what the step is at.
    pub(crate) fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let short: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
            bar.set_message(format!("{}: {short}", self.name));
        }
    }

    /// The step is done.
    pub(crate) fn done(self) {
        let Self { name, started, bar } = self;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        eprintln!("  ok {name} ({:.1} s)", started.elapsed().as_secs_f64());
    }

    /// The step failed; the error says why.
    pub(crate) fn failed(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        eprintln!("  !! {}", self.name);
    }
}

/// Runs a command as a step: its output is shown only when it fails.
pub(crate) fn quiet(name: &str, command: &mut Command) -> Result<()> {
    output(name, command).map(drop)
}

/// Like [`quiet`], and gives the command's standard output.
pub(crate) fn output(name: &str, command: &mut Command) -> Result<String> {
    let step = Step::start(name);
    match watched(&step, command) {
        Ok(out) => {
            step.done();
            Ok(out)
        }
        Err(error) => {
            step.failed();
            Err(error).with_context(|| name.to_owned())
        }
    }
}

fn watched(step: &Step, command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let stdout = child.stdout.take().context("no stdout")?;
    let stderr = child.stderr.take().context("no stderr")?;
    let reader = std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        })
    });
    let mut tail = std::collections::VecDeque::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        step.detail(&line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let out = reader.join().unwrap_or_default();
    let status = child.wait()?;
    if status.success() {
        return Ok(out);
    }
    for line in out.lines().rev().take(TAIL).collect::<Vec<_>>().iter().rev() {
        eprintln!("     {line}");
    }
    for line in &tail {
        eprintln!("     {line}");
    }
    bail!("{program} ended with {status}")
}
