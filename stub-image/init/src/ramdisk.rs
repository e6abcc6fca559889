// SPDX-License-Identifier: GPL-3.0-only
//! PID 1 in the ramdisk: modules, the root filesystem, and on to the second role.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use proto::Stage;

use crate::report::Reporter;
use crate::{InitError, console, device, modules, mounts, root, switch_root};

/// Vdev `xvdz`, as the design fixes it.
const ROOTFS: &str = "/dev/xvdz";
const NEW_ROOT: &str = "/newroot";
const INIT: &str = "/init";

/// Brings up the root filesystem and starts its PID 1; returns only with a failure.
pub fn run(reporter: &mut Reporter) -> Result<Infallible, InitError> {
    mounts::pseudo(&mounts::KERNEL)?;
    // Without a console the failures below still reach xenstore.
    let _ = console::open();
    if let Err(error) = booted(reporter) {
        // The second role cannot do without xenstore; this one can, and what stops it is worth more on the console.
        console::say(&error.chain());
    }
    let loaded = modules::load_listed()?;
    let fstype = filesystem();
    if fstype == proto::ramdisk::ITSELF {
        console::say(&format!("{loaded} modules loaded, the ramdisk stays"));
        return root::run(reporter);
    }
    device::wait(Path::new(ROOTFS), device::DEADLINE)?;
    mounts::device(Path::new(ROOTFS), Path::new(NEW_ROOT), &fstype, MsFlags::MS_RDONLY)?;
    console::say(&format!("{loaded} modules loaded, {ROOTFS} mounted"));
    switch_root::switch_root(Path::new(NEW_ROOT))?;
    let source = Command::new(INIT).exec();
    Err(InitError::File { operation: "executing the root filesystem's", path: PathBuf::from(INIT), source })
}

/// The filesystem that the ramdisk names.
fn filesystem() -> String {
    std::fs::read_to_string(proto::ramdisk::ROOTFS)
        .map_or_else(|_| "erofs".to_owned(), |text| text.trim().to_owned())
}

fn booted(reporter: &mut Reporter) -> Result<(), InitError> {
    reporter.open()?;
    reporter.protocol()?;
    reporter.stage(Stage::Booted)
}
