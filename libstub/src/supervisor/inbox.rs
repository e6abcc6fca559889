// SPDX-License-Identifier: GPL-3.0-only
//! What changes in the journal, as the kernel tells it: records are moved into place, and removed.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::config::Name;
use crate::journal::Journal;

/// Which records may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) names: BTreeSet<Name>,
    /// All of them: some changes were not told one by one.
    pub(super) all: bool,
}

impl Changed {
    pub(super) fn merge(&mut self, other: Self) {
        self.names.extend(other.names);
        self.all |= other.all;
    }
}

/// The events of the journal's directory.
#[derive(Debug)]
pub(super) struct Inbox {
    inotify: OwnedFd,
    journal: Journal,
    /// The directory that was watched is no more.
    lost: bool,
}

impl Inbox {
    pub(super) fn open(journal: &Journal) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let inbox = Self { inotify, journal: journal.clone(), lost: false };
        inbox.watch()?;
        Ok(inbox)
    }

    fn watch(&self) -> io::Result<()> {
        self.journal.make().map_err(io::Error::other)?;
        let events =
            WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&self.inotify, self.journal.directory(), events | WatchFlags::ONLYDIR)?;
        Ok(())
    }

    /// Takes all events; never blocks.
    pub(super) fn take(&mut self) -> io::Result<Changed> {
        let mut changed = Changed::default();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
            if event.events().intersects(gone | ReadFlags::QUEUE_OVERFLOW) {
                changed.all = true;
                self.lost |= event.events().intersects(gone);
            }
            let name = event.file_name().and_then(|name| name.to_str().ok()?.strip_suffix(".json"));
            changed.names.extend(name.and_then(|name| Name::new(name).ok()));
        }
        Ok(changed)
    }

    /// Watches the directory again if it was lost; whether it was.
    pub(super) fn mend(&mut self) -> io::Result<bool> {
        let lost = std::mem::take(&mut self.lost);
        if lost {
            self.watch()?;
        }
        Ok(lost)
    }
}

impl AsRawFd for Inbox {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;
    use uuid::Uuid;
    use xen_sys::Kib;

    #[test]
    fn a_record_is_told_when_it_is_written_and_when_it_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(directory.path().join("journal"));
        let mut inbox = Inbox::open(&journal).expect("watched");
        let name = Name::new("a").expect("a name");
        let told = Changed { names: BTreeSet::from([name.clone()]), all: false };
        let claim = journal.claim(&name).expect("free");
        assert_eq!(inbox.take().expect("taken"), Changed::default(), "a claim is no change");
        let record = Record::new(&name, Uuid::new_v4(), Kib::from_mib(1), 1, String::new());
        journal.write(&record, &claim).expect("written");
        assert_eq!(inbox.take().expect("taken"), told);
        journal.end(&name, &claim).expect("removed");
        assert_eq!(inbox.take().expect("taken"), told);
        drop(claim);
        std::fs::remove_dir_all(journal.directory()).expect("removed");
        assert!(inbox.take().expect("taken").all);
        assert!(inbox.mend().expect("mended"));
        let claim = journal.claim(&name).expect("free");
        journal.write(&record, &claim).expect("written");
        assert_eq!(inbox.take().expect("taken"), told, "the new directory is watched");
    }
}
