// SPDX-License-Identifier: GPL-3.0-only
//! What goes wrong, and how.

use std::any::Any;
use std::fs;
use std::path::Path;

use stub_tests::guest::Guest;
use stub_tests::host::{Away, Full};
use stub_tests::kernel::crashing_kernel;
use stub_tests::program::{Program, RAMDISK_IMAGE};

/// What goes wrong, and by which words a message names it.
pub(super) struct Fault {
    pub(super) what: &'static str,
    /// What becomes of the stubdomain: a toolstack that gives up ends it as well.
    pub(super) ends: Ends,
    pub(super) names: &'static [&'static str],
    pub(super) change: fn(Guest, &Path) -> Guest,
    /// What the host lacks meanwhile.
    pub(super) host: fn() -> Option<Box<dyn Any>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// It dies of the fault during the create.
    Dies,
    /// It dies when its guest runs, of a key that its kernel is told.
    DiesLater,
    /// It lives, or never was.
    Not,
    /// It lives and its guest runs: the fault harms nobody.
    Harmless,
    /// It dies, and upstream's toolstack has nothing that could fail like that.
    OursDies,
}

impl Fault {
    /// Whether the stubdomain dies of it.
    pub(super) fn dies(&self) -> bool {
        matches!(self.ends, Ends::Dies | Ends::DiesLater | Ends::OursDies)
    }
}

/// A fault of the pair alone.
const FAULT: Fault =
    Fault { what: "", ends: Ends::Dies, names: &[], change: |guest, _| guest, host: || None };

pub(super) const FAULTS: [Fault; 15] = [
    Fault {
        what: "kernel dies at its first instruction",
        names: &["died", "crash"],
        change: |guest, _| guest.with_file("kernel", &crashing_kernel(), "stubdomain_kernel = \"FILE\""),
        ..FAULT
    },
    Fault {
        what: "kernel panics",
        names: &["panic"],
        change: |guest, _| with_cmdline(guest, "rdinit=/nothing"),
        ..FAULT
    },
    Fault {
        what: "kernel panics under a running guest",
        ends: Ends::DiesLater,
        names: &["stubdom died"],
        change: |guest, _| with_cmdline(guest, "sysrq_always_enabled"),
        ..FAULT
    },
    Fault {
        what: "root filesystem is cut short",
        ends: Ends::OursDies,
        names: &["/dev/xvdz"],
        change: |_, directory| {
            let rootfs = directory.join("rootfs");
            fs::write(&rootfs, [0; 4096]).expect("written");
            Guest::new().with(&format!("stubdomain_rootfs = \"{}\"", rootfs.display()))
        },
        ..FAULT
    },
    Fault {
        what: "PID 1 reports a failure",
        names: &["xen_gntdev", "xen-gntdev"],
        change: |guest, _| with_cmdline(guest, "module_blacklist=xen_gntdev"),
        ..FAULT
    },
    Fault {
        what: "a frontend never connects",
        names: &["xen_blkfront", "xen-blkfront"],
        change: |guest, _| with_cmdline(guest, "module_blacklist=xen_blkfront"),
        ..FAULT
    },
    Fault {
        what: "QEMU refuses an argument",
        names: &["-nonsense"],
        change: |guest, _| guest.with("device_model_args_hvm = [ \"-nonsense\" ]"),
        ..FAULT
    },
    Fault {
        what: "QEMU segfaults",
        names: &["signal 11", "segfault", "SIGSEGV"],
        change: |guest, directory| with(guest, Program::Segfault, directory),
        ..FAULT
    },
    Fault {
        what: "QEMU says nothing",
        ends: Ends::Not,
        names: &["QEMU"],
        change: |guest, directory| with(guest, Program::Silence, directory),
        ..FAULT
    },
    Fault {
        what: "QEMU is stopped",
        ends: Ends::Not,
        names: &["QEMU"],
        change: |guest, directory| with(guest, Program::Stop, directory),
        ..FAULT
    },
    Fault {
        what: "no memory for the guest",
        ends: Ends::Not,
        names: &["memory"],
        change: |guest, _| guest.with("memory = 65536"),
        ..FAULT
    },
    Fault {
        what: "a disk whose file is missing",
        ends: Ends::Not,
        names: &["/nowhere"],
        change: |guest, _| guest.with("disk = [ \"/nowhere,raw,xvda,rw\" ]"),
        ..FAULT
    },
    Fault {
        what: "a disk that is no disk",
        ends: Ends::Not,
        names: &["/dev/null"],
        change: |guest, _| guest.with("disk = [ \"/dev/null,raw,xvda,rw\" ]"),
        ..FAULT
    },
    Fault {
        what: "no /dev/loop-control",
        ends: Ends::Not,
        names: &["/dev/loop-control"],
        host: || Some(Box::new(Away::hide("/dev/loop-control"))),
        ..FAULT
    },
    Fault {
        what: "no room for logs",
        ends: Ends::Harmless,
        host: || Some(Box::new(Full::over("/var/log/xen"))),
        ..FAULT
    },
];

fn with_cmdline(guest: Guest, more: &str) -> Guest {
    guest.with(&format!("stubdomain_cmdline = \"{} {more}\"", cmdline()))
}

fn with(guest: Guest, program: Program, directory: &Path) -> Guest {
    let ramdisk = program.ramdisk(Path::new(RAMDISK_IMAGE), directory);
    guest.with(&format!("stubdomain_ramdisk = \"{}\"", ramdisk.display()))
}

fn manifest() -> proto::manifest::Manifest {
    let text = fs::read(Path::new(RAMDISK_IMAGE).join(proto::manifest::FILE)).expect("the image");
    proto::manifest::Manifest::from_json(&text).expect("a manifest")
}

fn cmdline() -> String {
    manifest().cmdline
}

/// A guest that either toolstack can start.
pub(super) fn guest() -> Guest {
    Guest::new()
        // xl's own builder has too little room for a guest of 16.
        .with("memory = 64")
        .with("device_model_version = \"qemu-xen\"")
        .with("device_model_stubdomain_override = 1")
        .with(&format!("stubdomain_kernel = \"{RAMDISK_IMAGE}/kernel\""))
        .with(&format!("stubdomain_ramdisk = \"{RAMDISK_IMAGE}/ramdisk\""))
        .with(&format!("stubdomain_cmdline = \"{}\"", cmdline()))
        .with(&format!("stubdomain_memory = {}", manifest().min_memory_mib))
        .with("vnc = 0")
}
