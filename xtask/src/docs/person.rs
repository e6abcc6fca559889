// SPDX-License-Identifier: GPL-3.0-only
//! A page, done as a person does it: each command where the page says, in the page's order.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::Page;
use super::script::Step;
use crate::lab::quoted;
use crate::workspace;

/// Runs every step of the page; the first that does not end as the page says ends it.
pub(super) fn run(page: &Page) -> Result<()> {
    ensure!(!page.steps.is_empty(), "{} shows no commands", page.file);
    for step in &page.steps {
        let began = Instant::now();
        let (shown, line, fails, status) = match step {
            Step::File { path, text } => {
                write(path, text)?;
                println!("\n== {path} is written");
                continue;
            }
            Step::Host { line, command } => {
                println!("\n== $ {command}");
                (command, line, false, here(command).status())
            }
            Step::Dom0 { line, command, fails } => {
                println!("\n== # {command}");
                (command, line, *fails, in_dom0(command).status())
            }
        };
        let status = status.with_context(|| format!("cannot run {shown}"))?;
        if status.success() == fails {
            bail!("{}:{line}: {shown}: {status}", page.file);
        }
        println!("== {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// On this machine, as a reader types it.
fn here(command: &str) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(workspace()).stdin(Stdio::null());
    shell
}

/// In the dom0 that the page has started.
fn in_dom0(command: &str) -> Command {
    let mut shell = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    shell.args(["xtask", "dom0", "exec", command]).current_dir(workspace()).stdin(Stdio::null());
    shell
}

fn write(path: &str, text: &str) -> Result<()> {
    let path = quoted(path);
    let mut shell = in_dom0(&format!("mkdir -p \"$(dirname {path})\" && cat >{path}"));
    let mut child = shell.stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("no way in")?.write_all(text.as_bytes())?;
    ensure!(child.wait()?.success(), "{path} could not be written in dom0");
    Ok(())
}
