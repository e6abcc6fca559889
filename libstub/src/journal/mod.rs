// SPDX-License-Identifier: GPL-3.0-only
//! The record of each pair on disk: what was made, written down before it is made.
//!
//! A record is what a later process needs to find and remove everything of a pair, whatever became of the one
//! that made it. It is replaced as a whole, so a reader sees the old one or the new one, never a torn one; and it
//! is written by who has claimed its name only.

mod claim;
mod lock;
mod origin;
mod record;
mod supervision;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::code::Code;
use crate::config::Name;
#[cfg(feature = "fake")]
use crate::host::fake::FakeHost;
use crate::image::verify::{self, Verified};
pub(crate) use claim::Claim;
pub use origin::ImageOrigin;
pub(crate) use origin::{DiskOrigin, Origin};
pub(crate) use record::{DomainMark, Record, is_unstarted};
pub(crate) use supervision::Supervision;

use lock::Right;
use record::{VERSION, parse};

/// Where records are kept unless the caller says otherwise.
pub const DIRECTORY: &str = "/var/lib/stubctl";

/// The file whose bytes are the locks of all rights.
const LOCK: &str = "lock";

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
    #[cfg(feature = "fake")]
    counted: Option<FakeHost>,
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

impl Journal {
    /// Uses a directory; it is created when the first record is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            #[cfg(feature = "fake")]
            counted: None,
        }
    }

    /// Its accesses to files are calls of this host: they are counted with its own, and fail like them.
    #[cfg(feature = "fake")]
    #[must_use]
    pub fn counted(mut self, host: &FakeHost) -> Self {
        self.counted = Some(host.clone());
        self
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
        self.is_taken(Right::Claim(name))
    }

    /// Takes a name for one operation; records are written under a claim only.
    pub(crate) fn claim(&self, name: &Name) -> Result<Claim, JournalError> {
        let lock = self.directory.join(LOCK);
        self.make()?;
        let claim = self.access("lock", &lock, || Claim::take(&lock, name))?;
        claim.ok_or_else(|| JournalError::Busy(name.clone()))
    }

    /// Makes the directory if there is none.
    pub(crate) fn make(&self) -> Result<(), JournalError> {
        self.access("create", &self.directory, || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)
        })
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
        let unfinished = self.unfinished(name);
        let written = self.access("write", path, || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
            file.write_all(text)?;
            file.sync_data()
        });
        let replaced = written.and_then(|()| self.access("replace", path, || fs::rename(&unfinished, path)));
        if replaced.is_err() {
            // It holds what could not be written: on a full disk, room that somebody needs.
            let _ = fs::remove_file(&unfinished);
        }
        replaced
    }

    /// Removes a record; one that is not there is no failure.
    pub(crate) fn end(&self, name: &Name, _: &Claim) -> Result<(), JournalError> {
        self.remove(&self.unfinished(name))?;
        self.remove(&self.path(name))?;
        self.sync_directory()
    }

    /// Removes the files that killed processes were about to write, for those of these names on which nobody works.
    pub(crate) fn tidy(&self, wanted: impl Fn(&Name) -> bool) -> Result<(), JournalError> {
        for path in self.files()? {
            let name =
                path.file_name().and_then(|name| name.to_str()?.strip_prefix('.')?.strip_suffix(".new"));
            let Some(name) = name.and_then(|name| Name::new(name).ok()).filter(&wanted) else { continue };
            match self.claim(&name) {
                Err(JournalError::Busy(_)) => {}
                claim => {
                    let _claim = claim?;
                    self.remove(&path)?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), JournalError> {
        self.access("remove", path, || match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    /// Moves a damaged record out of the way, to a name that says so; gives that name, or none if it is mended or gone.
    pub(crate) fn set_aside(&self, record: &Path, dry_run: bool) -> Result<Option<PathBuf>, JournalError> {
        let name = record.file_stem().and_then(|stem| Name::new(&stem.to_string_lossy()).ok());
        let Some(name) = name else { return Ok(None) };
        if dry_run {
            return if self.is_claimed(&name)? {
                Err(JournalError::Busy(name))
            } else {
                Ok(self.aside(&name))
            };
        }
        let claim = self.claim(&name)?;
        self.set_aside_claimed(record, &name, &claim)
    }

    /// Where a damaged record of this name goes.
    fn aside(&self, name: &Name) -> Option<PathBuf> {
        let to = (1..).map(|number| self.directory.join(format!("{name}.damaged.{number}")));
        to.into_iter().find(|to| !to.exists())
    }

    /// The same for the holder of its name.
    pub(crate) fn set_aside_claimed(
        &self,
        record: &Path,
        name: &Name,
        _: &Claim,
    ) -> Result<Option<PathBuf>, JournalError> {
        let Some(to) = self.aside(name) else { return Ok(None) };
        match self.find(name) {
            Err(JournalError::Unreadable { .. }) => {}
            Err(error @ JournalError::Io { .. }) => return Err(error),
            _ => return Ok(None),
        }
        self.access("move away", record, || fs::rename(record, &to))?;
        self.sync_directory()?;
        Ok(Some(to))
    }

    /// The record of a pair.
    pub(crate) fn find(&self, name: &Name) -> Result<Option<Record>, JournalError> {
        self.read(&self.path(name))
    }

    /// All records that can be read, by name, and why the others cannot.
    pub(crate) fn all(&self) -> Result<(Vec<Record>, Vec<JournalError>), JournalError> {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for path in self.files()? {
            if path.extension().is_some_and(|extension| extension == "json") {
                match self.read(&path) {
                    Ok(record) => records.extend(record),
                    Err(error) => unreadable.push(error),
                }
            }
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((records, unreadable))
    }

    /// All files of the directory; none if there is no directory.
    fn files(&self) -> Result<Vec<PathBuf>, JournalError> {
        self.access("list", &self.directory, || match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.path())).collect(),
        })
    }

    fn read(&self, path: &Path) -> Result<Option<Record>, JournalError> {
        let text = self.access("read", path, || match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => text.map(Some),
        })?;
        text.map(|text| parse(path, &text)).transpose()
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn unfinished(&self, name: &Name) -> PathBuf {
        self.directory.join(format!(".{name}.new"))
    }

    fn sync_directory(&self) -> Result<(), JournalError> {
        self.access("sync", &self.directory, || fs::File::open(&self.directory)?.sync_all())
    }

    /// Does something with a file; all that the journal does on disk goes through here.
    fn access<T>(
        &self,
        action: &'static str,
        path: &Path,
        access: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, JournalError> {
        #[cfg(feature = "fake")]
        let access = || match &self.counted {
            Some(host) => host.disk(&format!("{action} {}", path.display()), access),
            None => access(),
        };
        access().map_err(|error| io_error(action, path, error))
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use xen_sys::Kib;

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
