// SPDX-License-Identifier: GPL-3.0-only
//! QEMU: its arguments, the devices they name, and its end.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use proto::{argv, keys};

use crate::InitError;
use crate::report::Reporter;

/// Where the image has QEMU.
pub const PROGRAM: &str = "/usr/bin/qemu";

/// Reads the arguments that the toolstack wrote for `guest`.
pub fn arguments(reporter: &Reporter, guest: u16) -> Result<Vec<String>, InitError> {
    let vm = reporter.read(&format!("{}/vm", keys::home(guest)))?;
    let directory = keys::dm_argv(&vm);
    let names = reporter.list(&directory)?;
    argv::order(names.iter().map(AsRef::as_ref))
        .into_iter()
        .map(|name| reporter.read(&format!("{directory}/{name}")))
        .collect()
}

/// The disks that these arguments name; QEMU does not wait for a disk that is not there yet.
pub fn disks(arguments: &[String]) -> impl Iterator<Item = &Path> {
    arguments
        .iter()
        .flat_map(|argument| argument.split([',', '=']))
        .filter(|part| part.starts_with("/dev/xvd"))
        .map(Path::new)
}

/// Starts QEMU on the console, without input.
pub fn start(arguments: &[String]) -> Result<Pid, InitError> {
    let child = Command::new(PROGRAM).arg0("qemu").args(arguments).stdin(Stdio::null()).spawn();
    let failed = |source| InitError::Start { program: PROGRAM, source };
    let id = i32::try_from(child.map_err(failed)?.id());
    // The handle may go: PID 1 reaps every child by itself.
    id.map(Pid::from_raw).map_err(|error| failed(std::io::Error::other(error)))
}

/// The value of `stub/qemu-exit` for the end of a process, nothing for what is not its end.
pub fn ended(status: WaitStatus) -> Option<String> {
    match status {
        WaitStatus::Exited(_, code) => Some(format!("exit {code}")),
        WaitStatus::Signaled(_, signal, _) => Some(format!("signal {}", signal as i32)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn disks_are_found_wherever_an_argument_names_them() {
        let arguments = [
            "-drive",
            "file=/dev/xvda,if=ide,index=0,format=raw",
            "-serial",
            "/dev/hvc3",
            "-blockdev",
            "driver=host_device,filename=/dev/xvdb",
        ]
        .map(String::from);
        assert_eq!(disks(&arguments).collect::<Vec<_>>(), [Path::new("/dev/xvda"), Path::new("/dev/xvdb")]);
    }

    #[test]
    fn an_end_is_told_as_number() {
        let pid = Pid::from_raw(7);
        assert_eq!(ended(WaitStatus::Exited(pid, 1)).as_deref(), Some("exit 1"));
        assert_eq!(ended(WaitStatus::Signaled(pid, Signal::SIGSEGV, true)).as_deref(), Some("signal 11"));
        assert_eq!(ended(WaitStatus::StillAlive), None);
    }
}
