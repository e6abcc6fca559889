// SPDX-License-Identifier: GPL-3.0-only
//! `ld.so.cache` in the format that glibc has written since 2.2.
//!
//! A header (its magic and version, the number of entries, the length of the strings), entries of 24 bytes (flags,
//! offset of the name, offset of the path, and others), strings. Offsets count from the header. Before 2.32 a cache in
//! the old format, for libc5, came first.

use std::path::PathBuf;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const COUNT: usize = 20;
const HEADER: usize = 48;
const ENTRY: usize = 24;
const NAME: usize = 4;
const PATH: usize = 8;
const HWCAP: std::ops::Range<usize> = 16..24;

/// A library that the cache knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cached {
    /// The name that is looked for.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Whether only some CPUs can run it.
    pub variant: bool,
}

/// What is in a cache, in its order; nothing if it is none.
pub(super) fn parse(file: &[u8]) -> Option<Vec<Cached>> {
    let at = file.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let cache = &file[at..];
    let number = |at: usize| {
        let bytes = cache.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let string = |at: usize| {
        let bytes = cache.get(at..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        String::from_utf8(bytes[..end].to_vec()).ok()
    };
    let entries = (0..number(COUNT)?).map(|index| HEADER + index * ENTRY);
    let cached = |entry: usize| {
        let hwcap = cache.get(entry + HWCAP.start..entry + HWCAP.end)?;
        Some(Cached {
            name: string(number(entry + NAME)?)?,
            path: string(number(entry + PATH)?)?.into(),
            variant: hwcap.iter().any(|byte| *byte != 0),
        })
    };
    entries.map(cached).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_cache_that_ldconfig_makes_reads_as_ldconfig_prints_it() {
        let ldconfig = "/sbin/ldconfig";
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        // Its own cache, of the machine's libraries, so that the test needs no root and no state.
        let config = directory.path().join("conf");
        std::fs::write(&config, "/usr/lib/x86_64-linux-gnu\n").unwrap();
        let run = |arguments: &[&str]| {
            Command::new(ldconfig)
                .arg("-C")
                .arg(&cache)
                .arg("-f")
                .arg(&config)
                .args(arguments)
                .output()
                .unwrap()
        };
        assert!(run(&["-X"]).status.success());
        let printed = String::from_utf8(run(&["-p"]).stdout).unwrap();
        let told: Vec<(String, PathBuf)> = printed
            .lines()
            .filter_map(|line| line.trim().split_once(" => "))
            .map(|(name, path)| (name.split(' ').next().unwrap().to_owned(), path.into()))
            .collect();
        assert!(told.len() > 5, "{printed}");
        let bytes = std::fs::read(&cache).unwrap();
        let read = parse(&bytes).unwrap();
        assert_eq!(parse(&[b"ld.so-1.7.0\0padding".as_slice(), &bytes].concat()).unwrap(), read);
        let read: Vec<(String, PathBuf)> =
            read.into_iter().map(|cached| (cached.name, cached.path)).collect();
        assert_eq!(read, told);
    }

    #[test]
    fn a_broken_cache_is_none() {
        assert_eq!(parse(b"text"), None);
        let cut = [MAGIC, &[9, 0, 0, 0], &[0; 30]].concat();
        assert_eq!(parse(&cut), None);
    }
}
