// SPDX-License-Identifier: GPL-3.0-only
//! Filesystems.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::InitError;

/// A filesystem that the kernel makes up.
#[derive(Debug, Clone, Copy)]
pub struct Pseudo {
    /// Its type, as the kernel names it.
    pub fstype: &'static str,
    /// Its mount point.
    pub on: &'static str,
    /// Its options.
    pub options: &'static str,
}

/// What every PID 1 needs first.
pub const KERNEL: [Pseudo; 3] = [
    Pseudo { fstype: "devtmpfs", on: "/dev", options: "mode=0755" },
    Pseudo { fstype: "proc", on: "/proc", options: "" },
    Pseudo { fstype: "sysfs", on: "/sys", options: "" },
];

/// What programs write to while the root filesystem is read-only.
pub const SCRATCH: [Pseudo; 3] = [
    Pseudo { fstype: "tmpfs", on: "/run", options: "mode=0755,size=4m" },
    Pseudo { fstype: "tmpfs", on: "/tmp", options: "mode=1777,size=4m" },
    Pseudo { fstype: "tmpfs", on: "/var", options: "mode=0755,size=4m" },
];

/// Mounts these; what is mounted already stays as it is.
pub fn pseudo(filesystems: &[Pseudo]) -> Result<(), InitError> {
    for Pseudo { fstype, on, options } in filesystems {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        match mount(Some(*fstype), *on, Some(*fstype), flags, Some(*options)) {
            // The kernel may have mounted devtmpfs by itself.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(source) => {
                return Err(InitError::Mount { what: (*fstype).to_owned(), on: on.into(), source });
            }
        }
    }
    Ok(())
}

/// Makes the root filesystem read-only, if it is a ramdisk that is not.
pub fn seal_root() -> Result<(), InitError> {
    let root = Path::new("/");
    let failed = |source| InitError::Mount {
        what: "the root filesystem, read-only".to_owned(),
        on: root.into(),
        source,
    };
    if statvfs(root).map_err(failed)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let none = None::<&str>;
    mount(none, root, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).map_err(failed)
}

/// Mounts `device`.
pub fn device(device: &Path, on: &Path, fstype: &str, flags: MsFlags) -> Result<(), InitError> {
    mount(Some(device), on, Some(fstype), flags, None::<&str>).map_err(|source| InitError::Mount {
        what: format!("{} ({fstype})", device.display()),
        on: on.to_owned(),
        source,
    })
}
