// SPDX-License-Identifier: GPL-3.0-only
//! The daemons of a Xen host, as `/proc` shows them. Paths are below `root`, which is `/` but for tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Where xenconsoled writes unless it is told otherwise.
const LOG_DIRECTORY: &str = "/var/log/xen/console";

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The name of its program, at most 15 bytes of it.
    pub(crate) name: String,
}

/// The process of this id, unless it has ended and waits to be reaped.
pub(crate) fn process(root: &Path, pid: u32) -> Option<Process> {
    if arguments(root, pid).is_empty() {
        return None;
    }
    let name = fs::read_to_string(root.join(format!("proc/{pid}/comm"))).ok()?;
    Some(Process { pid, name: name.trim_end().to_owned() })
}

/// The first process whose program has one of these names.
///
/// By its name, because neither a pid file nor a lock is reliable: systemd starts the daemons without.
pub(crate) fn find(root: &Path, names: &[&str]) -> Option<Process> {
    let entries = fs::read_dir(root.join("proc")).ok()?;
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter()
        .filter_map(|pid| process(root, pid))
        .find(|process| names.contains(&process.name.as_str()))
}

/// The xenconsoled of this host.
pub(crate) fn xenconsoled(root: &Path) -> Option<Process> {
    find(root, &["xenconsoled"])
}

/// The command line of a process; empty when it is no more.
fn arguments(root: &Path, pid: u32) -> Vec<String> {
    let line = fs::read(root.join(format!("proc/{pid}/cmdline"))).unwrap_or_default();
    let words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// What xenconsoled logs of domains, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsoleLogging {
    /// Whether it logs the consoles of domains at all.
    pub(crate) enabled: bool,
    pub(crate) directory: PathBuf,
}

impl ConsoleLogging {
    /// As the running xenconsoled was told; as it would be told by default when none runs.
    pub(crate) fn of_host(root: &Path) -> Self {
        let line = xenconsoled(root).map(|process| arguments(root, process.pid)).unwrap_or_default();
        Self::of(line.iter().skip(1).map(String::as_str))
    }

    fn of<'a>(mut words: impl Iterator<Item = &'a str>) -> Self {
        let mut this = Self { enabled: false, directory: PathBuf::from(LOG_DIRECTORY) };
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None if matches!(word, "--log" | "--log-dir") => (word, words.next()),
                None => (word, None),
            };
            match (option, value) {
                ("--log", Some(value)) => this.enabled = matches!(value, "guest" | "all"),
                ("--log-dir", Some(value)) => this.directory = PathBuf::from(value),
                _ => {}
            }
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_process(root: &Path, pid: u32, name: &str, arguments: &str) {
        let directory = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("comm"), format!("{name}\n")).expect("a file");
        fs::write(directory.join("cmdline"), arguments.replace(' ', "\0")).expect("a file");
    }

    #[test]
    fn a_daemon_is_found_by_its_name_unless_it_is_a_zombie() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(xenconsoled(root.path()), None);
        with_process(root.path(), 7, "xenconsoled", "");
        with_process(root.path(), 8, "sh", "sh -c xenconsoled");
        assert_eq!(xenconsoled(root.path()), None);
        with_process(root.path(), 12, "xenconsoled", "/usr/lib/xen/bin/xenconsoled");
        assert_eq!(xenconsoled(root.path()).map(|process| process.pid), Some(12));
    }

    #[test]
    fn both_forms_of_its_options_are_read_and_the_last_counts() {
        let of = |line: &str| ConsoleLogging::of(line.split_whitespace());
        let logging = |enabled, directory: &str| ConsoleLogging { enabled, directory: directory.into() };
        assert_eq!(of("--pid-file=/x"), logging(false, LOG_DIRECTORY));
        assert_eq!(of("--log=hv"), logging(false, LOG_DIRECTORY));
        assert_eq!(of("-i --log guest --log-dir /a"), logging(true, "/a"));
        assert_eq!(of("--log=all --log-dir=/b --log=none"), logging(false, "/b"));
    }

    #[test]
    fn the_options_of_the_running_one_count() {
        let root = tempfile::tempdir().expect("a directory");
        with_process(root.path(), 9, "xenconsoled", "xenconsoled --log=all --log-dir=/c");
        let logging = ConsoleLogging::of_host(root.path());
        assert_eq!(logging, ConsoleLogging { enabled: true, directory: "/c".into() });
    }
}
