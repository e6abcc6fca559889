// SPDX-License-Identifier: GPL-3.0-only
//! The record of each pair on disk: what was made, written down before it is made.
//!
//! A record is what a later process needs to find and remove everything of a pair, whatever became of the one
//! that made it. It is replaced as a whole, so a reader sees the old one or the new one, never a torn one; and it
//! is written by who has claimed its name only.

mod claim;
mod lock;
mod origin;
mod supervision;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use xen_sys::{DomId, Kib};

use crate::code::Code;
use crate::config::{GuestConfig, Name};
use crate::image::verify::{self, Verified};
pub(crate) use claim::Claim;
pub use origin::ImageOrigin;
pub(crate) use origin::{DiskOrigin, Origin};
pub(crate) use supervision::Supervision;

use crate::xenbus::VbdMark;
use lock::Right;

/// Where records are kept unless the caller says otherwise.
pub const DIRECTORY: &str = "/var/lib/stubctl";

/// The version of [`Record`] that this library writes and reads.
const VERSION: u32 = 1;

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

/// A record that could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another operation works on this pair.
    #[error("another operation on {0} is under way")]
    Busy(Name),
    /// A file could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A record is damaged.
    #[error("the record {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A record is from a release that this library does not know.
    #[error("the record {} has version {version}, this is made for {VERSION}", path.display())]
    OtherVersion {
        /// The record.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

impl JournalError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::Busy(_) => Code::PairBusy,
            Self::Io { .. } => Code::JournalIo,
            Self::Unreadable { .. } => Code::JournalUnreadable,
            Self::OtherVersion { .. } => Code::JournalVersion,
        }
    }
}

/// Everything there is to know about a pair that was or is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// dom0's boot in which it was made: domain ids mean nothing in another.
    pub(crate) boot_id: String,
    pub(crate) name: Name,
    pub(crate) guest: DomainMark,
    pub(crate) stubdom: DomainMark,
    pub(crate) memory: Kib,
    pub(crate) vcpus: u32,
    pub(crate) vbds: Vec<VbdMark>,
    /// All that was left to do was to unpause the guest.
    pub(crate) complete: bool,
    /// Its removal has begun.
    #[serde(default)]
    pub(crate) ending: bool,
    /// If it is found unfinished, it is not to be removed only but created again.
    #[serde(default)]
    pub(crate) again: bool,
    /// When it was restarted, in seconds of this boot; the latest last.
    #[serde(default)]
    pub(crate) restarts: Vec<u64>,
    /// What it is created from, again if need be: what its file says by now does not matter.
    #[serde(default)]
    config: Option<Value>,
    #[serde(default)]
    pub(crate) origin: Origin,
}

/// A domain as a record knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainMark {
    /// Chosen before the domain is created: it is what the domain is found by when its id was never recorded.
    pub(crate) uuid: Uuid,
    pub(crate) domid: Option<DomId>,
}

impl DomainMark {
    pub(crate) fn new(uuid: Uuid) -> Self {
        Self { uuid, domid: None }
    }
}

impl Record {
    /// A record of a pair of which nothing was made yet.
    pub(crate) fn new(name: &Name, guest: Uuid, memory: Kib, vcpus: u32, boot_id: String) -> Self {
        Self {
            version: VERSION,
            boot_id,
            name: name.clone(),
            guest: DomainMark::new(guest),
            stubdom: DomainMark::new(Uuid::new_v4()),
            memory,
            vcpus,
            vbds: Vec::new(),
            complete: false,
            ending: false,
            again: false,
            restarts: Vec::new(),
            config: None,
            origin: Origin::default(),
        }
    }

    /// Keeps the config, with all that was set on top of its file.
    pub(crate) fn keep_config(&mut self, config: &GuestConfig) {
        self.config = serde_json::to_value(config).ok();
    }

    /// The config that was kept; none in a record of a release that kept none, or another kind.
    pub(crate) fn config(&self) -> Option<GuestConfig> {
        let config = GuestConfig::deserialize(self.config.as_ref()?).ok()?;
        Some(GuestConfig { uuid: Some(self.guest.uuid), ..config })
    }

    /// Whether this record is of the same making of the pair: a stubdomain's uuid is new each time.
    pub(crate) fn is_of(&self, stubdom: Uuid) -> bool {
        self.stubdom.uuid == stubdom
    }
}

impl Journal {
    /// Uses a directory; it is created when the first record is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether records could be written, without writing anything.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        let exists =
            |path: &&Path| !matches!(path.metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
        let nearest = self.directory.ancestors().find(exists).unwrap_or(Path::new("/"));
        if !nearest.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK)?)
    }

    /// Whether an operation on a name is under way.
    pub(crate) fn is_claimed(&self, name: &Name) -> Result<bool, JournalError> {
        lock::is_taken(&self.directory, Right::Claim(name))
    }

    /// Takes a name for one operation; records are written under a claim only.
    pub(crate) fn claim(&self, name: &Name) -> Result<Claim, JournalError> {
        self.make()?;
        Claim::take(&self.directory, name)
    }

    /// Makes the directory if there is none.
    pub(crate) fn make(&self) -> Result<(), JournalError> {
        let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        make.map_err(|error| io_error("create", &self.directory, error))
    }

    /// Writes a record, in place of an older one of its name.
    pub(crate) fn write(&self, record: &Record, _: &Claim) -> Result<(), JournalError> {
        let path = self.path(&record.name);
        // Told like a call to the host: a process can die on either side of it.
        tracing::debug!(target: "libstub::call", call = "journal", on = %record.name);
        let text =
            serde_json::to_vec_pretty(record).map_err(|error| io_error("encode", &path, error.into()))?;
        self.replace(&path, &text, &record.name)?;
        self.sync_directory()
    }

    /// What is remembered of images' files in this boot.
    pub(crate) fn verified(&self, boot_id: Option<&str>) -> Verified {
        Verified::read(&self.directory, boot_id)
    }

    /// Remembers what is new of images' files. Of two that do so at once one may be forgotten, and its files are
    /// read once more.
    pub(crate) fn remember(&self, verified: &Verified, name: &Name, _: &Claim) -> Result<(), JournalError> {
        let path = self.directory.join(verify::FILE);
        verified.news().map_or(Ok(()), |text| self.replace(&path, &text, name))
    }

    /// Replaces a file as a whole, under the claim on this name.
    fn replace(&self, path: &Path, text: &[u8], name: &Name) -> Result<(), JournalError> {
        // Only the holder of the claim uses this name: what a killed process left is written over.
        let unfinished = self.directory.join(format!(".{name}.new"));
        fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| {
                file.write_all(text)?;
                file.sync_data()
            })
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(|error| io_error("write", path, error))
    }

    /// Removes a record; one that is not there is no failure.
    pub(crate) fn end(&self, name: &Name, _: &Claim) -> Result<(), JournalError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_directory(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("remove", &path, error)),
        }
    }

    /// Moves a damaged record out of the way, to a name that says so; gives that name, or none if it is mended or gone.
    pub(crate) fn set_aside(&self, record: &Path, dry_run: bool) -> Result<Option<PathBuf>, JournalError> {
        let name = record.file_stem().and_then(|stem| Name::new(&stem.to_string_lossy()).ok());
        let Some(name) = name else { return Ok(None) };
        let to = (1..).map(|number| self.directory.join(format!("{name}.damaged.{number}")));
        let Some(to) = to.into_iter().find(|to| !to.exists()) else { return Ok(None) };
        if dry_run {
            return if self.is_claimed(&name)? { Err(JournalError::Busy(name)) } else { Ok(Some(to)) };
        }
        let _claim = self.claim(&name)?;
        if !matches!(self.find(&name), Err(JournalError::Unreadable { .. })) {
            return Ok(None);
        }
        fs::rename(record, &to).map_err(|error| io_error("move away", record, error))?;
        self.sync_directory()?;
        Ok(Some(to))
    }

    /// The record of a pair.
    pub(crate) fn find(&self, name: &Name) -> Result<Option<Record>, JournalError> {
        read(&self.path(name))
    }

    /// All records that can be read, by name, and why the others cannot.
    pub(crate) fn all(&self) -> Result<(Vec<Record>, Vec<JournalError>), JournalError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(io_error("list", &self.directory, error)),
        };
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "json") {
                match read(&path) {
                    Ok(record) => records.extend(record),
                    Err(error) => unreadable.push(error),
                }
            }
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((records, unreadable))
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn sync_directory(&self) -> Result<(), JournalError> {
        fs::File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| io_error("sync", &self.directory, error))
    }
}

fn read(path: &Path) -> Result<Option<Record>, JournalError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, error)),
    };
    let unreadable = |reason: String| JournalError::Unreadable { path: path.to_owned(), reason };
    let value: Value = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    match value["version"].as_u64() {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => return Err(JournalError::OtherVersion { path: path.to_owned(), version }),
        None => return Err(unreadable("it has no version".to_owned())),
    }
    serde_json::from_value(value).map(Some).map_err(|error| unreadable(error.to_string()))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Record {
        let name = Name::new(name).expect("a name");
        Record::new(&name, Uuid::new_v4(), Kib::from_mib(64), 1, "boot".to_owned())
    }

    #[test]
    fn of_two_operations_on_one_name_the_first_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(dir.path().join("new"));
        let (one, other) = (record("a").name, record("b").name);
        let claim = journal.claim(&one).expect("free");
        assert!(matches!(journal.claim(&one), Err(JournalError::Busy(_))));
        journal.claim(&other).expect("another name is free");
        assert!(journal.is_claimed(&one).expect("seen"));
        drop(claim);
        assert!(!journal.is_claimed(&one).expect("seen"));
        journal.claim(&one).expect("free again");
    }

    #[test]
    fn a_record_that_cannot_be_read_does_not_hide_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(dir.path());
        let record_a = record("a");
        journal.write(&record_a, &journal.claim(&record_a.name).expect("free")).expect("written");
        fs::write(dir.path().join("b.json"), "{").expect("written");
        let mut newer = serde_json::to_value(record("c")).expect("json");
        newer["version"] = 2.into();
        fs::write(dir.path().join("c.json"), newer.to_string()).expect("written");
        let (records, unreadable) = journal.all().expect("listed");
        assert_eq!((records.len(), unreadable.len()), (1, 2));
    }

    #[test]
    fn a_record_of_an_earlier_release_is_read_without_what_it_has_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(dir.path());
        let old = record("a");
        let mut json = serde_json::to_value(&old).expect("json");
        json.as_object_mut().expect("an object").remove("origin").expect("it was there");
        fs::write(dir.path().join("a.json"), json.to_string()).expect("written");
        assert_eq!(journal.find(&old.name).expect("readable"), Some(old));
    }

    #[test]
    fn nothing_but_records_is_left_in_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(dir.path());
        let mut one = record("a");
        let claim = journal.claim(&one.name).expect("free");
        journal.write(&one, &claim).expect("written");
        one.complete = true;
        journal.write(&one, &claim).expect("replaced");
        assert_eq!(journal.find(&one.name).expect("readable"), Some(one.clone()));
        journal.end(&one.name, &claim).expect("removed");
        journal.end(&one.name, &claim).expect("removing what is gone is no failure");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "more than the lock is left");
    }
}
