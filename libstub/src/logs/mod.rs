// SPDX-License-Identifier: GPL-3.0-only
//! What guest and stubdomain said on their consoles: from xenconsoled's log files, or else from the console's ring.

mod tail;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use proto::keys;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use serde::Serialize;
use xen_sys::Gfn;

use crate::config::Name;
use crate::console;
use crate::host::Host;
use crate::host::daemons::ConsoleLogging;
use crate::journal::Journal;
use crate::lifecycle::{ShowError, domains_of};
use tail::Tail;

/// Whose console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSource {
    /// The guest's.
    Guest,
    /// The stubdomain's, which has QEMU's words as well.
    Stubdom,
}

impl LogSource {
    /// Both, the stubdomain first: it speaks first.
    pub const ALL: [Self; 2] = [Self::Stubdom, Self::Guest];

    /// The source as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Stubdom => "stubdom",
        }
    }
}

/// A line of a console: printable ASCII, and not longer than a terminal bears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Whose.
    pub domain: LogSource,
    /// The line, escaped.
    pub line: String,
}

/// The log files of a pair. They outlive it.
#[derive(Debug)]
pub struct ConsoleLogs {
    logging: ConsoleLogging,
    tails: Vec<(LogSource, Tail)>,
    inotify: Option<OwnedFd>,
}

impl ConsoleLogs {
    /// The logs of a pair of this name, where this host's xenconsoled writes them.
    pub fn new(name: &Name, sources: &[LogSource]) -> Self {
        Self::with(ConsoleLogging::of_host(Path::new("/")), name, sources)
    }

    fn with(logging: ConsoleLogging, name: &Name, sources: &[LogSource]) -> Self {
        let path = |source| {
            let domain = match source {
                LogSource::Guest => name.as_str().to_owned(),
                LogSource::Stubdom => name.stubdom(),
            };
            logging.directory.join(format!("guest-{domain}.log"))
        };
        let tails = sources.iter().map(|&source| (source, Tail::new(path(source)))).collect();
        Self { logging, tails, inotify: None }
    }

    /// Whether xenconsoled writes such files now.
    pub fn enabled(&self) -> bool {
        self.logging.enabled
    }

    /// The files that exist.
    pub fn files(&self) -> Vec<(LogSource, &Path)> {
        let exists = |(_, path): &(LogSource, &Path)| path.is_file();
        self.tails.iter().map(|(source, tail)| (*source, tail.path())).filter(exists).collect()
    }

    /// The last lines of each file.
    ///
    /// # Errors
    /// When a file cannot be read; one that does not exist has no lines.
    pub fn last(&mut self, lines: usize) -> io::Result<Vec<LogLine>> {
        let mut all = Vec::new();
        for (domain, tail) in &mut self.tails {
            let domain = *domain;
            all.extend(tail.last(lines)?.into_iter().map(|line| LogLine { domain, line }));
        }
        Ok(all)
    }

    /// Makes the descriptor readable from now on when something is added; its directory must exist.
    ///
    /// # Errors
    /// When there is no directory, or the kernel has no more watches.
    pub fn watch(&mut self) -> io::Result<RawFd> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Of the directory: a log that is rotated, or not there yet, is seen as well.
        let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, &self.logging.directory, events | WatchFlags::ONLYDIR)?;
        Ok(self.inotify.insert(inotify).as_raw_fd())
    }

    /// Some of what was added since the last look, and whether there may be more; takes all events that wait.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn added(&mut self) -> io::Result<(Vec<LogLine>, bool)> {
        // Drained before the files are read: what is written meanwhile is an event again.
        if let Some(inotify) = &self.inotify {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(inotify, &mut buffer);
            loop {
                match events.next() {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let (mut all, mut more) = (Vec::new(), false);
        for (domain, tail) in &mut self.tails {
            let (lines, again) = tail.added()?;
            more |= again;
            all.extend(lines.into_iter().map(|line| LogLine { domain: *domain, line }));
        }
        Ok((all, more))
    }

    /// What the files end in without a line feed: for when nothing more will come.
    pub fn remainder(&mut self) -> Vec<LogLine> {
        let rest = |(domain, tail): &mut (LogSource, Tail)| {
            let domain = *domain;
            tail.remainder().map(|line| LogLine { domain, line })
        };
        self.tails.iter_mut().filter_map(rest).collect()
    }
}

/// The last lines that are still in the ring of a live domain's console: all there is when xenconsoled keeps no log.
///
/// # Errors
/// When there is no such pair, or it cannot be looked at.
pub fn last_words(
    host: &dyn Host,
    journal: &Journal,
    name: &Name,
    sources: &[LogSource],
) -> Result<Vec<LogLine>, ShowError> {
    let (guest, stubdom) = domains_of(host, journal, name)?;
    let mut all = Vec::new();
    for &domain in sources {
        let domid = match domain {
            LogSource::Guest => guest,
            LogSource::Stubdom => stubdom,
        };
        let Some(domid) = domid else { continue };
        // dom0's node, which the domain cannot write.
        let ring = host.read(&format!("{}/console/ring-ref", keys::home(domid.get())))?;
        let gfn = ring.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
        if let Some(gfn) = gfn {
            let page = host.copy_page(domid, Gfn::new(gfn))?;
            all.extend(console::last_lines(&page).into_iter().map(|line| LogLine { domain, line }));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_files_of_both_domains_are_found_followed_and_told_apart() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name);
        let name = Name::new("g").expect("a name");
        let logging = ConsoleLogging { enabled: true, directory: directory.path().to_owned() };
        let mut logs = ConsoleLogs::with(logging, &name, &LogSource::ALL);
        assert_eq!(logs.files(), []);
        fs::write(file("guest-g-dm.log"), "kernel\n").expect("written");
        fs::write(file("guest-other.log"), "no\n").expect("written");
        logs.watch().expect("a directory");
        let line = |domain, line: &str| LogLine { domain, line: line.to_owned() };
        assert_eq!(logs.last(9).expect("readable"), [line(LogSource::Stubdom, "kernel")]);
        fs::write(file("guest-g.log"), "boot\nlogin: ").expect("written");
        assert_eq!(logs.added().expect("readable"), (vec![line(LogSource::Guest, "boot")], true));
        assert_eq!(logs.remainder(), [line(LogSource::Guest, "login: ")]);
        assert_eq!(logs.files().len(), 2);
    }
}
