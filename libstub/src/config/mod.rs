// SPDX-License-Identifier: GPL-3.0-only
//! What the user wants: plain data, read from an xl.cfg file or filled in by a toolstack.
//!
//! A text is read by `syntax`, over the parsers of `grammar`, with `word` and `text` for what stands without and
//! within quotes. `merge` knows what a key is set to after all, `table` and `rows` which keys there are, `keys` what
//! each means: with `reader` for its type, `spec` and `params` for disk lines, `files` for the files that it names,
//! `policy` for what is done at its end.
//! `source` and `fault` tell where a mistake is, and show it. Nothing here touches Xen.

mod disk;
mod fault;
mod files;
mod grammar;
mod keys;
mod load;
mod merge;
mod params;
mod policy;
mod reader;
mod reference;
mod rows;
mod source;
mod spec;
mod syntax;
mod table;
mod text;
mod vdev;
mod word;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xen_sys::Kib;

pub use disk::{Disk, DiskMode};
pub use fault::{ConfigError, Fault, Severity};
pub use load::Loaded;
pub use policy::{Action, EndKind, Policy};
pub use reference::reference;
pub use table::{Key, Only, Status, keys};
pub use vdev::Vdev;

/// How long the wait for the ready key may take unless the config says otherwise: an emulated host needs
/// ten seconds, a loaded one several times that, and a stubdomain that died ends the wait at once anyway.
pub const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Longer than anybody waits.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// hvmloader needs the least, and Xen knows no more than 16 TiB.
const MEMORY_MIB: RangeInclusive<u64> = 4..=1 << 24;

/// A guest whose QEMU runs in a stubdomain.
///
/// A record keeps it, to create the pair again: a field that is added has a `serde` default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// Its name, unique on the host.
    pub name: Name,
    /// Its identity; a random one if none is given.
    pub uuid: Option<Uuid>,
    /// Its memory, in whole MiB.
    pub memory: Kib,
    /// What its memory can grow to, in whole MiB; `memory` if not given.
    pub max_memory: Option<Kib>,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// The boot order, letters as QEMU's `-boot order=` takes them.
    pub boot: String,
    /// The emulated controller that its disks hang on.
    pub controller: DiskController,
    /// Its disks, in the order of the config.
    pub disks: Vec<Disk>,
    /// Its stubdomain.
    pub stubdom: StubdomConfig,
    /// What is to become of it when it ends.
    #[serde(default)]
    pub policy: Policy,
    /// The file it was read from.
    pub source: Option<PathBuf>,
}

/// The part of a config that is about the stubdomain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StubdomConfig {
    /// A built image; looked up at the well-known places if not given.
    pub image: Option<PathBuf>,
    /// A kernel that replaces the image's.
    pub kernel: Option<PathBuf>,
    /// A ramdisk that replaces the image's.
    pub ramdisk: Option<PathBuf>,
    /// A root filesystem that replaces the image's.
    pub rootfs: Option<PathBuf>,
    /// A kernel command line that replaces the image's.
    pub cmdline: Option<String>,
    /// Its memory; what the image asks for if not given.
    pub memory: Option<Kib>,
    /// How long the wait for the ready key may take.
    pub timeout: Duration,
    /// Arguments for QEMU after ours (`device_model_args_hvm` of xl.cfg).
    pub qemu_args: Vec<String>,
}

impl Default for StubdomConfig {
    fn default() -> Self {
        Self {
            image: None,
            kernel: None,
            ramdisk: None,
            rootfs: None,
            cmdline: None,
            memory: None,
            timeout: READY_TIMEOUT,
            qemu_args: Vec::new(),
        }
    }
}

/// The emulated controller of the guest's disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskController {
    /// At most four disks; slow in every BIOS.
    #[default]
    Ide,
    /// At most six disks.
    Ahci,
}

impl DiskController {
    /// How many disks it takes.
    pub fn limit(self) -> usize {
        match self {
            Self::Ide => 4,
            Self::Ahci => 6,
        }
    }

    /// What to do about a disk too many.
    fn way_out(self) -> &'static str {
        match self {
            Self::Ide => "; with hdtype = \"ahci\" it takes 6",
            Self::Ahci => "",
        }
    }
}

/// A domain's name: 1 to 61 of `A-Z a-z 0-9 . _ -`, not starting with `.` or `-`.
///
/// Names become parts of file names and log lines, so nothing else is let in; 61, because the stubdomain's
/// name is three longer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > 61 {
            return Err(NameError::Length);
        }
        match name.chars().find(|&c| !Self::allowed(c)) {
            Some(c) => Err(NameError::Character(c)),
            None if name.starts_with(['.', '-']) => Err(NameError::Start),
            None => Ok(Self(name.to_owned())),
        }
    }

    fn allowed(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this guest's stubdomain.
    pub fn stubdom(&self) -> String {
        format!("{}-dm", self.0)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or too long.
    #[error("a name has 1 to 61 characters")]
    Length,
    /// A character that could not be part of a file name or a log line.
    #[error("a name is made of letters, digits, '.', '_' and '-', not {0:?}")]
    Character(char),
    /// It would read as an option or a hidden file.
    #[error("a name does not start with '.' or '-'")]
    Start,
}

impl GuestConfig {
    /// What the guest's memory can grow to.
    pub fn max_memory(&self) -> Kib {
        self.max_memory.unwrap_or(self.memory)
    }

    /// What cannot be served of a config, however it was made; a config that was read has none.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |good: bool, fault: String| {
            if !good {
                faults.push(fault)
            }
        };
        let (memory, most) = (self.memory, self.max_memory());
        for amount in [Some(memory), self.max_memory].into_iter().flatten() {
            let served = amount.whole_mib().is_some_and(|mib| MEMORY_MIB.contains(&mib));
            check(served, format!("{amount} is no whole number of MiB that a guest can have"));
        }
        check(most >= memory, format!("the memory can grow to {most}, which is less than {memory}"));
        check((1..=128).contains(&self.vcpus), format!("{} vcpus are not 1 to 128", self.vcpus));
        check(self.stubdom.timeout <= MAX_TIMEOUT, "the timeout is longer than a day".to_owned());
        let limit = self.controller.limit();
        check(self.disks.len() <= limit, format!("the emulated controller takes {limit} disks"));
        let disks: Vec<&Disk> = self.disks.iter().collect();
        for (index, disk) in self.disks.iter().enumerate() {
            faults.extend(disk.check_beside(&disks[..index]).into_iter().map(|unserved| unserved.message));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_a_path_or_an_option() {
        for good in ["a", "demo", "web-1.example_2"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", "a/b", ".x", "-x", "a b", "a\0", "ä", &"x".repeat(62)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_config_that_a_program_made_is_checked_like_one_that_was_read() {
        let read =
            GuestConfig::parse("name = 'a'\nmemory = 64\n", std::path::Path::new("a.cfg")).expect("valid");
        assert_eq!(read.faults(), Vec::<String>::new());
        assert_eq!(read.max_memory(), Kib::from_mib(64));
        let less = GuestConfig { max_memory: Some(Kib::from_mib(32)), ..read.clone() };
        assert_eq!(less.faults().len(), 1, "{:?}", less.faults());
        let odd = GuestConfig { max_memory: Some(Kib::new(65_537)), ..read.clone() };
        assert_eq!(odd.faults().len(), 1, "{:?}", odd.faults());
        let partition = Disk {
            target: PathBuf::from("/a"),
            vdev: Vdev::parse("xvda1").expect("a vdev"),
            mode: DiskMode::ReadWrite,
        };
        let part = GuestConfig { disks: vec![partition], ..read };
        assert_eq!(part.faults().len(), 1, "{:?}", part.faults());
    }
}
