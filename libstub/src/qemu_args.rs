// SPDX-License-Identifier: GPL-3.0-only
//! QEMU's arguments in the stubdomain, from a config. Pure.
//!
//! Nothing is left to QEMU's defaults (XSA-19, XSA-119) and no format is guessed from a disk's content (XSA-48).

use proto::argv::{self, ArgvError};
use proto::manifest::Arguments;
use xen_sys::DomId;

use crate::config::{DiskController, GuestConfig, Vdev};

/// The arguments after argv\[0\], which is the image's business.
pub(crate) fn qemu_args(config: &GuestConfig, guest: DomId) -> Vec<String> {
    let mut args = Args::default();
    args.pair("-xen-domid", guest);
    // The toolstack ends or rebuilds the pair; QEMU must still be there to be asked meanwhile.
    args.one("-no-shutdown").one("-nodefaults").one("-no-user-config");
    args.pair("-name", &config.name);
    args.pair("-machine", "xenfv,suppress-vmdesc=on").pair("-m", config.max_memory().get() / 1024);
    if config.vcpus > 1 {
        args.pair("-smp", format!("{0},maxcpus={0}", config.vcpus));
    }
    args.pair("-display", "none").pair("-vga", "none").pair("-net", "none");
    args.pair("-boot", format!("order={}", config.boot));
    disks(config, &mut args);
    args.0.extend(config.stubdom.qemu_args.iter().cloned());
    args.0
}

/// The arguments as nodes, below the guest's `vm` directory, for an image that looks for them in this way.
pub(crate) fn nodes(args: &[String], way: Arguments) -> Result<QemuArgs, ArgvError> {
    Ok(match way {
        Arguments::DmArgv => {
            let nodes = argv::encode(args)?.into_iter().map(|(name, value)| (name, value.to_owned()));
            QemuArgs::Each(nodes.collect())
        }
        Arguments::Dmargs => QemuArgs::Joined(argv::join(args)?),
    })
}

/// QEMU's arguments as xenstore holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QemuArgs {
    /// A node for each, in `dm-argv`.
    Each(Vec<(String, String)>),
    /// One node, `dmargs`.
    Joined(String),
}

fn disks(config: &GuestConfig, args: &mut Args) {
    if config.controller == DiskController::Ahci && !config.disks.is_empty() {
        args.pair("-device", "ahci,id=ahci0");
    }
    for (index, vdev) in config.disks.iter().enumerate().filter_map(|(i, _)| Some((i, Vdev::in_stubdom(i)?)))
    {
        args.pair(
            "-drive",
            format!("file=/dev/{vdev},if=none,id=disk{index},format=host_device,cache=writeback"),
        );
        let bus = match config.controller {
            DiskController::Ahci => format!("bus=ahci0.{index}"),
            DiskController::Ide => format!("bus=ide.{},unit={}", index / 2, index % 2),
        };
        args.pair("-device", format!("ide-hd,drive=disk{index},{bus}"));
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn one(&mut self, arg: &str) -> &mut Self {
        self.0.push(arg.to_owned());
        self
    }

    fn pair(&mut self, option: &str, value: impl ToString) -> &mut Self {
        self.one(option);
        self.0.push(value.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{Disk, DiskMode};

    fn config(controller: &str, disks: usize) -> GuestConfig {
        let text = format!("name = \"g\"\nmemory = 64\nboot = \"c\"\nvcpus = 2\nhdtype = \"{controller}\"\n");
        let mut config = GuestConfig::parse(&text, Path::new("g.cfg")).expect("valid");
        config.disks = ["xvda", "xvdf"][..disks]
            .iter()
            .map(|vdev| Disk {
                target: PathBuf::from("/d"),
                vdev: Vdev::parse(vdev).expect("a vdev"),
                mode: DiskMode::ReadWrite,
            })
            .collect();
        config
    }

    #[test]
    fn the_whole_command_line_is_as_reviewed() {
        let got = qemu_args(&config("ahci", 2), DomId::new(7)).join(" ");
        let want = "-xen-domid 7 -no-shutdown -nodefaults -no-user-config -name g \
                    -machine xenfv,suppress-vmdesc=on -m 64 -smp 2,maxcpus=2 -display none -vga none -net none \
                    -boot order=c -device ahci,id=ahci0 \
                    -drive file=/dev/xvda,if=none,id=disk0,format=host_device,cache=writeback \
                    -device ide-hd,drive=disk0,bus=ahci0.0 \
                    -drive file=/dev/xvdb,if=none,id=disk1,format=host_device,cache=writeback \
                    -device ide-hd,drive=disk1,bus=ahci0.1";
        assert_eq!(got, want);
    }

    #[test]
    fn qemu_knows_of_all_the_memory_that_the_guest_can_grow_to() {
        let config = GuestConfig { max_memory: Some(xen_sys::Kib::from_mib(96)), ..config("ide", 0) };
        assert!(qemu_args(&config, DomId::new(7)).join(" ").contains("-m 96 "));
    }

    #[test]
    fn ide_disks_fill_both_units_of_a_bus() {
        let got = qemu_args(&config("ide", 2), DomId::new(7)).join(" ");
        assert!(got.contains("drive=disk0,bus=ide.0,unit=0") && got.contains("drive=disk1,bus=ide.0,unit=1"));
        assert!(!got.contains("ahci"));
    }
}
