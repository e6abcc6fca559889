// SPDX-License-Identifier: GPL-3.0-only
//! What the dynamic loader of a program brings along: its configuration, its cache, and its own directories.

use std::path::{Path, PathBuf};

use super::cache::{self, Cached};
use crate::{ImageError, Root};

const CACHE: &str = "/etc/ld.so.cache";
const CONFIG: &str = "/etc/ld.so.conf";
/// For an object that names no loader. Debian's looks into the multiarch ones, others into `lib64`.
const DIRECTORIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// glibc's loader, in any root that has one.
const GNU: &str = "/lib64/ld-linux-x86-64.so.2";
const MUSL: (&str, &str) = ("ld-musl-", ".so.1");
const MUSL_DIRECTORIES: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// musl's loader has these in itself, whatever follows the name.
const MUSL_OWN: [&str; 7] =
    ["libc.so", "libpthread.so", "librt.so", "libm.so", "libdl.so", "libutil.so", "libxnet.so"];
const MUSL_LIBC: &str = "libc.musl-";
/// As deep as `include` in `ld.so.conf` is followed.
const MAX_DEPTH: usize = 4;

/// Whose loader it is: they search differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Libc {
    /// glibc's `ld-linux`.
    Gnu,
    /// `ld-musl`.
    Musl,
}

/// A loader, as far as finding libraries goes.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    /// Whose it is.
    pub libc: Libc,
    /// Where it is itself, if the program names one.
    pub path: Option<PathBuf>,
    /// A file that it reads, and that an image must have too.
    pub config: Option<PathBuf>,
    /// What `ld.so.cache` knows.
    pub cache: Vec<Cached>,
    /// The directories of `ld.so.conf`, which a root without a cache is searched in, as `ldconfig` would.
    pub configured: Vec<PathBuf>,
    /// Where it looks last.
    pub directories: Vec<PathBuf>,
}

impl Loader {
    /// Reads what `root` says about the loader at `path`; for an object that names none, about the one that is there.
    pub(super) fn read(root: &Root, path: Option<&str>) -> Result<Self, ImageError> {
        let path = path.map(PathBuf::from);
        let file = path.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        let arch = |name: &str| Some(name.strip_prefix(MUSL.0)?.strip_suffix(MUSL.1)?.to_owned());
        let arch = match file {
            Some(name) => arch(name),
            None if root.resolve(GNU)?.is_some() => None,
            None => {
                let found = root.glob(&Path::new("/lib").join(format!("{}*{}", MUSL.0, MUSL.1)))?;
                found.iter().find_map(|path| arch(path.file_name()?.to_str()?))
            }
        };
        match arch {
            Some(arch) => Self::musl(root, &arch, path),
            None => Self::gnu(root, path),
        }
    }

    fn gnu(root: &Root, path: Option<PathBuf>) -> Result<Self, ImageError> {
        let own = match &path {
            Some(path) => root.read(path)?.and_then(|loader| built_in(&loader)),
            None => None,
        };
        let cache = root.read(CACHE)?.and_then(|cache| cache::parse(&cache)).unwrap_or_default();
        let configured = if cache.is_empty() { configured(root, Path::new(CONFIG), 0)? } else { Vec::new() };
        let directories = own.unwrap_or_else(|| DIRECTORIES.map(PathBuf::from).to_vec());
        Ok(Self { libc: Libc::Gnu, path, config: None, cache, configured, directories })
    }

    fn musl(root: &Root, arch: &str, path: Option<PathBuf>) -> Result<Self, ImageError> {
        let config = PathBuf::from(format!("/etc/ld-musl-{arch}.path"));
        let text = root.read(&config)?;
        let directories = match &text {
            Some(text) => String::from_utf8_lossy(text)
                .split(['\n', ':'])
                .filter(|entry| !entry.is_empty())
                .map(PathBuf::from)
                .collect(),
            None => MUSL_DIRECTORIES.map(PathBuf::from).to_vec(),
        };
        let config = text.is_some().then_some(config);
        Ok(Self { libc: Libc::Musl, path, config, cache: Vec::new(), configured: Vec::new(), directories })
    }

    /// Whether the loader itself is this library.
    pub(super) fn is(&self, name: &str) -> bool {
        let file = self.path.as_deref().and_then(Path::file_name);
        match self.libc {
            Libc::Gnu => file.is_some_and(|file| file == name),
            Libc::Musl => {
                file.is_some_and(|file| file == name)
                    || name.starts_with(MUSL_LIBC)
                    || MUSL_OWN.iter().any(|own| name.starts_with(own))
            }
        }
    }

    /// What `$LIB` stands for.
    pub(super) fn lib(&self) -> String {
        let first = self.directories.first().map(|path| path.to_string_lossy().into_owned());
        first.unwrap_or_default().trim_start_matches('/').to_owned()
    }
}

/// The directories that are built into glibc's loader: strings that end in `/`, one after the other.
fn built_in(loader: &[u8]) -> Option<Vec<PathBuf>> {
    let directory = |text: &&[u8]| text.starts_with(b"/") && text.ends_with(b"/") && text.is_ascii();
    let starts = [b"\0/lib".as_slice(), b"\0/usr/lib"];
    let at = loader.windows(9).position(|window| starts.iter().any(|start| window.starts_with(start)))?;
    // Other texts that begin so are not directories.
    let from = &loader[at + 1..];
    let list: Vec<PathBuf> = from
        .split(|byte| *byte == 0)
        .take_while(directory)
        .filter_map(|text| Some(PathBuf::from(std::str::from_utf8(text).ok()?.trim_end_matches('/'))))
        .collect();
    if list.is_empty() { built_in(from) } else { Some(list) }
}

/// The directories that `ld.so.conf` and what it includes name.
fn configured(root: &Root, file: &Path, depth: usize) -> Result<Vec<PathBuf>, ImageError> {
    let mut directories = Vec::new();
    let Some(text) = root.read(file)?.filter(|_| depth < MAX_DEPTH) else { return Ok(directories) };
    for line in String::from_utf8_lossy(&text).lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(patterns) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            for pattern in patterns.split_whitespace() {
                let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
                for included in root.glob(&pattern)? {
                    directories.extend(configured(root, &included, depth + 1)?);
                }
            }
        } else if line.starts_with('/') {
            // `DIR=TYPE` is how old ones told libc5 from libc6.
            let directory = line.split('=').next().unwrap_or(line);
            directories.push(Path::new(directory.trim_end()).components().collect());
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_directories_of_the_running_loader_are_read_from_it() {
        let loader = Loader::read(&Root::new("/"), Some("/lib64/ld-linux-x86-64.so.2")).unwrap();
        let output =
            std::process::Command::new("/lib64/ld-linux-x86-64.so.2").arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let told: Vec<PathBuf> = help
            .lines()
            .filter_map(|line| line.trim().strip_suffix(" (system search path)"))
            .map(PathBuf::from)
            .collect();
        assert!(!told.is_empty(), "{help}");
        assert_eq!(loader.directories, told);
    }

    #[test]
    fn includes_are_followed_in_order_with_their_wildcards() {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path().join("etc");
        fs::create_dir_all(etc.join("ld.so.conf.d")).unwrap();
        fs::write(etc.join("ld.so.conf"), "include ld.so.conf.d/*.conf other\n/last/\n").unwrap();
        fs::write(etc.join("other"), "/other=libc6\ninclude ld.so.conf\n").unwrap();
        for (name, text) in [("b.conf", "/b # ours\n"), ("a.conf", "/a\n\n/a2\n"), ("c.txt", "/c\n")] {
            fs::write(etc.join("ld.so.conf.d").join(name), text).unwrap();
        }
        let found = configured(&Root::new(directory.path()), Path::new(CONFIG), 0).unwrap();
        let once: Vec<&Path> = found.iter().map(PathBuf::as_path).take(4).collect();
        assert_eq!(once, ["/a", "/a2", "/b", "/other"].map(Path::new));
        assert_eq!(found.last().unwrap(), Path::new("/last"));
    }

    #[test]
    fn musl_reads_its_own_configuration_and_is_its_own_libc() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let read = || Loader::read(&root, Some("/lib/ld-musl-x86_64.so.1")).unwrap();
        assert_eq!(read().directories, MUSL_DIRECTORIES.map(PathBuf::from));
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/ld-musl-x86_64.path"), "/a:/b\n/c\n").unwrap();
        assert_eq!(read().directories, ["/a", "/b", "/c"].map(PathBuf::from));
        for own in ["libc.so", "libpthread.so.0", "libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1"] {
            assert!(read().is(own), "{own}");
        }
        assert!(!read().is("libcrypt.so") && !read().is("libz.so"));
    }

    #[test]
    fn an_object_that_names_no_loader_has_the_one_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (root, put) = (Root::new(directory.path()), |path: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        });
        let libc = || Loader::read(&root, None).unwrap().libc;
        assert_eq!(libc(), Libc::Gnu);
        put("lib/ld-musl-aarch64.so.1");
        assert_eq!(libc(), Libc::Musl);
        // Debian's package musl beside its own libc.
        put("lib64/ld-linux-x86-64.so.2");
        assert_eq!(libc(), Libc::Gnu);
    }
}
