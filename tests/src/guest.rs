// SPDX-License-Identifier: GPL-3.0-only
//! The fastest HVM guest there is: a boot sector that says a word, on a disk of its own, with its config.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_sys::ShutdownReason;

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
        fs::write(directory.path().join("disk"), disk(&word, None)).expect("a disk");
        let line = format!("disk = [ \"{}/disk,raw,xvda,rw\" ]", directory.path().display());
        let lines =
            ["type = \"hvm\"", "memory = 16", "vga = \"none\"", "hdtype = \"ahci\"", "boot = \"c\"", &line];
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

    /// The same, but it ends after its word.
    ///
    /// # Panics
    /// When its disk cannot be written.
    #[must_use]
    pub fn ending(self, ending: Ending) -> Self {
        fs::write(self.disk(), disk(&self.word, Some((ending, AT_ONCE)))).expect("a disk");
        self
    }

    /// The same, but it ends ten seconds after its word: time to [`stay`](Self::stay) up from its next boot on.
    ///
    /// # Panics
    /// When its disk cannot be written.
    #[must_use]
    pub fn ending_later(self, ending: Ending) -> Self {
        fs::write(self.disk(), disk(&self.word, Some((ending, LATER)))).expect("a disk");
        self
    }

    /// From its next boot on it does not end any more; it must have spoken in this one.
    ///
    /// # Panics
    /// When its disk cannot be written.
    pub fn stay(&self) {
        use std::os::unix::fs::FileExt as _;
        // Not by itself: what a boot sector writes is in its stubdomain's cache when that is destroyed.
        let disk = fs::File::options().write(true).open(self.disk()).expect("a disk");
        disk.write_all_at(&[0], ENDS as u64).expect("a disk");
        disk.sync_all().expect("a disk");
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

    /// Waits until its boot sector ran.
    ///
    /// # Panics
    /// When it does not, or a guest stopped meanwhile: it will not come to it then.
    pub fn await_word(&self) {
        let lost = || {
            ["Triple fault", "HVMLoader crashed", "all CPUs offline"]
                .map(|word| xen_log().matches(word).count())
        };
        let before = lost();
        crate::wait_for(&format!("the word of {}", self.name), || {
            assert_eq!(
                lost(),
                before,
                "a guest stopped: triple faults, crashes of its loader, vcpus that halted"
            );
            (self.times_spoken() > 0).then_some(())
        });
    }

    /// How often its boot sector ran.
    pub fn times_spoken(&self) -> usize {
        xen_log().lines().filter(|line| line.trim_end().ends_with(&self.word)).count()
    }
}

/// Xen's own tool, which the lab has in its PATH for the release that runs.
pub fn xl() -> Command {
    Command::new("xl")
}

/// What Xen and the guests said since Xen's boot: its console keeps little, its log all.
fn xen_log() -> String {
    let log = fs::read("/var/log/xen/console/hypervisor.log").unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
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

/// How a guest ends after its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It asks Xen to end it, for this reason.
    By(ShutdownReason),
    /// It resets its machine, as an operating system does that reboots: that is QEMU's to see.
    ByReset,
}

/// Where the boot sector has its data (`guest/boot.S`).
const ENDS: usize = 0x70;
const REASON: usize = 0x74;
const WORD: usize = 0x78;

/// When it ends.
const AT_ONCE: u8 = 1;
const LATER: u8 = 2;

/// What `build.rs` made of `guest/boot.S`.
const BOOT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/boot.bin"));

/// A disk whose boot sector writes `word` to port 0xe9, which Xen shows on its console, and halts or ends.
fn disk(word: &str, ending: Option<(Ending, u8)>) -> Vec<u8> {
    let mut disk = BOOT.to_vec();
    if let Some((ending, when)) = ending {
        let reason = match ending {
            Ending::By(ShutdownReason::Poweroff) => 0,
            Ending::By(ShutdownReason::Reboot) => 1,
            Ending::By(ShutdownReason::Suspend) => 2,
            Ending::By(ShutdownReason::Crash) => 3,
            Ending::By(ShutdownReason::Watchdog) => 4,
            Ending::By(ShutdownReason::SoftReset) => 5,
            Ending::By(ShutdownReason::Unknown(number)) => u32::from(number),
            Ending::ByReset => u32::MAX,
        };
        disk[ENDS] = when;
        disk[REASON..WORD].copy_from_slice(&reason.to_le_bytes());
    }
    disk.extend_from_slice(word.as_bytes());
    disk.extend_from_slice(b"\n\0");
    assert!(disk.len() <= 510, "the word is too long");
    disk.resize(510, 0);
    disk.extend_from_slice(&[0x55, 0xaa]);
    disk.resize(1 << 20, 0);
    disk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_has_its_data_where_it_is_looked_for() {
        assert_eq!(BOOT.len(), WORD);
        assert!(BOOT[ENDS..].iter().all(|byte| *byte == 0));
        let disk = disk("word", Some((Ending::ByReset, LATER)));
        assert_eq!(disk[ENDS..WORD + 6], *b"\x02\0\0\0\xff\xff\xff\xffword\n\0");
        assert_eq!(disk[510..512], [0x55, 0xaa]);
    }
}
