// SPDX-License-Identifier: GPL-3.0-only
//! What pairs are made from: the image, the journal, the memory that is left.

use xen_sys::Kib;

use super::Finding;
use crate::code::Code;
use crate::config::{Name, StubdomConfig};
use crate::image::{Image, ImageError};
use crate::journal::Journal;
use crate::lifecycle::MemoryNeed;

/// The guest that free memory is counted in.
const TYPICAL: Kib = Kib::from_mib(512);

/// The image that a config gets which names none, and whether its files are whole.
pub(super) fn image(release: &str, journal: &Journal, boot_id: Option<&str>) -> Finding {
    let image = Image::resolve(&StubdomConfig::default(), release);
    let whole = |image: Image| journal.verified(boot_id).check(&image).map(|()| image);
    image_finding(image.and_then(whole))
}

fn image_finding(image: Result<Image, ImageError>) -> Finding {
    const NAME: &str = "image";
    let image = match image {
        Ok(image) => image,
        Err(error) => return Finding::failure(NAME, error.to_string(), error.code().remedy()),
    };
    let memory = image.memory.get() / 1024;
    if image.debug_shell {
        let what = format!("{} has a debug shell on its console", image.kernel.display());
        return Finding::warning(NAME, what, Code::ImageDebugShell.remedy());
    }
    match (&image.directory, &image.kernel_release, &image.qemu) {
        (Some(directory), Some(kernel), Some(qemu)) => {
            let directory = directory.display();
            Finding::ok(NAME, format!("{directory}: kernel {kernel}, QEMU {qemu}, {memory} MiB"))
        }
        _ => Finding::ok(NAME, format!("{}: libxl's stubdomain, {memory} MiB", image.kernel.display())),
    }
}

/// The records of pairs, and whether one can be added. `boot_id` is this boot's, if it can be told.
pub(super) fn journal(journal: &Journal, boot_id: Option<&str>) -> Finding {
    const NAME: &str = "journal";
    let directory = journal.directory().display();
    if let Err(error) = journal.check_writable() {
        let what = format!("records cannot be written to {directory}: {error}");
        return Finding::failure(NAME, what, "run this as root; see that the file system can be written");
    }
    let (records, unreadable) = match journal.all() {
        Ok(found) => found,
        Err(error) => return Finding::failure(NAME, error.to_string(), Code::JournalIo.remedy()),
    };
    let names = |names: Vec<&Name>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let earlier = records.iter().filter(|record| boot_id.is_some_and(|id| id != record.boot_id));
    let earlier: Vec<&Name> = earlier.map(|record| &record.name).collect();
    let left = records.iter().filter(|record| !record.complete && !earlier.contains(&&record.name));
    let left: Vec<&Name> =
        left.map(|record| &record.name).filter(|name| !journal.is_claimed(name).unwrap_or(true)).collect();
    let mut troubles: Vec<(String, String)> = unreadable
        .iter()
        .map(|error| (error.to_string(), Code::JournalUnreadable.remedy().to_owned()))
        .collect();
    if !left.is_empty() {
        let what = format!("left behind by a create or destroy that did not end: {}", names(left.clone()));
        troubles.push((what, "stubctl destroy NAME removes what is left".to_owned()));
    }
    if !earlier.is_empty() {
        let what = format!("recorded in an earlier boot, and gone with it: {}", names(earlier.clone()));
        troubles.push((
            what,
            "stubctl destroy NAME removes such a record, and so does stubctl create".to_owned(),
        ));
    }
    if troubles.is_empty() {
        return Finding::ok(NAME, format!("{directory} has {}", counted(records.len(), "record")));
    }
    let (what, remedy): (Vec<String>, Vec<String>) = troubles.into_iter().unzip();
    let mut remedy = remedy;
    remedy.dedup();
    Finding::warning(NAME, what.join("; "), remedy.join("; "))
}

/// The memory that is left, in guests.
pub(super) fn memory(free: Result<Kib, String>, release: &str) -> Finding {
    let image = Image::resolve(&StubdomConfig::default(), release).ok();
    memory_finding(free, image.map_or(Image::DEFAULT_MEMORY, |image| image.memory))
}

fn memory_finding(free: Result<Kib, String>, stubdom: Kib) -> Finding {
    const NAME: &str = "memory";
    let free = match free {
        Ok(free) => free,
        Err(why) => return Finding::failure(NAME, why, Code::HostCall.remedy()),
    };
    let guests = free.get() / MemoryNeed::new(TYPICAL, TYPICAL, 1, stubdom).total().get().max(1);
    let what = format!(
        "{} MiB are free: {} of {} MiB, each with its stubdomain of {} MiB",
        free.get() / 1024,
        counted(usize::try_from(guests).unwrap_or(usize::MAX), "guest"),
        TYPICAL.get() / 1024,
        stubdom.get() / 1024,
    );
    if guests > 0 {
        Finding::ok(NAME, what)
    } else {
        let remedy = "end a guest, or give dom0 less: xl mem-set 0 SIZE now, dom0_mem=SIZE,max:SIZE for Xen's next boot";
        Finding::warning(NAME, what, remedy)
    }
}

fn counted(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use uuid::Uuid;

    use super::*;
    use crate::check::FindingStatus;
    use crate::journal::Record;

    #[test]
    fn memory_is_counted_in_guests_with_their_stubdoms() {
        let of = |mib| memory_finding(Ok(Kib::from_mib(mib)), Kib::from_mib(128));
        assert!(of(2048).what.contains("3 guests of 512 MiB"), "{:?}", of(2048));
        assert_eq!(of(2048).status, FindingStatus::Ok);
        assert_eq!(of(600).status, FindingStatus::Warning);
        assert!(memory_finding(Err("no".to_owned()), Kib::new(0)).failed());
    }

    #[test]
    fn an_image_is_told_with_what_is_in_it() {
        let missing = image_finding(Err(ImageError::NotFound(vec!["/a".into()])));
        assert!(missing.failed() && missing.what.contains("/a"), "{missing:?}");
        let journal = Journal::new("/nowhere");
        assert!(image("0.0", &journal, None).failed(), "nobody has an image for Xen 0.0");
    }

    #[test]
    fn records_that_need_somebody_are_warnings_that_name_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let journal_of = Journal::new(directory.path().join("new"));
        let look = || journal(&journal_of, Some("now"));
        assert!(look().what.ends_with("no record"), "{:?}", look());
        assert!(!journal_of.directory().exists(), "a check left something");
        let write = |name: &str, boot: &str, complete: bool| {
            let name = Name::new(name).expect("a name");
            let mut record = Record::new(&name, Uuid::new_v4(), TYPICAL, 1, boot.to_owned());
            record.complete = complete;
            let claim = journal_of.claim(&name).expect("free");
            journal_of.write(&record, &claim).expect("written");
            claim
        };
        drop(write("good", "now", true));
        let under_way = write("busy", "now", false);
        assert_eq!(
            (look().status, look().what.ends_with("2 records")),
            (FindingStatus::Ok, true),
            "{:?}",
            look()
        );
        drop(under_way);
        drop(write("old", "before", true));
        fs::write(journal_of.directory().join("bad.json"), "{").expect("written");
        let Finding { status, what, .. } = look();
        assert_eq!(status, FindingStatus::Warning);
        for named in ["busy", "old", "bad.json"] {
            assert!(what.contains(named), "{named}: {what}");
        }
        assert!(!what.contains("good"), "{what}");
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_a_failure() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(journal(&Journal::new(file.join("journal")), None).failed());
    }
}
