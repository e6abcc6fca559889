// SPDX-License-Identifier: GPL-3.0-only
//! Programs of a few instructions in place of QEMU, and the ramdisk that has one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guest::Guest;

/// The image in the lab whose root filesystem is in its ramdisk.
pub const RAMDISK_IMAGE: &str = "/lab/put/image-ramdisk";
/// Where images have QEMU.
const QEMU: &str = "usr/libexec/xen-qemu-system-i386";
/// Where a static program is loaded.
const BASE: u64 = 0x40_0000;
const HEADERS: usize = 64 + 56;

/// What a program does instead of serving a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// An instruction that only a kernel may use: signal 11.
    Segfault,
    /// It asks to trace itself, which no QEMU does: signal 31 by the filter of calls.
    Intrude,
    /// It tells whether its root is read-only: exit 21 if it is, else 20.
    AskRoot,
    /// It stops itself with SIGSTOP.
    Stop,
    /// It waits for ever and says nothing.
    Silence,
}

impl Program {
    fn code(self) -> &'static [u8] {
        match self {
            // hlt
            Self::Segfault => &[0xf4],
            // ptrace(PTRACE_TRACEME); jmp $
            Self::Intrude => &[0xb8, 101, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0xeb, 0xfe],
            // statfs("/", buffer); exit_group(20 + (buffer.f_flags & ST_RDONLY))
            Self::AskRoot => &[
                0x48, 0x81, 0xec, 0x00, 0x01, 0x00, 0x00, 0x66, 0xc7, 0x04, 0x24, 0x2f, 0x00, 0x48, 0x89,
                0xe7, 0x48, 0x8d, 0x74, 0x24, 0x10, 0xb8, 137, 0, 0, 0, 0x0f, 0x05, 0x8b, 0x7c, 0x24, 0x60,
                0x83, 0xe7, 0x01, 0x83, 0xc7, 20, 0xb8, 231, 0, 0, 0, 0x0f, 0x05,
            ],
            // getpid; gettid; tgkill(pid, tid, SIGSTOP); jmp $
            Self::Stop => &[
                0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc7, 0xb8, 186, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc6, 0xba,
                19, 0, 0, 0, 0xb8, 234, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xfe,
            ],
            // poll(NULL, 0, -1), again and again
            Self::Silence => &[
                0xb8, 7, 0, 0, 0, 0x31, 0xff, 0x31, 0xf6, 0xba, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x05, 0xeb,
                0xee,
            ],
        }
    }

    /// A static ELF program for x86-64 (System V ABI).
    fn elf(self) -> Vec<u8> {
        let size = (HEADERS + self.code().len()) as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2_u16, 62].into_iter().flat_map(u16::to_le_bytes));
        file.extend(1_u32.to_le_bytes());
        file.extend([BASE + HEADERS as u64, 64, 0].into_iter().flat_map(u64::to_le_bytes));
        file.extend(0_u32.to_le_bytes());
        file.extend([64_u16, 56, 1, 64, 0, 0].into_iter().flat_map(u16::to_le_bytes));
        // PT_LOAD, read and execute.
        file.extend([1_u32, 5].into_iter().flat_map(u32::to_le_bytes));
        file.extend([0, BASE, BASE, size, size, 4096].into_iter().flat_map(u64::to_le_bytes));
        file.extend_from_slice(self.code());
        file
    }

    /// A guest whose stubdomain has this program in QEMU's place, and its files in `directory`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn guest(self, directory: &Path) -> Guest {
        let ramdisk = self.ramdisk(Path::new(RAMDISK_IMAGE), directory);
        Guest::new()
            .with(&format!("stubdomain_image = \"{RAMDISK_IMAGE}\""))
            .with(&format!("stubdomain_ramdisk = \"{}\"", ramdisk.display()))
    }

    /// A copy of the image in `image`, which is all ramdisk, with this program in QEMU's place; in `directory`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn ramdisk(self, image: &Path, directory: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let tree = directory.join("tree");
        let program = tree.join(QEMU);
        fs::create_dir_all(program.parent().expect("a directory")).expect("made");
        fs::write(&program, self.elf()).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
        let out = directory.join("ramdisk");
        let mut bytes = fs::read(image.join(proto::manifest::RAMDISK)).expect("a ramdisk");
        // The kernel takes one archive after the other, each from a multiple of four on; the last one wins.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let pack = format!("cd {} && echo {QEMU} | cpio --quiet -o -H newc", tree.display());
        let packed = Command::new("sh").args(["-c", &pack]).output().expect("sh");
        assert!(packed.status.success(), "{packed:?}");
        bytes.extend(packed.stdout);
        fs::write(&out, bytes).expect("written");
        fs::remove_dir_all(tree).expect("removed");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_runs_the_programs() {
        use std::os::unix::fs::PermissionsExt as _;
        use std::os::unix::process::ExitStatusExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, Program::Segfault.elf()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Command::new(&path).status().unwrap().signal(), Some(11));
        for (program, state) in [(Program::Stop, "T"), (Program::Silence, "S")] {
            let path = directory.path().join(state);
            fs::write(&path, program.elf()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            let mut child = Command::new(&path).spawn().unwrap();
            let stat = format!("/proc/{}/stat", child.id());
            crate::wait_for("its state", || {
                fs::read_to_string(&stat).unwrap().contains(&format!(") {state} ")).then_some(())
            });
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
