// SPDX-License-Identifier: GPL-3.0-only
//! One boot of the lab: what goes in, the script's output as it comes, its exit status, the logs that stay.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Xen;
use super::root::{Root, set_executable};
use crate::{step, workspace};

const INIT: &str = include_str!("init.sh");

/// Seconds that a script may take unless it is told otherwise.
pub(crate) const LIMIT: u64 = 1800;

/// What boot, log keeping and power-off may take beside the script.
const OVERHEAD: Duration = Duration::from_secs(240);

/// The line that carries the script's exit status.
const EXIT: &str = "lab-exit ";

/// A dom0 to be booted once.
pub(crate) struct Lab {
    name: String,
    xen: Xen,
    mem: String,
    deadline: u64,
    bin: Vec<PathBuf>,
    image: Option<PathBuf>,
    put: Vec<(PathBuf, String)>,
}

impl Lab {
    /// A lab whose logs will be in `target/lab/<name>`.
    pub(crate) fn new(name: &str, xen: Xen, mem: &str, deadline: u64) -> Self {
        let (bin, put) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), xen, mem: mem.to_owned(), deadline, bin, image: None, put }
    }

    /// Puts binaries into dom0's PATH and the image where `stubctl` looks for it.
    pub(crate) fn install(&mut self, bin: &[PathBuf], image: &Path) {
        self.bin.extend_from_slice(bin);
        self.image = Some(image.to_owned());
    }

    /// Puts a file or directory into dom0 as `/lab/put/<its name>`.
    pub(crate) fn put(&mut self, path: &Path) -> Result<()> {
        let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
        let name = name.to_string_lossy().into_owned();
        self.put_as(path, &name);
        Ok(())
    }

    /// Puts a file or directory into dom0 as `/lab/put/<name>`.
    pub(crate) fn put_as(&mut self, path: &Path, name: &str) {
        self.put.push((path.to_owned(), name.to_owned()));
    }

    /// Where this lab's logs are kept.
    pub(crate) fn logs(&self) -> PathBuf {
        workspace().join("target/lab").join(&self.name)
    }

    /// Boots, runs `script`, gives each line of its output to `line`, and returns its exit status.
    pub(crate) fn run(&self, script: &str, mut line: impl FnMut(&str)) -> Result<u8> {
        let root = Root::ensure(self.xen)?;
        let work = tempfile::tempdir()?;
        let disks = self.disks(work.path(), script)?;
        let logs = self.logs();
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        let mut machine =
            Machine(self.qemu(&root, &disks, &logs)?.spawn().context("cannot start the lab's QEMU")?);
        let result = self.follow(&mut machine, &mut line);
        drop(machine);
        keep(&disks.out, &logs);
        result.with_context(|| format!("the lab's logs are in {}", logs.display()))
    }

    fn disks(&self, work: &Path, script: &str) -> Result<Disks> {
        let tree = work.join("put");
        fs::create_dir_all(tree.join("put"))?;
        fs::create_dir_all(tree.join("bin"))?;
        fs::write(tree.join("init"), INIT)?;
        set_executable(&tree.join("init"))?;
        fs::write(tree.join("script"), script)?;
        let env = format!(
            "LAB_XEN={}\nLAB_XENSTORED=xenstored\nLAB_DEADLINE={}\n",
            self.xen.release(),
            self.deadline
        );
        fs::write(tree.join("env"), env)?;
        for file in &self.bin {
            copy(file, &tree.join("bin"))?;
        }
        if let Some(image) = &self.image {
            copy(image, &tree.join("image"))?;
        }
        for (path, name) in &self.put {
            copy(path, &tree.join("put").join(name))?;
        }
        let disks = Disks { put: work.join("put.disk"), out: work.join("out.disk") };
        // Room for what tests write beside what is put in.
        ext4(&disks.put, "lab-put", &tree, size_mib(&tree)? * 5 / 4 + 512)?;
        fs::remove_dir_all(&tree)?;
        let empty = work.join("empty");
        fs::create_dir(&empty)?;
        ext4(&disks.out, "lab-out", &empty, 256)?;
        Ok(disks)
    }

    fn qemu(&self, root: &Root, disks: &Disks, logs: &Path) -> Result<Command> {
        let drive = |id: &str, file: &Path, more: &str| {
            format!("file={},if=none,id={id},format=raw,cache=unsafe{more}", file.display())
        };
        // Xen stamps its lines with the time since boot: those stamps are the evidence for "at once".
        let xen = "dom0_mem=1G,max:1G console=com1 com1=115200 loglvl=all guest_loglvl=all noreboot sched=credit \
                   console_timestamps=boot";
        // A comma would end the module in -initrd's list.
        let modules = format!(
            "{} root=LABEL=lab-root rw console=hvc0 init=/lab-init loglevel=6,{}",
            root.kernel()?.display(),
            root.initrd()?.display()
        );
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64,+svm,+npt", "-smp", "2"])
            .args(["-m", &self.mem, "-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"])
            .args(["-nodefaults", "-serial"])
            .arg(format!("file:{}", logs.join("xen-console.log").display()))
            .args(["-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out"])
            .arg("-kernel")
            .arg(root.xen())
            .args(["-append", xen, "-initrd", &modules, "-device", "ahci,id=ahci"]);
        for (index, drive) in [
            drive("root", &root.disk(), ",snapshot=on"),
            drive("put", &disks.put, ""),
            drive("out", &disks.out, ""),
        ]
        .iter()
        .enumerate()
        {
            let id = ["root", "put", "out"][index];
            qemu.args(["-drive", drive, "-device", &format!("ide-hd,drive={id},bus=ahci.{index}")]);
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(qemu)
    }

    fn follow(&self, machine: &mut Machine, line: &mut dyn FnMut(&str)) -> Result<u8> {
        let (sender, lines) = mpsc::channel();
        let stdout = machine.0.stdout.take().context("no output from the lab's QEMU")?;
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&text).trim_end_matches('\r').to_owned()).is_err() {
                    return;
                }
            }
        });
        let until = Instant::now() + Duration::from_secs(self.deadline) + OVERHEAD;
        let booting = step::Step::start("Xen and dom0 boot");
        let mut booting = Some(booting);
        let mut status = None;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(text) => {
                    if let Some(step) = booting.take() {
                        step.done();
                        continue;
                    }
                    match text.strip_prefix(EXIT).map(str::parse) {
                        Some(Ok(code)) => status = Some(code),
                        _ => line(&text),
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if status.is_some() => break,
                Err(RecvTimeoutError::Timeout) => bail!("the lab did not end by itself"),
            }
        }
        status.context("the lab's machine went down before the script ended")
    }
}

struct Disks {
    put: PathBuf,
    out: PathBuf,
}

/// The emulated machine's process; dropping it ends it.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes an ext4 disk image from a directory without mounting anything.
pub(super) fn ext4(disk: &Path, label: &str, tree: &Path, mib: u64) -> Result<()> {
    let out = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-L", label, "-d"])
        .arg(tree)
        .arg(disk)
        .arg(format!("{mib}M"))
        .output()
        .context("cannot run mke2fs")?;
    if !out.status.success() {
        bail!("mke2fs {}: {}", disk.display(), String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

fn size_mib(tree: &Path) -> Result<u64> {
    let out = Command::new("du").args(["-sm", "--apparent-size"]).arg(tree).output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).context("du gave no number")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let out = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).output()?;
    if !out.status.success() {
        bail!("cannot put {} into the lab: {}", from.display(), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// Copies the logs out of the out-disk; a lab that was ended by force may have left none.
fn keep(disk: &Path, logs: &Path) {
    let _ = Command::new("debugfs")
        .arg("-R")
        .arg(format!("rdump / {}", logs.display()))
        .arg(disk)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = fs::remove_dir(logs.join("lost+found"));
}
