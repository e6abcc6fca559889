// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain's root filesystem: PID 1, QEMU, and the libraries QEMU is linked with.

use std::path::{Path, PathBuf};

use crate::tree::Node;
use crate::{ImageError, Root, Tree, closure, ramdisk};

/// Where PID 1 starts QEMU from: a link, because QEMU's own directory is where it and its loader look for other files.
const QEMU: &str = "/usr/bin/qemu";
/// Where distributions, and Xen's own build, install the QEMU that serves Xen guests.
const QEMU_PLACES: [&str; 4] = [
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/libexec/xen/bin/qemu-system-i386",
    "/usr/lib/xen/bin/qemu-system-i386",
    "/usr/local/lib/xen/bin/qemu-system-i386",
];
/// Mount points, and where a shell-less system looks for temporary files.
const DIRECTORIES: [&str; 7] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/usr/bin", "/var"];
/// QEMU links against the library of one Xen release, whose name tells which.
const XEN_LIBRARY: &str = "libxenctrl.so.";
const QEMU_BANNER: &[u8] = b"QEMU emulator version ";

/// A root filesystem before it is packed, and what was found out about it.
#[derive(Debug)]
pub struct Rootfs {
    /// Its files.
    pub tree: Tree,
    /// The Xen release that QEMU is linked for.
    pub xen: String,
    /// What QEMU calls its version.
    pub qemu: String,
}

/// Collects the root filesystem from `root`, with `init` as PID 1.
pub fn collect(root: &Root, init: &Path) -> Result<Rootfs, ImageError> {
    let mut tree = Tree::default();
    for directory in DIRECTORIES {
        tree.add(directory, Node::Dir)?;
    }
    ramdisk::add_init(&mut tree, init)?;
    let program = find_qemu(root)?;
    let libraries = closure::add(&mut tree, root, &program)?;
    tree.add(QEMU, Node::Link(program.clone()))?;
    let unidentified = |what| ImageError::Unidentified { path: root.outer(&program), what };
    let xen = libraries
        .keys()
        .find_map(|name| name.strip_prefix(XEN_LIBRARY))
        .ok_or_else(|| unidentified("Xen release (it is not linked with libxenctrl)"))?
        .to_owned();
    let bytes = root.read(&program)?.unwrap_or_default();
    let qemu = banner(&bytes).ok_or_else(|| unidentified("version"))?;
    Ok(Rootfs { tree, xen, qemu })
}

fn find_qemu(root: &Root) -> Result<PathBuf, ImageError> {
    for place in QEMU_PLACES {
        if let Some(resolved) = root.resolve(place)? {
            return Ok(resolved.path);
        }
    }
    Err(ImageError::Missing {
        what: "QEMU for Xen",
        searched: QEMU_PLACES.map(PathBuf::from).to_vec(),
        root: root.directory().to_owned(),
        help: "install the package qemu-system-xen into the root",
    })
}

/// The version in the text that `--version` would print; the program itself may not even run on this host.
fn banner(program: &[u8]) -> Option<String> {
    let at = program.windows(QEMU_BANNER.len()).position(|window| window == QEMU_BANNER)?;
    let rest = &program[at + QEMU_BANNER.len()..];
    let end = rest.iter().take(200).position(|byte| matches!(byte, b'\n' | b'\0'))?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_up_to_the_end_of_its_line() {
        let program = b"\0..QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright\0";
        assert_eq!(banner(program).as_deref(), Some("7.2.22 (Debian 1:7.2)"));
        assert_eq!(banner(b"QEMU emulator"), None);
    }
}
