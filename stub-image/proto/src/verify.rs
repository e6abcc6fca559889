// SPDX-License-Identifier: GPL-3.0-only
//! Checks the files of an image directory against the digests in its manifest.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::manifest::Manifest;

/// A file that is not what the manifest says.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It has other bytes.
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest in the manifest.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "{} cannot be read: {source}", path.display()),
            Self::Digest { path, expected, found } => {
                write!(f, "{} has SHA-256 {found}, and its manifest says {expected}", path.display())
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Every fault of the image in `directory`: one look at each file.
pub fn faults(directory: &Path, manifest: &Manifest) -> Vec<Fault> {
    manifest
        .digests
        .iter()
        .filter_map(|(name, expected)| file(&directory.join(name), expected).err())
        .collect()
}

/// Checks one file.
pub fn file(path: &Path, expected: &str) -> Result<(), Fault> {
    let found = digest(path).map_err(|source| Fault::Unreadable { path: path.to_owned(), source })?;
    if found == expected {
        return Ok(());
    }
    Err(Fault::Digest { path: path.to_owned(), expected: expected.to_owned(), found })
}

/// The SHA-256 of a file, in hexadecimal digits.
fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            length => hash.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Arguments, Kind};
    use std::collections::BTreeMap;
    use std::fs;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn manifest() -> Manifest {
        Manifest {
            protocol: 1,
            kind: Kind::default(),
            arguments: Arguments::default(),
            xen: "4.17".into(),
            qemu: String::new(),
            kernel: String::new(),
            kernel_origin: None,
            rootfs: "erofs".into(),
            cmdline: String::new(),
            debug_shell: false,
            min_memory_mib: 64,
            usual_memory_mib: None,
            digests: BTreeMap::from(["kernel", "rootfs.img"].map(|name| (name.to_owned(), ABC.to_owned()))),
            packages: BTreeMap::new(),
            contents: Vec::new(),
        }
    }

    #[test]
    fn each_file_that_is_corrupt_cut_swapped_or_gone_is_named_with_both_digests() {
        let image = tempfile::tempdir().unwrap();
        let at = |name: &str| image.path().join(name);
        fs::write(at("kernel"), "abc").unwrap();
        fs::write(at("rootfs.img"), "abc").unwrap();
        assert!(faults(image.path(), &manifest()).is_empty());
        for other in ["abd", "ab", ""] {
            fs::write(at("kernel"), other).unwrap();
            let [Fault::Digest { path, expected, found }] = &faults(image.path(), &manifest())[..] else {
                panic!("one digest is wrong");
            };
            assert_eq!((path, expected.as_str()), (&at("kernel"), ABC));
            assert_ne!(found, ABC);
        }
        fs::remove_file(at("rootfs.img")).unwrap();
        let faults = faults(image.path(), &manifest());
        assert_eq!(faults.len(), 2);
        assert!(faults[1].to_string().contains("rootfs.img cannot be read: No such file"));
    }
}
