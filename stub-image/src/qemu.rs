// SPDX-License-Identifier: GPL-3.0-only
//! What QEMU opens at run time: its modules, ROMs and keymaps, found by rule.

use std::path::{Path, PathBuf};

use crate::elf::Dynamic;
use crate::{ImageError, Root};

const BANNER: &[u8] = b"QEMU emulator version ";

/// A QEMU that is built in parts calls this to load them.
const LOADS_MODULES: &str = "g_module_open";
const MODULES: [&str; 3] = ["/usr/lib/*/qemu/*.so", "/usr/lib64/qemu*/*.so", "/usr/lib/qemu*/*.so"];

/// Where packages and Xen's own build install data; those count that the program has in itself.
const DATA_DIRECTORIES: [&str; 8] = [
    "/usr/share/qemu",
    "/usr/share/seabios",
    "/usr/lib/ipxe/qemu",
    "/usr/share/qemu-xen/qemu",
    "/usr/share/qemu-xen",
    "/usr/local/share/qemu-xen/qemu",
    "/usr/local/share/qemu",
    "/usr/share/ipxe/qemu",
];

/// Files that devices of a Xen guest need: the firmware is the domain builder's, the rest is QEMU's.
///
/// A card's file is there to boot from the network, a quarter of a megabyte each. Cards whose file is not here (e1000e, pcnet,
/// ne2k_pci …) work with an empty `romfile=`, and with the file if the image is built with it.
const DATA: [&str; 11] = [
    // Video: the firmware runs them from the card.
    "vgabios-stdvga.bin",
    "vgabios-cirrus.bin",
    "vgabios-qxl.bin",
    // Network cards: QEMU does not start without the file of a card it has, unless it is told to.
    "efi-e1000.rom",
    "efi-rtl8139.rom",
    "efi-virtio.rom",
    // A kernel that is booted directly.
    "linuxboot.bin",
    "linuxboot_dma.bin",
    "multiboot.bin",
    "multiboot_dma.bin",
    "kvmvapic.bin",
];
/// What a keyboard's layout is looked up in, for VNC.
const KEYMAPS: &str = "keymaps";

/// The files that QEMU reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Those the root has, and that this QEMU knows of.
    pub found: Vec<PathBuf>,
    /// Those that this QEMU knows of, and that the root does not have.
    pub absent: Vec<&'static str>,
}

/// Looks for the data of the QEMU with these bytes.
pub fn data(root: &Root, program: &[u8]) -> Result<Data, ImageError> {
    let directories: Vec<&str> =
        DATA_DIRECTORIES.into_iter().filter(|directory| mentions(program, directory)).collect();
    let mut data = Data { found: Vec::new(), absent: Vec::new() };
    for name in DATA.into_iter().filter(|name| mentions(program, name)) {
        let mut place = None;
        for directory in &directories {
            let path = Path::new(directory).join(name);
            if place.is_none() && root.resolve(&path)?.is_some() {
                place = Some(path);
            }
        }
        match place {
            Some(path) => data.found.push(path),
            None => data.absent.push(name),
        }
    }
    for directory in &directories {
        data.found.extend(root.glob(&Path::new(directory).join(KEYMAPS).join("*"))?);
    }
    Ok(data)
}

/// The modules of a QEMU that has any.
pub fn modules(root: &Root, program: &Dynamic) -> Result<Vec<PathBuf>, ImageError> {
    let mut found = Vec::new();
    if program.imports.contains(LOADS_MODULES) {
        for pattern in MODULES {
            found.extend(root.glob(Path::new(pattern))?);
        }
    }
    Ok(found)
}

/// The version in the text that `--version` would print; the program itself may not even run on this host.
pub fn version(program: &[u8]) -> Option<String> {
    let at = program.windows(BANNER.len()).position(|window| window == BANNER)?;
    let rest = &program[at + BANNER.len()..];
    let end = rest.iter().take(200).position(|byte| matches!(byte, b'\n' | b'\0'))?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// Whether a text ends so in the program; compilers let one text be the end of another.
fn mentions(program: &[u8], text: &str) -> bool {
    let ended: Vec<u8> = text.bytes().chain([0]).collect();
    memchr::memmem::find(program, &ended).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn the_version_is_read_up_to_the_end_of_its_line() {
        let program = b"\0..QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright\0";
        assert_eq!(version(program).as_deref(), Some("7.2.22 (Debian 1:7.2)"));
        assert_eq!(version(b"QEMU emulator"), None);
    }

    #[test]
    fn data_is_taken_from_where_the_program_looks_and_what_is_absent_is_told() {
        let directory = tempfile::tempdir().unwrap();
        for file in [
            "usr/share/qemu/keymaps/en-us",
            "usr/share/qemu/linuxboot.bin",
            "usr/share/seabios/vgabios-stdvga.bin",
            "usr/local/share/qemu/efi-e1000.rom",
        ] {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let program =
            b"\0/usr/share/qemu\0/usr/share/seabios\0pc/vgabios-stdvga.bin\0linuxboot.bin\0efi-e1000.rom\0";
        let data = data(&Root::new(directory.path()), program).unwrap();
        let found = [
            "/usr/share/seabios/vgabios-stdvga.bin",
            "/usr/share/qemu/linuxboot.bin",
            "/usr/share/qemu/keymaps/en-us",
        ];
        assert_eq!(data.found, found.map(PathBuf::from));
        assert_eq!(data.absent, ["efi-e1000.rom"]);
    }

    #[test]
    fn only_a_program_that_loads_modules_gets_them() {
        let directory = tempfile::tempdir().unwrap();
        let modules_at = directory.path().join("usr/lib/x86_64-linux-gnu/qemu");
        fs::create_dir_all(&modules_at).unwrap();
        fs::write(modules_at.join("ui-spice-core.so"), "").unwrap();
        let root = Root::new(directory.path());
        let with = |imports: &[&str]| {
            let imports: BTreeSet<String> = imports.iter().map(|import| (*import).to_owned()).collect();
            modules(&root, &Dynamic { imports, ..Dynamic::default() }).unwrap().len()
        };
        assert_eq!((with(&["open"]), with(&["open", LOADS_MODULES])), (0, 1));
    }
}
