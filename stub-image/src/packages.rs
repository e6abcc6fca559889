// SPDX-License-Identifier: GPL-3.0-only
//! Which Debian package each file of a root belongs to, as dpkg's records there tell it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{ImageError, Root};

const LISTS: &str = "/var/lib/dpkg/info";
const STATUS: &str = "/var/lib/dpkg/status";

/// The owners of a root's files; empty for a root that dpkg does not manage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    owners: BTreeMap<PathBuf, String>,
    versions: BTreeMap<String, String>,
}

impl Packages {
    /// Reads dpkg's records in `root`.
    pub fn read(root: &Root) -> Result<Self, ImageError> {
        let mut owners = BTreeMap::new();
        for name in root.list(LISTS)? {
            let Some(package) = name.to_str().and_then(|name| name.strip_suffix(".list")) else { continue };
            // `libc6:amd64` is libc6, of the one architecture that an image has.
            let package = package.split(':').next().unwrap_or(package);
            let list = root.read(Path::new(LISTS).join(&name))?.unwrap_or_default();
            for path in String::from_utf8_lossy(&list).lines() {
                owners.insert(unmerged(Path::new(path)).to_owned(), package.to_owned());
            }
        }
        let status = root.read(STATUS)?.unwrap_or_default();
        Ok(Self { owners, versions: versions(&String::from_utf8_lossy(&status)) })
    }

    /// The package that `path` is from.
    pub fn of(&self, path: &Path) -> Option<&str> {
        self.owners.get(unmerged(path)).map(String::as_str)
    }

    /// The version of `package`.
    pub fn version(&self, package: &str) -> Option<&str> {
        self.versions.get(package).map(String::as_str)
    }
}

/// The path without a leading `/usr`: a package may list `/lib/x` where the root has it as `/usr/lib/x`.
fn unmerged(path: &Path) -> &Path {
    path.strip_prefix("/usr").or_else(|_| path.strip_prefix("/")).unwrap_or(path)
}

fn versions(status: &str) -> BTreeMap<String, String> {
    let field = |paragraph: &str, name: &str| {
        paragraph.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    status
        .split("\n\n")
        .filter_map(|paragraph| Some((field(paragraph, "Package:")?, field(paragraph, "Version:")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_has_its_package_whichever_way_usr_is_merged() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("var/lib/dpkg");
        fs::create_dir_all(at.join("info")).unwrap();
        fs::write(at.join("info/libc6:amd64.list"), "/.\n/lib/libc.so.6\n/usr/share/doc/libc6\n").unwrap();
        fs::write(at.join("info/libc6:amd64.md5sums"), "/lib/other\n").unwrap();
        fs::write(
            at.join("status"),
            "Package: libc6\nStatus: installed\nVersion: 2.36-9\nDescription: x\n\nPackage: gone\n",
        )
        .unwrap();
        let packages = Packages::read(&Root::new(directory.path())).unwrap();
        assert_eq!(packages.of(Path::new("/usr/lib/libc.so.6")), Some("libc6"));
        assert_eq!(packages.of(Path::new("/lib/libc.so.6")), Some("libc6"));
        assert_eq!(packages.of(Path::new("/lib/other")), None);
        assert_eq!(packages.version("libc6"), Some("2.36-9"));
        assert_eq!(packages.version("gone"), None);
    }

    #[test]
    fn a_root_without_dpkg_has_no_packages() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Packages::read(&Root::new(directory.path())).unwrap(), Packages::default());
    }
}
