// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain's root filesystem: PID 1, QEMU, the libraries QEMU needs, and the files it reads.

use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::ramdisk::INIT;
use crate::tree::{Mode, Node};
use crate::{ImageError, Root, Tree, elf, qemu, ramdisk};

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

/// A root filesystem before it is packed, and what was found out about it.
#[derive(Debug)]
pub struct Rootfs {
    /// Its files.
    pub tree: Tree,
    /// The Xen release that QEMU is linked for.
    pub xen: String,
    /// What QEMU calls its version.
    pub qemu: String,
    /// Files that QEMU reads for some devices, and that the root does not have.
    pub absent: Vec<&'static str>,
}

/// Collects the root filesystem from `root`, with `init` as PID 1.
pub fn collect(root: &Root, init: &Path, contents: &Contents) -> Result<Rootfs, ImageError> {
    let program = find_qemu(root)?;
    let outer = root.outer(&program);
    let bytes = root.read(&program)?.unwrap_or_default();
    let dynamic = elf::read(&outer, &bytes)?;
    let modules = qemu::modules(root, &dynamic)?;
    let mut programs = vec![program.clone()];
    programs.extend(modules);
    let mut tree = contents.collect(root, &programs, INIT)?;
    for directory in DIRECTORIES {
        tree.add(directory, Node::Dir)?;
        tree.need(directory, INIT);
    }
    ramdisk::add_init(&mut tree, init)?;
    tree.add(QEMU, Node::Link(program.clone()))?;
    tree.need(QEMU, INIT);
    let by = program.to_string_lossy();
    let data = qemu::data(root, &bytes)?;
    for path in &data.found {
        tree.add_from(root, path, Mode::Data, &by)?;
    }
    let unidentified = |what| ImageError::Unidentified { path: outer.clone(), what };
    let xen = xen(&tree).ok_or_else(|| unidentified("Xen release (it is not linked with libxenctrl)"))?;
    let qemu = qemu::version(&bytes).ok_or_else(|| unidentified("version"))?;
    Ok(Rootfs { tree, xen, qemu, absent: data.absent })
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

/// The release in the library's name; its file may have a longer one.
fn xen(tree: &Tree) -> Option<String> {
    let names = tree.nodes().filter_map(|(path, _)| path.file_name()?.to_str()?.strip_prefix(XEN_LIBRARY));
    names.min_by_key(|release| release.len()).map(str::to_owned)
}
