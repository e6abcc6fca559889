// SPDX-License-Identifier: GPL-3.0-only
//! QEMU: its arguments, the devices they name, and its end.

use std::fs;
use std::path::Path;

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use proto::{argv, keys};

use crate::report::Reporter;
use crate::{InitError, QemuEnd};

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

/// The serial lines that these arguments name.
pub fn serials(arguments: &[String]) -> impl Iterator<Item = &Path> {
    let named = arguments.iter().filter(|argument| argument.starts_with("/dev/hvc"));
    // The first is the console of this domain.
    named.filter(|argument| *argument != "/dev/hvc0").map(Path::new)
}

/// What the kernel says of a process's rights, in one line.
pub fn rights(process: Pid) -> String {
    const TOLD: [&str; 4] = ["Uid", "CapEff", "NoNewPrivs", "Seccomp"];
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let told =
        status.lines().filter_map(|line| line.split_once(":\t")).filter(|(name, _)| TOLD.contains(name));
    let words = told.map(|(name, value)| format!("{name} {}", value.split('\t').next().unwrap_or_default()));
    words.collect::<Vec<_>>().join(", ")
}

/// How a process ended, nothing for what is not its end.
pub fn ended(status: WaitStatus) -> Option<QemuEnd> {
    match status {
        WaitStatus::Exited(_, code) => Some(QemuEnd::Exit(code)),
        WaitStatus::Signaled(_, signal, _) => Some(QemuEnd::Signal(signal as i32)),
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
        assert_eq!(serials(&arguments).collect::<Vec<_>>(), [Path::new("/dev/hvc3")]);
    }

    #[test]
    fn rights_are_told_in_one_line() {
        let rights = rights(Pid::this());
        assert!(
            rights.starts_with("Uid ") && rights.contains(", NoNewPrivs ") && !rights.contains('\t'),
            "{rights}"
        );
    }

    #[test]
    fn an_end_is_told_as_number() {
        let pid = Pid::from_raw(7);
        let told = |status| ended(status).map(|end| end.to_string());
        assert_eq!(told(WaitStatus::Exited(pid, 1)).as_deref(), Some("exit 1"));
        assert_eq!(told(WaitStatus::Signaled(pid, Signal::SIGSEGV, true)).as_deref(), Some("signal 11"));
        assert_eq!(ended(WaitStatus::StillAlive), None);
    }
}
