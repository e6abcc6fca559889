// SPDX-License-Identifier: GPL-3.0-only
//! PID 1 of a Linux guest: proves that the guest's kernel runs, and that its disk keeps what is written to it.
//!
//! Everything it says goes to the console, one line a fact, for a test to wait for. The kernel starts the same program
//! as `/sbin/poweroff` or `/sbin/reboot` when the toolstack asks through `control/shutdown`.
#![forbid(unsafe_code)]

mod disk;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use stub_init::{InitError, console, device, modules, mounts, power};

/// Kernel parameter that names the disk to prove, such as `stubguest.disk=/dev/xvda2`.
const DISK: &str = "stubguest.disk=";
const TICK: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let called = std::env::args().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("poweroff" | "halt") => end(power::off),
        Some("reboot") => end(power::restart),
        _ => serve(),
    }
    // Only after a refused power-off; for PID 1 it makes the kernel panic, which a test sees.
    ExitCode::FAILURE
}

fn end(how: fn()) {
    // The kernel starts helpers without streams.
    let _ = console::open();
    say("asked to end");
    // The kernel ends the domain without unmounting.
    if let Err(error) = nix::mount::umount(disk::MOUNT_POINT) {
        say(&format!("{} was not unmounted: {error}", disk::MOUNT_POINT));
    }
    how();
}

fn serve() {
    // The checks may fail; the guest stays up, so that what is tested on it can still be tested.
    if let Err(error) = start() {
        say(&format!("failed: {error:#}"));
    }
    for tick in 1_u64.. {
        say(&format!("tick {tick}"));
        std::thread::sleep(TICK);
    }
}

fn start() -> anyhow::Result<()> {
    mounts::pseudo(&mounts::KERNEL).map_err(whole)?;
    let _ = console::open();
    fs::create_dir_all("/sbin").context("making /sbin")?;
    for name in ["poweroff", "reboot"] {
        let path = Path::new("/sbin").join(name);
        symlink("/init", &path).with_context(|| format!("linking {}", path.display()))?;
    }
    let kernel = read("/proc/sys/kernel/osrelease")?;
    // Absent on a machine without a hypervisor that tells its name.
    let hypervisor = read("/sys/hypervisor/type").unwrap_or_else(|_| "no hypervisor".to_owned());
    let hypervisor = if hypervisor == "xen" { "Xen" } else { &hypervisor };
    say(&format!("kernel {kernel} on {hypervisor}"));
    let loaded = modules::load_listed().map_err(whole)?;
    say(&format!("{loaded} modules loaded"));
    let cmdline = read("/proc/cmdline")?;
    let Some(node) = disk_parameter(&cmdline) else {
        say("no disk to prove");
        return Ok(());
    };
    device::wait(&node, device::DEADLINE * 4).map_err(whole)?;
    let proof = disk::prove(&node).with_context(|| format!("disk {}", node.display()))?;
    let line = format!("kernel {kernel} on {hypervisor}, disk {}", node.display());
    say(&format!("{line}: wrote and read back {} bytes: ok", proof.bytes));
    say(&format!("boot {}", proof.boot));
    Ok(())
}

fn disk_parameter(cmdline: &str) -> Option<PathBuf> {
    cmdline.split_whitespace().find_map(|word| word.strip_prefix(DISK)).map(PathBuf::from)
}

fn read(path: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(text.trim().to_owned())
}

fn whole(error: InitError) -> anyhow::Error {
    anyhow::Error::new(error)
}

fn say(text: &str) {
    console::line("guest-init", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_taken_from_its_own_parameter_only() {
        let cmdline = "root=/dev/xvda1 xstubguest.disk=/dev/no stubguest.disk=/dev/xvda2 quiet\n";
        assert_eq!(disk_parameter(cmdline), Some(PathBuf::from("/dev/xvda2")));
        assert_eq!(disk_parameter("quiet"), None);
    }
}
