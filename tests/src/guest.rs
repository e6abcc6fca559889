// SPDX-License-Identifier: GPL-3.0-only
//! The fastest HVM guest there is: a boot sector that says a word, on a disk of its own, with its config.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `stubctl` finds the image in the lab.
pub fn image() -> String {
    format!("/usr/lib/stubctl/image/{}", xen_sys::BUILT_FOR)
}

/// A guest's config, and the files it names.
#[derive(Debug)]
pub struct Guest {
    /// Its name, another for each.
    pub name: String,
    /// What its boot sector says, another for each.
    pub word: String,
    directory: tempfile::TempDir,
    lines: Vec<String>,
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

impl Guest {
    /// A guest with one disk, on an AHCI controller.
    ///
    /// # Panics
    /// When its files cannot be made.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("g{}-{number}", std::process::id());
        let word = format!("word-of-{name}");
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("disk"), boot_sector(&word)).expect("a disk");
        let disk = format!("disk = [ \"{}/disk,raw,xvda,rw\" ]", directory.path().display());
        let lines =
            ["type = \"hvm\"", "memory = 16", "vga = \"none\"", "hdtype = \"ahci\"", "boot = \"c\"", &disk];
        let lines = lines.map(str::to_owned).into();
        Self { name, word, directory, lines }
    }

    /// The same with another line in its config.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        let key = line.split('=').next().unwrap_or_default();
        self.lines.retain(|old| old.split('=').next() != Some(key));
        self.lines.push(line.to_owned());
        self
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The same with a file of its own, and a line of config with the file's path in place of `FILE`.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn with_file(self, name: &str, content: &[u8], line: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::write(&path, content).expect("a file");
        self.with(&line.replace("FILE", &path.display().to_string()))
    }

    /// Writes the config.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn config(&self) -> PathBuf {
        let mut text = String::new();
        let _ = writeln!(text, "name = \"{}\"", self.name);
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        let path = self.directory.path().join("guest.cfg");
        fs::write(&path, text).expect("a config");
        path
    }

    /// Its disk.
    pub fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Whether its boot sector ran: its word is on Xen's console.
    pub fn has_spoken(&self) -> bool {
        xen_console().contains(&self.word)
    }
}

/// Xen's own tool, which the lab has in its PATH for the release that runs.
pub fn xl() -> Command {
    Command::new("xl")
}

/// Xen's own console, with its time stamps.
///
/// # Panics
/// When Xen cannot be asked.
pub fn xen_console() -> String {
    let out = xl().arg("dmesg").output().expect("xl dmesg");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The command line of the installed image's kernel.
///
/// # Panics
/// When there is no image.
pub fn image_cmdline() -> String {
    let text = fs::read(Path::new(&image()).join("manifest.json")).expect("the image's manifest");
    proto::manifest::Manifest::from_json(&text).expect("a valid manifest").cmdline
}

/// A disk whose boot sector writes `word` to port 0xe9, which Xen shows on its console, and halts.
fn boot_sector(word: &str) -> Vec<u8> {
    const CODE: [u8; 19] = [
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
        0xbe, 0x13, 0x7c, // mov si, 0x7c13: behind this code
        0xac, // lodsb
        0x84, 0xc0, // test al, al
        0x74, 0x04, // jz to hlt
        0xe6, 0xe9, // out 0xe9, al
        0xeb, 0xf7, // jmp to lodsb
        0xf4, // hlt
        0xeb, 0xfd, // jmp to hlt
    ];
    let mut disk = CODE.to_vec();
    disk.extend_from_slice(word.as_bytes());
    disk.extend_from_slice(b"\n\0");
    disk.resize(510, 0);
    disk.extend_from_slice(&[0x55, 0xaa]);
    disk.resize(1 << 20, 0);
    disk
}
