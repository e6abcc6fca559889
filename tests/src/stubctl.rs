// SPDX-License-Identifier: GPL-3.0-only
//! Running the `stubctl` that the lab has in its PATH.

use std::process::{Command, Output};

use serde_json::Value;

use crate::guest::Guest;

/// What a run of `stubctl` gave.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Its standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<Output> for Ran {
    fn from(out: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: out.status.code().unwrap_or(-1), stdout: text(out.stdout), stderr: text(out.stderr) }
    }
}

/// Runs `stubctl` with these arguments.
///
/// # Panics
/// When it cannot be run at all.
pub fn stubctl(args: &[&str]) -> Ran {
    let ran: Ran = Command::new("stubctl").args(args).output().expect("stubctl in PATH").into();
    println!("$ stubctl {} -> {}\n{}{}", args.join(" "), ran.status, ran.stdout, ran.stderr);
    ran
}

/// Creates a guest.
pub fn create(guest: &Guest) -> Ran {
    stubctl(&["--json", "create", &guest.config().display().to_string()])
}

/// Creates a guest that must come up, and gives the ids of guest and stubdomain.
///
/// # Panics
/// When it does not come up.
pub fn create_running(guest: &Guest) -> (u16, u16) {
    let ran = create(guest);
    assert_eq!(ran.status, 0, "{ran:?}");
    let json = ran.json();
    let domid = |key: &str| json[key].as_u64().and_then(|id| u16::try_from(id).ok()).expect("a domain id");
    (domid("guest"), domid("stubdom"))
}

/// Destroys a guest that must be there.
///
/// # Panics
/// When something of it is left.
pub fn destroy(guest: &Guest) {
    let ran = stubctl(&["destroy", &guest.name]);
    assert_eq!(ran.status, 0, "{ran:?}");
}
