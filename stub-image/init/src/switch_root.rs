// SPDX-License-Identifier: GPL-3.0-only
//! Leaving the ramdisk for the root filesystem.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use crate::{InitError, mounts};

/// Makes the filesystem mounted at `to` the root, with the kernel's filesystems in it, and frees the ramdisk's memory.
pub(crate) fn switch_root(to: &Path) -> Result<(), InitError> {
    for pseudo in &mounts::KERNEL {
        let on = to.join(pseudo.on.trim_start_matches('/'));
        move_mount(Path::new(pseudo.on), &on).map_err(|source| InitError::Mount {
            what: pseudo.fstype.to_owned(),
            on: on.clone(),
            source,
        })?;
    }
    // Only now: once /dev is moved away, nothing but the ramdisk itself and the new root is left below /.
    empty(Path::new("/")).map_err(|source| InitError::File {
        operation: "emptying the ramdisk below",
        path: "/".into(),
        source,
    })?;
    let change = || {
        chdir(to)?;
        move_mount(Path::new("."), Path::new("/"))?;
        chroot(".")?;
        chdir("/")
    };
    change().map_err(|source| InitError::SwitchRoot { to: to.to_owned(), source })
}

fn move_mount(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
}

/// Deletes what is in `directory`, and nothing on another filesystem that is mounted below it.
fn empty(directory: &Path) -> std::io::Result<()> {
    let device = fs::symlink_metadata(directory)?.dev();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.dev() != device {
            continue;
        }
        if !metadata.is_dir() {
            fs::remove_file(entry.path())?;
        } else {
            empty(&entry.path())?;
            // Fails for the directory above a mount point, which is no loss.
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptying_takes_directories_files_and_links_but_not_what_links_name() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("a/link")).unwrap();
        empty(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }
}
