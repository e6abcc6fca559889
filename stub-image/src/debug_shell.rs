// SPDX-License-Identifier: GPL-3.0-only
//! A shell on the console, for who looks into a stubdomain that does not do what it should: the root's own.

use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::{ImageError, Root};

/// What makes PID 1 start the shell.
pub const WORD: &str = "stub.debug-shell";
/// What PID 1 starts: dash, bash or busybox, whichever the root has under this name.
const SHELL: &str = "/bin/sh";
/// Where programs are.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/// What is of use in there; those that the root has.
const TOOLS: [&str; 20] = [
    "busybox",
    "cat",
    "chmod",
    "cp",
    "dmesg",
    "grep",
    "head",
    "ip",
    "kill",
    "ls",
    "mount",
    "ps",
    "sleep",
    "strace",
    "tail",
    "umount",
    "xenstore-list",
    "xenstore-ls",
    "xenstore-read",
    "xenstore-write",
];

/// Adds the shell of `root` and its tools to what an image holds.
pub fn add(contents: &mut Contents, root: &Root) -> Result<(), ImageError> {
    let shell = PathBuf::from(SHELL);
    if root.resolve(&shell)?.is_none() {
        return Err(ImageError::Missing {
            what: "a shell",
            searched: vec![shell],
            root: root.directory().to_owned(),
            help: "install dash or busybox into the root",
        });
    }
    contents.programs.push(shell);
    for tool in TOOLS {
        for directory in DIRECTORIES {
            let path = Path::new(directory).join(tool);
            if root.resolve(&path)?.is_some() {
                contents.programs.push(path);
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_roots_own_shell_and_tools_are_taken_and_a_root_without_a_shell_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let mut contents = Contents::default();
        assert!(matches!(add(&mut contents, &root), Err(ImageError::Missing { what: "a shell", .. })));
        for file in ["bin/sh", "bin/ls", "usr/bin/ls", "sbin/ip"] {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        add(&mut contents, &root).unwrap();
        assert_eq!(contents.programs, ["/bin/sh", "/sbin/ip", "/usr/bin/ls"].map(PathBuf::from));
    }
}
