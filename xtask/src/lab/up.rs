// SPDX-License-Identifier: GPL-3.0-only
//! A dom0 that stays up for people: its start in the background, its end, and what is kept of it in between.
//!
//! All of it is in `target/lab/up/`: the machine's disks, its monitor's socket, the ssh keys, the logs. The socket is the
//! only proof of life: QEMU is asked, never a process id.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::disks::{Disks, keep};
use super::qmp::{self, Qmp};
use super::root::Root;
use super::{Lab, machine, ssh};
use crate::image::{self, Which};
use crate::{build, packages, step, workspace};

/// What dom0 runs while it is up.
pub(super) const SCRIPT: &str = include_str!("up.sh");

/// The script's word that it is done; before it comes the init's.
const OPEN: &str = "lab: people may come in";

/// What dom0 has said on its second serial port.
const OUTPUT: &str = "dom0-output.log";

/// Which image it was given, and what that was made of.
const WHICH: &str = "image.name";
const IMAGE: &str = "image.key";

/// On an idle machine a boot takes a tenth of this.
const BOOT: Duration = Duration::from_secs(180);

/// What a clean end may take: the daemons' logs are copied out, the disks written.
const END: Duration = Duration::from_secs(60);

/// How often the output of a booting dom0 is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Where the state of the dom0 that is up is kept.
pub(super) fn dir() -> PathBuf {
    workspace().join("target/lab/up")
}

/// Boots `lab` in the background and returns once people may come in. Says so if one is up already.
pub(super) fn up(which: Which, prepare: impl FnOnce() -> Result<Lab>) -> Result<()> {
    packages::ensure(&[packages::LAB, packages::SSH])?;
    let dir = dir();
    let _lock = lock(&dir)?;
    if qmp::lives(&dir) {
        println!("a dom0 is up already; `cargo xtask dom0 update` brings new binaries into it");
        return Ok(());
    }
    if dir.join(qmp::SOCKET).exists() {
        eprintln!("  the machine of the last `dom0 up` is gone: what it left is removed");
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let mut lab = prepare()?;
    fs::create_dir_all(&dir)?;
    let result = start(&mut lab, which, &dir);
    if result.is_err() {
        if let Ok(Some(mut qmp)) = Qmp::connect(&dir) {
            let _ = qmp.quit();
            let _ = qmp.wait_for_end(END);
        }
        clean(&dir);
    }
    result.with_context(|| format!("no dom0 is up; its logs are in {}", dir.display()))?;
    println!("dom0 is up: cargo xtask dom0 exec COMMAND");
    Ok(())
}

/// Brings new binaries into the dom0, and the image if it is another.
pub(super) fn update() -> Result<()> {
    let dir = running()?;
    let which = fs::read_to_string(dir.join(WHICH)).context("the Xen of this dom0 is not known")?;
    let which = Which::named(&which)?;
    let (binaries, image) = (build::release(which.xen)?, image::ensure(which)?);
    ssh::copy(&dir, &binaries, "/usr/local/bin")?;
    println!(
        "new in dom0: {}",
        binaries.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    if fs::read(dir.join(IMAGE)).is_ok_and(|old| fs::read(which.stamp()).is_ok_and(|new| new == old)) {
        return Ok(());
    }
    ssh::copy(&dir, &[image], "/usr/lib/stubctl/new")?;
    let place = format!("/usr/lib/stubctl/image/{}", which.xen.release());
    let swap = format!("rm -rf {place} && mv /usr/lib/stubctl/new/{} {place}", which.name());
    ensure!(ssh::command(&dir).arg(swap).status()?.success(), "the new image could not be put in place");
    fs::copy(which.stamp(), dir.join(IMAGE))?;
    println!("new in dom0: the image");
    Ok(())
}

/// Powers the dom0 off and keeps its logs; nothing to do if none is up.
pub(super) fn down() -> Result<()> {
    let dir = dir();
    let _lock = lock(&dir)?;
    let Some(mut qmp) = Qmp::connect(&dir)? else {
        println!("no dom0 is up");
        clean(&dir);
        return Ok(());
    };
    let step = step::Step::start("dom0 powers off");
    let asked =
        ssh::command(&dir).arg("echo down >/run/lab/down").output().is_ok_and(|out| out.status.success());
    if asked && qmp.wait_for_end(END)? {
        step.done();
    } else {
        step.failed();
        eprintln!("     dom0 does not listen: its machine is switched off");
        qmp.quit()?;
        ensure!(
            qmp.wait_for_end(END)?,
            "the machine does not end; its QEMU was started in {}",
            dir.display()
        );
    }
    keep(&dir.join(Disks::OUT), &dir);
    clean(&dir);
    println!("the logs are in {}", dir.display());
    Ok(())
}

/// The directory of the dom0 that is up, or how to get one.
pub(super) fn running() -> Result<PathBuf> {
    let dir = dir();
    if qmp::lives(&dir) {
        return Ok(dir);
    }
    if dir.join(qmp::SOCKET).exists() {
        bail!("the dom0 that was up is gone; start one with: cargo xtask dom0 up");
    }
    bail!("no dom0 is up; start one with: cargo xtask dom0 up");
}

fn start(lab: &mut Lab, which: Which, dir: &Path) -> Result<()> {
    ssh::make_keys(dir)?;
    lab.put_as(&dir.join(ssh::INSIDE), ".ssh");
    let root = Root::ensure(lab.xen)?;
    let disks = Disks::make(lab, dir, SCRIPT)?;
    fs::remove_dir_all(dir.join(ssh::INSIDE))?;
    fs::write(dir.join(WHICH), which.name())?;
    fs::copy(which.stamp(), dir.join(IMAGE))?;
    let output = dir.join(OUTPUT);
    let mut qemu = machine::qemu(&root, &lab.mem, &disks, dir, &format!("file,path={}", output.display()))?;
    // Nothing but the one port: dom0 reaches neither this machine nor what is behind it.
    qemu.args([
        "-netdev",
        "user,id=lab,restrict=on,hostfwd=tcp:127.0.0.1:0-:22",
        "-device",
        "e1000,netdev=lab",
    ])
    .arg("-no-reboot")
    .args(["-qmp", &format!("unix:{},server=on,wait=off", qmp::SOCKET), "-daemonize"])
    .current_dir(dir)
    .stdin(Stdio::null());
    let step = step::Step::start("Xen and dom0 boot");
    let booted = boot(&mut qemu, dir, &output);
    match booted {
        Ok(()) => step.done(),
        Err(_) => step.failed(),
    }
    booted
}

fn boot(qemu: &mut Command, dir: &Path, output: &Path) -> Result<()> {
    let out = qemu.output().context("cannot start the lab's QEMU")?;
    ensure!(out.status.success(), "QEMU: {}", String::from_utf8_lossy(&out.stderr).trim());
    let port = Qmp::connect(dir)?.context("the lab's QEMU is gone")?.forwarded_port()?;
    ssh::write_config(dir, port)?;
    let until = Instant::now() + BOOT;
    loop {
        let text = fs::read(output).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(OPEN) {
            return Ok(());
        }
        ensure!(qmp::lives(dir), "the machine went down while it booted");
        ensure!(Instant::now() < until, "dom0 was not up within {} s", BOOT.as_secs());
        std::thread::sleep(LOOK);
    }
}

/// Removes what is of no use without the machine; the logs stay.
fn clean(dir: &Path) {
    for name in [qmp::SOCKET, Disks::PUT, Disks::OUT, WHICH, IMAGE].iter().chain(ssh::FILES) {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// One start or end at a time.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.with_extension("lock");
    fs::create_dir_all(dir.parent().unwrap_or(dir))?;
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another `dom0 up` or `dom0 down` is at work"),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the lab's state"),
    }
}
