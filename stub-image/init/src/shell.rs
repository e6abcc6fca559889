// SPDX-License-Identifier: GPL-3.0-only
//! A shell on the console, for images that were built with one, when the toolstack asks for it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::console;
use crate::options::Options;

const PROGRAM: &str = "/bin/sh";
const CONSOLE: &str = "/dev/hvc0";

/// Starts the shell if it was asked for and is there; without one the domain serves its guest all the same.
pub fn start(options: Options) {
    if !options.debug_shell {
        return;
    }
    if !Path::new(PROGRAM).exists() {
        return console::say("no debug shell: this image was built without one");
    }
    match spawn() {
        Ok(()) => {
            console::say("DEBUG SHELL on this console: who reaches it controls this domain and its guest")
        }
        Err(error) => console::say(&format!("no debug shell: {error}")),
    }
}

fn spawn() -> io::Result<()> {
    let console = File::options().read(true).write(true).open(CONSOLE)?;
    let stream = || console.try_clone().map(Stdio::from);
    // PID 1 reaps every child by itself.
    Command::new(PROGRAM).arg("-i").stdin(stream()?).stdout(stream()?).stderr(stream()?).spawn().map(drop)
}
