// SPDX-License-Identifier: GPL-3.0-only
//! The emulated machine: QEMU's command line for Xen, dom0's kernel and the lab's three disks.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::disks::Disks;
use super::root::Root;

/// The machine, not started yet. `output` is the character device behind dom0's second serial port, where the init and its
/// script talk; Xen and dom0's kernel talk on the first, into a file.
pub(super) fn qemu(root: &Root, mem: &str, disks: &Disks, logs: &Path, output: &str) -> Result<Command> {
    let drive = |id: &str, file: &Path, more: &str| {
        format!("file={},if=none,id={id},format=raw,cache=unsafe{more}", file.display())
    };
    // Xen stamps its lines with the time since boot: those stamps are the evidence for "at once".
    let xen = "dom0_mem=1G,max:1G console=com1 com1=115200 loglvl=all guest_loglvl=all noreboot sched=credit \
               console_timestamps=boot";
    // A comma would end the module in -initrd's list.
    let modules = format!(
        "{} root=LABEL=lab-root rw console=hvc0 rdinit=/lab-ramdisk loglevel=6,{}",
        root.kernel()?.display(),
        root.initrd()?.display()
    );
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64,+svm,+npt", "-smp", "2"])
        .args(["-m", mem, "-display", "none", "-monitor", "none", "-nic", "none"])
        .args(["-nodefaults", "-serial"])
        .arg(format!("file:{}", logs.join("xen-console.log").display()))
        .args(["-chardev", &format!("{output},id=out"), "-serial", "chardev:out"])
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
    Ok(qemu)
}
