// SPDX-License-Identifier: GPL-3.0-only
//! Every method on a handle that does not work returns an error with a reason: it neither crashes nor hangs.
//!
//! Each claim runs in a child of its own, because a mount namespace needs a process with one thread, libxenstore finds
//! its daemon through the environment, and a crash should be one claim's failure.

mod daemon;
mod devices;
mod fake;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

const CLAIM: &str = "XEN_SYS_CLAIM";
/// What libxenstore itself looks at.
const SOCKET: &str = "XENSTORED_PATH";
/// Longer than any claim takes, and shorter than a person's patience.
const HUNG_AFTER_SECONDS: u32 = 30;

/// A name and what makes it true.
type Claim = (&'static str, fn());

fn main() {
    let claims = || devices::CLAIMS.iter().chain(daemon::CLAIMS);
    if let Ok(name) = std::env::var(CLAIM) {
        // SAFETY: only sets a timer, whose signal ends the process.
        unsafe { libc::alarm(HUNG_AFTER_SECONDS) };
        let claim = claims().find(|(known, _)| *known == name).expect("the parent passes a name it knows");
        return claim.1();
    }

    let arguments = Arguments::from_args();
    let why_not = devices::why_not();
    if let Some(reason) = &why_not {
        eprintln!("claims about devices are ignored: {reason}");
    }
    let needs_devices = |name: &str| devices::CLAIMS.iter().any(|(known, _)| *known == name);
    let trials = claims()
        .map(|(name, _)| {
            let ignored = why_not.is_some() && needs_devices(name);
            Trial::test(*name, move || in_child(name)).with_ignored_flag(ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_if_failed();
}

fn in_child(name: &str) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let output = Command::new(std::env::current_exe()?)
        .env(CLAIM, name)
        .env(SOCKET, directory.path().join("socket"))
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} (SIGALRM means that it hung)\n{said}", output.status).into())
}

/// Where the claim's daemon is to listen.
fn socket() -> PathBuf {
    std::env::var_os(SOCKET).expect("the parent sets it").into()
}

/// Asserts that a call failed with an errno.
fn assert_fails<T>(name: &str, result: xen_sys::Result<T>) {
    match result {
        Ok(_) => panic!("{name} succeeded"),
        Err(error) => assert!(error.errno().is_some(), "{name}: {error} has no errno"),
    }
}
