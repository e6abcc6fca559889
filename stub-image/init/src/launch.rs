// SPDX-License-Identifier: GPL-3.0-only
//! Between PID 1 and QEMU: a process that gives up what QEMU does not need, then becomes QEMU.
//!
//! PID 1 starts its own program again under the name [`NAME`]. That process has QEMU's output as its own, so a
//! failure here is told like QEMU's last words.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, chown, pipe2, setgid, setgroups, setuid};

use crate::options::Options;
use crate::output::Output;
use crate::{InitError, filter};

/// argv\[0\] of the launcher, on which the program's main function knows its role.
pub const NAME: &str = "stub-launch";
/// The exit status of a launcher that could not become QEMU, as shells have it.
pub const FAILED: u8 = 127;

/// Where the image has QEMU.
const PROGRAM: &str = "/usr/bin/qemu";
/// This program.
const SELF: &str = "/proc/self/exe";
/// QEMU's user and group, which own nothing but QEMU's devices.
pub const USER: u32 = 107;
/// How QEMU reaches Xen and xenstore. Older kernels lack the node for hypercall buffers.
const XEN: [&str; 5] =
    ["/dev/xen/privcmd", "/dev/xen/hypercall", "/dev/xen/evtchn", "/dev/xen/gntdev", "/dev/xen/xenbus"];
/// The word that makes the launcher's filter log instead of refuse.
const LOG: &str = "log";
const REFUSE: &str = "refuse";

/// No core files, and bounds above what QEMU was seen to use. Its address space has none: it maps the guest's memory.
const LIMITS: [(Resource, u64); 4] = [
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_NOFILE, 4096),
    // I/O threads: QEMU's pool has up to 64.
    (Resource::RLIMIT_NPROC, 256),
    // Buffers for hypercalls are locked.
    (Resource::RLIMIT_MEMLOCK, 16 << 20),
];

/// Makes QEMU's user the owner of the devices it needs: Xen's, and those its arguments name.
pub fn hand_over<'a>(devices: impl Iterator<Item = &'a Path>) -> Result<(), InitError> {
    let xen = XEN.into_iter().map(Path::new).filter(|path| path.exists());
    for path in xen.chain(devices) {
        chown(path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).map_err(|errno| {
            InitError::File {
                operation: "giving QEMU's user the device",
                path: path.to_owned(),
                source: errno.into(),
            }
        })?;
    }
    Ok(())
}

/// Starts QEMU without input, with `inherited` kept open under its number; gives its output as well.
pub fn start(
    arguments: &[String],
    inherited: Option<BorrowedFd<'_>>,
    options: Options,
) -> Result<(Pid, Output), InitError> {
    let failed = |source: io::Error| InitError::Start { program: PROGRAM, source };
    let (reader, writer) = pipe().map_err(|errno| failed(errno.into()))?;
    let stream = |fd: &OwnedFd| fd.try_clone().map(Stdio::from);
    if let Some(fd) = inherited {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    }
    let child = Command::new(SELF)
        .arg0(NAME)
        .arg(if options.log_refused { LOG } else { REFUSE })
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(stream(&writer).map_err(failed)?)
        .stderr(stream(&writer).map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    // The handle may go: PID 1 reaps every child by itself.
    let pid = i32::try_from(child.id()).map_err(|error| failed(io::Error::other(error)))?;
    Ok((Pid::from_raw(pid), Output::new(reader)))
}

/// A pipe of which only the reading end does not block.
fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// The launcher's part: `arguments` are its own word and QEMU's. Returns only with a failure.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> io::Result<Infallible> {
    let log_refused = arguments.next().is_some_and(|word| word == LOG);
    give_up_rights()?;
    filter::install(log_refused)?;
    Err(Command::new(PROGRAM).arg0("qemu").args(arguments).env_clear().exec())
}

fn give_up_rights() -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    for (resource, limit) in LIMITS {
        setrlimit(resource, limit, limit)?;
    }
    // The group first: a user who is not root may not.
    setgroups(&[])?;
    setgid(Gid::from_raw(USER))?;
    setuid(Uid::from_raw(USER))?;
    prctl::set_no_new_privs()?;
    Ok(())
}
