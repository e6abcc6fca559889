// SPDX-License-Identifier: GPL-3.0-only
//! Ramdisks: PID 1, kernel modules with the list of them, and other files, as a packed cpio archive.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType, trailer};
use flate2::{Compression, GzBuilder};
use proto::ramdisk::{self, Module};

use crate::kmod::{self, Modules};
use crate::tree::{Mode, Node, mode_of};
use crate::{ImageError, Root, Tree, elf, unpack};

/// Where PID 1 is, in the ramdisk and in the root filesystem.
pub const INIT: &str = "/init";
/// The mount points that PID 1 expects in the ramdisk.
const MOUNT_POINTS: [&str; 4] = ["/dev", "/newroot", "/proc", "/sys"];
/// Below `/usr`: `/lib` may be a link in a ramdisk that has a whole system.
const MODULE_DIRECTORY: &str = "/usr/lib/modules";

/// A module that a ramdisk should load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub parameters: String,
}

impl std::str::FromStr for Wanted {
    type Err = std::convert::Infallible;

    /// Reads `NAME [PARAMETER=VALUE …]`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, parameters) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        Ok(Self { name: name.to_owned(), parameters: parameters.trim().to_owned() })
    }
}

/// What a ramdisk holds.
#[derive(Debug, Clone, Default)]
pub struct Ramdisk {
    /// PID 1, a static program on the host.
    pub init: PathBuf,
    /// The modules to load, in order; what they need is added.
    pub modules: Vec<Wanted>,
    /// Other files: on the host, and in the ramdisk.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The root filesystem's type, if there is one to mount, or that there is none.
    pub rootfs: Option<&'static str>,
}

impl Ramdisk {
    /// Collects the files, with the modules of kernel `release` from `root`.
    pub fn tree(&self, root: &Root, release: &str) -> Result<Tree, ImageError> {
        let mut tree = Tree::default();
        for directory in MOUNT_POINTS {
            tree.add(directory, Node::Dir)?;
        }
        add_init(&mut tree, &self.init)?;
        let closure = if self.modules.is_empty() {
            Vec::new()
        } else {
            Modules::read(root, release)?.closure(self.modules.iter().map(|wanted| wanted.name.as_str()))?
        };
        if let Some(rootfs) = self.rootfs {
            tree.add(ramdisk::ROOTFS, Node::File(format!("{rootfs}\n").into_bytes(), Mode::Data))?;
            tree.need(ramdisk::ROOTFS, INIT);
        }
        let mut list = Vec::new();
        for (name, file) in closure {
            let path = format!("{MODULE_DIRECTORY}/{name}.ko");
            let bytes = root
                .read(&file)?
                .ok_or_else(|| ImageError::NoModule { release: release.to_owned(), module: name.clone() })?;
            // PID 1 hands the file to the kernel as it is.
            let unpacked =
                unpack::unpack(&bytes).map_err(ImageError::file("unpacking", root.outer(&file)))?;
            tree.add(&path, Node::File(unpacked.unwrap_or(bytes), Mode::Data))?;
            tree.need(&path, INIT);
            tree.came_from(&path, &file);
            let wanted = self.modules.iter().find(|wanted| kmod::name(&wanted.name) == name);
            let parameters = wanted.map(|wanted| wanted.parameters.clone()).unwrap_or_default();
            list.push(Module { path, parameters });
        }
        tree.add(ramdisk::MODULES, Node::File(ramdisk::encode(&list).into_bytes(), Mode::Data))?;
        tree.need(ramdisk::MODULES, INIT);
        for (from, to) in &self.files {
            let bytes = fs::read(from).map_err(ImageError::file("reading", from))?;
            tree.add(to, Node::File(bytes, mode_of(from)?))?;
        }
        Ok(tree)
    }
}

/// Adds PID 1, which must need no library.
pub(crate) fn add_init(tree: &mut Tree, init: &Path) -> Result<(), ImageError> {
    let bytes = fs::read(init).map_err(ImageError::file("reading", init))?;
    let dynamic = elf::read(init, &bytes)?;
    if dynamic.interpreter.is_some() || !dynamic.needed.is_empty() {
        return Err(ImageError::NotStatic { path: init.to_owned() });
    }
    tree.need(INIT, "the kernel");
    tree.add(INIT, Node::File(bytes, Mode::Program))
}

/// How a ramdisk is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Every kernel that has ramdisks unpacks it.
    Gzip,
    /// Smaller, and unpacked in a fraction of the time, by kernels from 5.9 on: an image's.
    Zstd,
}

/// Packed once, and read and copied at every start.
const ZSTD_LEVEL: i32 = 19;

impl Packing {
    fn pack(self, archive: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                // No name and no time in gzip's header.
                let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
                gzip.write_all(archive)?;
                gzip.finish()
            }
            Self::Zstd => zstd::bulk::compress(archive, ZSTD_LEVEL),
        }
    }
}

/// Packs `tree`: equal trees give equal bytes.
pub fn pack(tree: &Tree, packing: Packing) -> Result<Vec<u8>, ImageError> {
    let mut archive = Vec::new();
    for ((path, node), ino) in tree.nodes().zip(1..) {
        let (kind, mode, bytes) = match node {
            Node::Dir => (ModeFileType::Directory, Mode::Program.bits(), Vec::new()),
            Node::Link(target) => {
                (ModeFileType::Symlink, 0o777, target.as_os_str().as_encoded_bytes().to_vec())
            }
            Node::File(bytes, mode) => (ModeFileType::Regular, mode.bits(), bytes.clone()),
        };
        let size = u32::try_from(bytes.len()).map_err(|_| ImageError::TooLarge { path: path.to_owned() })?;
        let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy();
        let entry = Builder::new(&name).ino(ino).mode(mode).set_mode_file_type(kind);
        let mut writer = entry.write(archive, size);
        let written = writer.write_all(&bytes).and_then(|()| writer.finish());
        archive = written.map_err(ImageError::file("packing", path))?;
    }
    trailer(archive)
        .and_then(|archive| packing.pack(&archive))
        .map_err(ImageError::file("packing", "the ramdisk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.add("/init", Node::File(b"program".to_vec(), Mode::Program)).unwrap();
        tree.add("/etc/odd", Node::File(b"12345".to_vec(), Mode::Data)).unwrap();
        tree.add("/link", Node::Link("etc/odd".into())).unwrap();
        tree
    }

    #[test]
    fn a_packed_tree_reads_back_entry_by_entry() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let archive = unpack::unpack(&pack(&tree(), packing).unwrap()).unwrap().unwrap();
            let mut rest = archive.as_slice();
            let mut entries = Vec::new();
            loop {
                let mut reader = cpio::newc::Reader::new(rest).unwrap();
                let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
                let last = reader.entry().is_trailer();
                let mut bytes = String::new();
                reader.read_to_string(&mut bytes).unwrap();
                rest = reader.finish().unwrap();
                if last {
                    break;
                }
                entries.push(format!("{mode:o} {name} {bytes}"));
            }
            assert_eq!(
                entries,
                ["40755 etc ", "100644 etc/odd 12345", "100755 init program", "120777 link etc/odd"]
            );
        }
    }

    #[test]
    fn equal_trees_give_equal_bytes() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            assert_eq!(pack(&tree(), packing).unwrap(), pack(&tree(), packing).unwrap());
        }
    }

    #[test]
    fn an_init_that_needs_libraries_is_refused() {
        let ramdisk = Ramdisk { init: "/bin/ls".into(), ..Ramdisk::default() };
        assert!(matches!(ramdisk.tree(&Root::new("/"), "none"), Err(ImageError::NotStatic { .. })));
    }

    #[test]
    fn a_module_takes_everything_after_its_name_as_parameters() {
        let wanted: Wanted = " xen-privcmd  unrestricted=1 x=2 ".parse().unwrap();
        assert_eq!(wanted, Wanted { name: "xen-privcmd".into(), parameters: "unrestricted=1 x=2".into() });
    }
}
