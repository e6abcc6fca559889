// SPDX-License-Identifier: GPL-3.0-only
//! A kernel with only what a stubdomain needs, built from the distribution's kernel source package.
//!
//! Built once for each pair of source, configuration and compiler; the result is kept below the cache directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::image::digest;
use crate::kernel::vmlinux::{self, Vmlinux};
use crate::{ImageError, Root};

/// What our kernel needs beyond `allnoconfig`.
pub const CONFIG: &str = include_str!("../../kernel/minimal.config");
/// Where Debian's packages `linux-source-*` put the archive.
const SOURCES: &str = "/usr/src";
const ARCHIVE: (&str, &str) = ("linux-source-", ".tar.xz");
/// The same at every build, in place of who built it where and when.
const IDENTITY: [(&str, &str); 5] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu, 01 Jan 1970 00:00:00 +0000"),
    ("KBUILD_BUILD_USER", "stub-image"),
    ("KBUILD_BUILD_HOST", "stubctl"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];
/// What a caller may have set for kernels of his own.
const OTHERS: [&str; 10] = [
    "ARCH",
    "CROSS_COMPILE",
    "KAFLAGS",
    "KBUILD_OUTPUT",
    "KCFLAGS",
    "KCONFIG_CONFIG",
    "KCPPFLAGS",
    "LLVM",
    "LOCALVERSION",
    "MAKEFLAGS",
];
const VMLINUX: &str = "vmlinux";
const LOG: &str = "build.log";
/// Held by the one build that runs.
const LOCK: &str = "lock";
/// What of the log an error shows.
const TAIL: usize = 2000;

/// A kernel to build.
#[derive(Debug, Clone)]
pub struct Minimal {
    /// The archive of the source.
    pub source: PathBuf,
    /// Where built kernels are kept.
    pub cache: PathBuf,
}

impl Minimal {
    /// The newest source package of `root`, and the user's cache directory.
    pub fn new(root: &Root) -> Result<Self, ImageError> {
        let names = root.list(SOURCES)?;
        let mut archives: Vec<String> = names
            .iter()
            .filter_map(|name| name.to_str())
            .filter(|name| name.starts_with(ARCHIVE.0) && name.ends_with(ARCHIVE.1))
            .map(str::to_owned)
            .collect();
        archives.sort_by_key(|name| version(name));
        let archive = archives.pop().ok_or_else(|| ImageError::Missing {
            what: "the kernel's source",
            searched: vec![Path::new(SOURCES).join(format!("{}*{}", ARCHIVE.0, ARCHIVE.1))],
            root: root.directory().to_owned(),
            help: "install a package linux-source-* into the root, or name the archive with --kernel-source",
        })?;
        let inside = root.resolve(Path::new(SOURCES).join(&archive))?;
        let source = inside.map_or_else(|| SOURCES.into(), |resolved| root.outer(&resolved.path));
        Ok(Self { source, cache: cache() })
    }

    /// The kernel, built unless it was before; a build of the same one elsewhere is waited for.
    pub fn build(&self) -> Result<Vmlinux, ImageError> {
        let kept = self.kept()?;
        let file = kept.join(VMLINUX);
        if !file.is_file() {
            fs::create_dir_all(&self.cache).map_err(ImageError::file("making", &self.cache))?;
            let path = self.cache.join(LOCK);
            let lock = fs::File::create(&path).map_err(ImageError::file("making", &path))?;
            lock.lock().map_err(ImageError::file("locking", &path))?;
            if !file.is_file() {
                self.compile(&kept)?;
            }
        }
        let bytes = fs::read(&file).map_err(ImageError::file("reading", &file))?;
        vmlinux::read(&file, &bytes)
    }

    /// Where the kernel of this source, this configuration and this compiler is kept.
    fn kept(&self) -> Result<PathBuf, ImageError> {
        let archive = fs::read(&self.source).map_err(ImageError::file("reading", &self.source))?;
        let compiler = output(Command::new("cc").arg("--version"), "cc", "gcc")?;
        let linker = output(Command::new("ld").arg("--version"), "ld", "binutils")?;
        let parts = [&archive, CONFIG.as_bytes(), compiler.as_bytes(), linker.as_bytes()].map(digest);
        Ok(self.cache.join(format!("minimal-{}", &digest(parts.concat().as_bytes())[..16])))
    }

    fn compile(&self, kept: &Path) -> Result<(), ImageError> {
        let work = tempfile::Builder::new().prefix(".building-").tempdir_in(&self.cache);
        let work = work.map_err(ImageError::file("making a directory in", &self.cache))?;
        let begin = Instant::now();
        let tree = work.path().join("source");
        fs::create_dir(&tree).map_err(ImageError::file("making", &tree))?;
        let log = self.cache.join(LOG);
        let mut unpack = Command::new("tar");
        unpack.args(["--extract", "--strip-components=1", "--directory"]).arg(&tree).arg("--file");
        logged(unpack.arg(&self.source), "tar", "tar", &log)?;
        let fragment = work.path().join("fragment");
        fs::write(&fragment, CONFIG).map_err(ImageError::file("writing", &fragment))?;
        let make = || {
            let mut make = Command::new("make");
            for name in OTHERS {
                make.env_remove(name);
            }
            make.current_dir(&tree).envs(IDENTITY).env("KCONFIG_ALLCONFIG", &fragment);
            make
        };
        logged(make().arg("allnoconfig"), "make", "make flex bison gcc", &log)?;
        let config = tree.join(".config");
        let made = fs::read_to_string(&config).map_err(ImageError::file("reading", &config))?;
        let lost = lost(CONFIG, &made);
        if !lost.is_empty() {
            return Err(ImageError::ConfigLost { source_archive: self.source.clone(), lost });
        }
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        eprintln!("building a kernel from {}; this takes minutes, once", self.source.display());
        logged(
            make().arg(format!("-j{jobs}")).arg(VMLINUX),
            "make",
            "make flex bison bc gcc libelf-dev libssl-dev",
            &log,
        )?;
        let done = work.path().join("done");
        let built = tree.join(VMLINUX);
        let bytes = fs::read(&built).map_err(ImageError::file("reading", &built))?;
        let kernel = vmlinux::read(&built, &bytes)?;
        if !vmlinux::notes(&kernel).contains(&vmlinux::PVH_ENTRY) {
            let reason = "it has no entry for PVH domains of Xen".to_owned();
            return Err(ImageError::Kernel { path: built, reason });
        }
        fs::create_dir(&done)
            .and_then(|()| fs::write(done.join(VMLINUX), &kernel.elf))
            .and_then(|()| fs::write(done.join("config"), made))
            .and_then(|()| fs::rename(&done, kept))
            .map_err(ImageError::file("keeping the kernel in", kept))?;
        eprintln!("built Linux {} in {} s", kernel.release, begin.elapsed().as_secs());
        Ok(())
    }
}

/// The lines of `fragment` that `made` does not have: options that depend on what is not there, or that are no more.
fn lost(fragment: &str, made: &str) -> Vec<String> {
    // Linux 6.9 gave the mitigations of faults in CPUs a prefix.
    let timeless = |line: &str| line.replacen("CONFIG_MITIGATION_", "CONFIG_", 1);
    let made: std::collections::BTreeSet<String> = made.lines().map(timeless).collect();
    let wanted = fragment.lines().filter(|line| line.starts_with("CONFIG_") || line.starts_with("# CONFIG_"));
    wanted.filter(|line| !made.contains(&timeless(line))).map(str::to_owned).collect()
}

/// Where built kernels are kept: below the cache directory of the user.
pub fn cache() -> PathBuf {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    home.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("stubctl/kernels")
}

/// The numbers in `linux-source-6.1.tar.xz`, for comparing.
fn version(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn output(command: &mut Command, tool: &'static str, package: &'static str) -> Result<String, ImageError> {
    let output = command.output().map_err(|source| ImageError::NoTool { tool, package, source })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with its words in the file `log`, whose end is told if it fails.
fn logged(
    command: &mut Command,
    tool: &'static str,
    package: &'static str,
    log: &Path,
) -> Result<(), ImageError> {
    let file = fs::File::create(log).map_err(ImageError::file("writing", log))?;
    let errors = file.try_clone().map_err(ImageError::file("writing", log))?;
    let status = command.stdin(Stdio::null()).stdout(file).stderr(errors).status();
    let status = status.map_err(|source| ImageError::NoTool { tool, package, source })?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(log).unwrap_or_default();
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).trim().to_owned();
    Err(ImageError::Tool { tool, status, output: format!("… {tail}\n(all of it is in {})", log.display()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped::ignored;

    #[test]
    fn lines_of_the_fragment_that_did_not_hold_are_named() {
        let fragment = "# a remark\nCONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n";
        assert_eq!(lost(fragment, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\n").join("; "), {
            "CONFIG_B=y; # CONFIG_C is not set"
        });
        assert!(lost(CONFIG, CONFIG).is_empty());
    }

    #[test]
    fn every_kernel_that_this_machine_has_built_starts_as_pv_and_as_pvh() {
        let built = fs::read_dir(cache()).into_iter().flatten().flatten();
        let built: Vec<PathBuf> =
            built.map(|entry| entry.path().join(VMLINUX)).filter(|file| file.is_file()).collect();
        if built.is_empty() {
            ignored("no kernel was built here");
        }
        for file in built {
            let notes = vmlinux::notes(&vmlinux::read(&file, &fs::read(&file).unwrap()).unwrap());
            assert!(
                notes.contains(&vmlinux::PV_ENTRY) && notes.contains(&vmlinux::PVH_ENTRY),
                "{file:?}: {notes:?}"
            );
        }
    }

    #[test]
    fn a_kernel_is_kept_by_its_source_wherever_that_lies() {
        let directory = tempfile::tempdir().unwrap();
        let kept = |name: &str, bytes: &str| {
            let source = directory.path().join(name);
            fs::write(&source, bytes).unwrap();
            Minimal { source, cache: "/cache".into() }.kept().unwrap()
        };
        assert_eq!(kept("a", "one"), kept("b", "one"));
        assert_ne!(kept("a", "one"), kept("a", "two"));
        assert!(kept("a", "one").starts_with("/cache"));
    }

    #[test]
    fn a_mitigation_holds_under_either_of_its_names() {
        let fragment = "CONFIG_RETPOLINE=y\nCONFIG_MITIGATION_RETPOLINE=y\n";
        for made in ["CONFIG_RETPOLINE=y\n", "CONFIG_MITIGATION_RETPOLINE=y\n"] {
            assert!(lost(fragment, made).is_empty());
        }
        assert_eq!(lost(fragment, "# CONFIG_MITIGATION_RETPOLINE is not set\n").len(), 2);
    }

    #[test]
    fn the_newest_source_of_a_root_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        assert!(matches!(Minimal::new(&root), Err(ImageError::Missing { .. })));
        let sources = directory.path().join("usr/src");
        fs::create_dir_all(&sources).unwrap();
        for name in
            ["linux-source-6.1.tar.xz", "linux-source-6.12.tar.xz", "linux-source-6.9.tar.xz", "other"]
        {
            fs::write(sources.join(name), "").unwrap();
        }
        let source = Minimal::new(&root).unwrap().source;
        assert_eq!(source.file_name().unwrap(), "linux-source-6.12.tar.xz");
    }

    #[test]
    fn a_source_that_does_not_unpack_is_told_with_the_tools_words() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("linux-source-6.1.tar.xz");
        fs::write(&source, "no archive").unwrap();
        let minimal = Minimal { source, cache: directory.path().join("cache") };
        let error = minimal.build().unwrap_err().to_string();
        assert!(error.starts_with("tar failed with exit status: 2: … "), "{error}");
        let left = fs::read_dir(&minimal.cache).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<std::collections::BTreeSet<_>>(), [LOG, LOCK].map(Into::into).into());
    }

    #[test]
    fn a_build_of_the_same_kernel_elsewhere_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("linux-source-6.1.tar.xz");
        fs::write(&source, "no archive, so a build would fail").unwrap();
        let minimal = Minimal { source, cache: directory.path().to_owned() };
        let lock = fs::File::create(directory.path().join(LOCK)).unwrap();
        lock.lock().unwrap();
        let second = minimal.clone();
        let waiting = std::thread::spawn(move || second.build());
        let kept = minimal.kept().unwrap();
        fs::create_dir(&kept).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!waiting.is_finished());
        fs::write(kept.join(VMLINUX), vmlinux::tests::vmlinux(vmlinux::tests::XEN)).unwrap();
        drop(lock);
        assert_eq!(waiting.join().unwrap().unwrap().release, "6.1.0-9");
    }
}
