// SPDX-License-Identifier: GPL-3.0-only
//! Whether an image's files are those that its manifest describes, and which of them need not be read again.
//!
//! What was read and found right is remembered beside the records of pairs, in a directory that is root's alone, for
//! this boot of dom0: in another, a device number may be another disk's. A file that changed since then in any way that
//! the kernel shows is read again.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proto::verify::{self, Fault};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::{Image, ImageError};

/// Name of the memory in the directory of records.
pub(crate) const FILE: &str = "verified";

/// More files than a host has images; the oldest make room.
const MOST: usize = 64;

/// The memory is read up to here: what is larger is none of ours.
const LARGEST: u64 = 256 * 1024;

/// A file that was changed later than this before it was read may be changed once more within the same tick of
/// the clock that stamps files.
const SETTLED: Duration = Duration::from_secs(1);

/// The files that were found right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    boot_id: String,
    /// The oldest first, one for each path.
    files: Vec<Seen>,
    #[serde(skip)]
    changed: bool,
}

/// A file that had this digest when it looked like this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    path: PathBuf,
    sha256: String,
    look: Look,
}

/// What tells a file from what it was before: all that changes with its content, and what replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Nobody but the clock sets it.
    changed: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }

    /// Whether its last change is so long past that another would show.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = now.saturating_sub(SETTLED).as_secs();
        i64::try_from(until).is_ok_and(|until| self.modified.0 < until && self.changed.0 < until)
    }
}

impl Verified {
    /// What is remembered in this directory of this boot; without a boot, and where there is nothing that only root
    /// can have written, nothing is.
    pub(crate) fn read(directory: &Path, boot_id: Option<&str>) -> Self {
        let Some(boot_id) = boot_id else { return Self::default() };
        let read: Option<Self> =
            own_file(&directory.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let of_this_boot = read.filter(|verified| verified.boot_id == boot_id);
        of_this_boot.unwrap_or_else(|| Self { boot_id: boot_id.to_owned(), ..Self::default() })
    }

    /// What is to be remembered, if it is more than there was.
    pub(crate) fn news(&self) -> Option<Vec<u8>> {
        self.changed.then(|| serde_json::to_vec_pretty(self).ok()).flatten()
    }

    /// Checks the files of an image that have a digest.
    ///
    /// # Errors
    /// The first file that is not what its manifest says.
    pub(crate) fn check(&mut self, image: &Image) -> Result<(), ImageError> {
        self.check_with(image, SystemTime::now(), &mut verify::file)
    }

    /// The same at a time, with a reader of files.
    fn check_with(
        &mut self,
        image: &Image,
        now: SystemTime,
        read: &mut dyn FnMut(&Path, &str) -> Result<(), Fault>,
    ) -> Result<(), ImageError> {
        for (path, sha256) in &image.digests {
            let found = |path: &Path| Ok((path.canonicalize()?, Look::at(path)?));
            let look = |path: &Path| found(path).map_err(|error| unreadable(path, &error));
            let (canonical, before) = look(path)?;
            let seen = Seen { path: canonical, sha256: sha256.clone(), look: before };
            if self.files.contains(&seen) {
                continue;
            }
            read(path, sha256).map_err(ImageError::from)?;
            if look(path)? == (seen.path.clone(), before) && before.is_settled(now) {
                self.remember(seen);
            }
        }
        Ok(())
    }

    fn remember(&mut self, seen: Seen) {
        self.files.retain(|old| old.path != seen.path);
        self.files.push(seen);
        self.files.drain(..self.files.len().saturating_sub(MOST));
        self.changed = true;
    }
}

impl From<Fault> for ImageError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable { path, source } => unreadable(&path, &source),
            Fault::Digest { path, expected, found } => Self::Corrupt { path, expected, found },
        }
    }
}

/// A file of an image that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> ImageError {
    ImageError::Unusable {
        path: path.parent().unwrap_or(path).to_owned(),
        reason: format!("{} cannot be read: {error}", path.display()),
    }
}

/// A file that is ours, that nobody else can write, and no link to another.
fn own_file(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    let own = meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if !(meta.is_file() && own && meta.len() <= LARGEST) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use proto::manifest::{KERNEL, Manifest, ROOTFS};

    use super::*;
    use crate::code::Code;
    use crate::config::StubdomConfig;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const BOOT: Option<&str> = Some("boot");

    /// An image directory whose kernel and root filesystem are `abc`.
    fn image() -> tempfile::TempDir {
        let image = tempfile::tempdir().expect("a directory");
        let digests = [KERNEL, ROOTFS].map(|name| (name.to_owned(), ABC.to_owned()));
        let manifest = serde_json::json!({
            "protocol": proto::PROTOCOL, "xen": "4.17", "qemu": "", "kernel": "", "rootfs": "erofs", "cmdline": "",
            "min_memory_mib": 64, "digests": BTreeMap::from(digests), "contents": [],
        });
        Manifest::from_json(manifest.to_string().as_bytes()).expect("a manifest");
        fs::write(image.path().join(proto::manifest::FILE), manifest.to_string()).expect("written");
        for name in [KERNEL, ROOTFS] {
            fs::write(image.path().join(name), "abc").expect("written");
        }
        image
    }

    fn resolved(directory: &Path) -> Result<Image, ImageError> {
        Image::resolve(
            &StubdomConfig { image: Some(directory.to_owned()), ..StubdomConfig::default() },
            "4.17",
        )
    }

    /// Checks when all that the test wrote is long past, and tells which files were read.
    fn read_by(verified: &mut Verified, image: &Path) -> (Result<(), ImageError>, Vec<String>) {
        let mut names = Vec::new();
        let mut read = |path: &Path, sha256: &str| {
            names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
            verify::file(path, sha256)
        };
        let later = SystemTime::now() + Duration::from_secs(60);
        let result = verified.check_with(&resolved(image).expect("an image"), later, &mut read);
        (result, names)
    }

    /// What another process would remember.
    fn stored(verified: &Verified, directory: &Path) -> Verified {
        if let Some(text) = verified.news() {
            fs::write(directory.join(FILE), text).expect("written");
        }
        Verified::read(directory, BOOT)
    }

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let (image, memory) = (image(), tempfile::tempdir().expect("a directory"));
        let mut verified = Verified::read(memory.path(), BOOT);
        let (result, read) = read_by(&mut verified, image.path());
        result.expect("all is well");
        assert_eq!(read, [KERNEL, ROOTFS]);
        let mut verified = stored(&verified, memory.path());
        let (result, read) = read_by(&mut verified, image.path());
        result.expect("all is well");
        assert!(read.is_empty() && verified.news().is_none(), "{read:?} again");
        // The same bytes in another file, and in the same file written anew.
        fs::write(image.path().join("new"), "abc").expect("written");
        fs::rename(image.path().join("new"), image.path().join(KERNEL)).expect("replaced");
        assert_eq!(read_by(&mut verified, image.path()).1, [KERNEL]);
        fs::write(image.path().join(ROOTFS), "abc").expect("written");
        assert_eq!(read_by(&mut verified, image.path()).1, [ROOTFS]);
        assert!(read_by(&mut stored(&verified, memory.path()), image.path()).1.is_empty());
        assert_eq!(verified.files.len(), 2, "an old look is forgotten for a new one");
    }

    #[test]
    fn damage_is_found_after_the_file_was_right_even_if_its_old_time_is_set() {
        let image = image();
        let path = image.path().join(ROOTFS);
        let before = fs::metadata(&path).and_then(|meta| meta.modified()).expect("its time");
        let mut verified = Verified::read(image.path(), BOOT);
        read_by(&mut verified, image.path()).0.expect("all is well");
        fs::write(&path, "abd").expect("written");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(before)).expect("set");
        let error = read_by(&mut verified, image.path()).0.expect_err("other bytes");
        assert!(matches!(error, ImageError::Corrupt { .. }), "{error}");
        assert!(read_by(&mut verified, image.path()).0.is_err(), "what is wrong is not remembered");
    }

    #[test]
    fn each_kind_of_damage_names_the_file_and_both_digests() {
        for (name, content) in [(KERNEL, &b"abd"[..]), (ROOTFS, b"ab"), (ROOTFS, b""), (KERNEL, b"abcd")] {
            let image = image();
            fs::write(image.path().join(name), content).expect("written");
            let error = read_by(&mut Verified::default(), image.path()).0.expect_err("other bytes");
            assert_eq!(error.code(), Code::ImageCorrupt);
            let text = error.to_string();
            let path = image.path().join(name).display().to_string();
            assert!(text.contains(ABC) && text.contains(&path), "{text}");
            assert_eq!(text.contains(EMPTY), content.is_empty(), "{text}");
        }
    }

    #[test]
    fn an_image_that_is_incomplete_or_for_somebody_else_is_not_even_read() {
        let with = |from: &str, to: &str| {
            let image = image();
            let manifest = image.path().join(proto::manifest::FILE);
            let text = fs::read_to_string(&manifest).expect("a manifest").replace(from, to);
            fs::write(manifest, text).expect("written");
            let error = resolved(image.path()).expect_err("of no use");
            assert_eq!(error.code(), Code::ImageUnusable);
            error.to_string()
        };
        assert!(with("4.17", "4.20").contains("linked for Xen 4.20"));
        assert!(with("\"protocol\":1", "\"protocol\":2").contains("stubdom protocol 2"));
        assert!(with("}", "").contains("manifest.json: "));
        assert!(with("\"kernel\":\"b", "\"colonel\":\"b").contains("no digest of kernel"));
        let image = image();
        fs::remove_file(image.path().join(ROOTFS)).expect("removed");
        assert!(resolved(image.path()).expect_err("of no use").to_string().contains("rootfs.img is missing"));
    }

    #[test]
    fn a_part_that_the_config_names_is_the_users_own() {
        let image = image();
        fs::write(image.path().join(ROOTFS), "other").expect("written");
        let config = StubdomConfig {
            image: Some(image.path().to_owned()),
            rootfs: Some(image.path().join("mine")),
            ..StubdomConfig::default()
        };
        let image = Image::resolve(&config, "4.17").expect("an image");
        Verified::default().check(&image).expect("the kernel is whole, and no other file is looked at");
    }

    #[test]
    fn what_changed_just_now_is_read_again() {
        let image = image();
        let mut verified = Verified::read(image.path(), BOOT);
        verified.check(&resolved(image.path()).expect("an image")).expect("all is well");
        assert!(verified.news().is_none(), "a change within the same tick would not show");
    }

    #[test]
    fn nothing_is_believed_that_is_of_another_boot_or_that_others_can_write() {
        let (image, memory) = (image(), tempfile::tempdir().expect("a directory"));
        let mut verified = Verified::read(memory.path(), BOOT);
        read_by(&mut verified, image.path()).0.expect("all is well");
        assert_eq!(stored(&verified, memory.path()).files.len(), 2);
        let believed = |boot| !Verified::read(memory.path(), boot).files.is_empty();
        assert!(believed(BOOT) && !believed(Some("other")) && !believed(None));
        let file = memory.path().join(FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).expect("changed");
        assert!(!believed(BOOT), "a group could write it");
        fs::rename(&file, memory.path().join("elsewhere")).expect("moved");
        std::os::unix::fs::symlink("elsewhere", &file).expect("linked");
        fs::set_permissions(memory.path().join("elsewhere"), fs::Permissions::from_mode(0o600))
            .expect("changed");
        assert!(!believed(BOOT), "it is a link");
        fs::remove_file(&file).expect("removed");
        fs::write(&file, "{").expect("written");
        assert!(!believed(BOOT), "it is torn");
    }

    #[test]
    fn the_memory_stays_small() {
        let mut verified = Verified::default();
        let look = Look { device: 1, inode: 1, size: 1, modified: (0, 0), changed: (0, 0) };
        for number in 0..3 * MOST {
            verified.remember(Seen { path: number.to_string().into(), sha256: ABC.to_owned(), look });
        }
        assert_eq!(verified.files.len(), MOST);
        assert_eq!(
            verified.files.last().map(|seen| seen.path.clone()),
            Some((3 * MOST - 1).to_string().into())
        );
    }
}
