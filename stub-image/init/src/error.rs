// SPDX-License-Identifier: GPL-3.0-only
//! Why PID 1 could not do its work.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::power::End;

/// Why PID 1 could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A filesystem could not be mounted.
    #[error("mounting {what} on {on} failed")]
    Mount {
        /// The device, or the type of a filesystem without one.
        what: String,
        /// The mount point.
        on: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// A file could not be read or written.
    #[error("{operation} {path} failed")]
    File {
        /// What was tried, such as `reading`.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a module.
    #[error("loading kernel module {path} with parameters '{parameters}' failed")]
    Module {
        /// The module's file.
        path: String,
        /// What it was given.
        parameters: String,
        /// What the kernel said.
        source: Errno,
    },
    /// A device did not appear.
    #[error("{path} did not appear within {deadline:?}: is its backend attached?")]
    NoDevice {
        /// The device's node.
        path: PathBuf,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// The new root could not become the root.
    #[error("changing the root to {to} failed")]
    SwitchRoot {
        /// Where the new root is mounted.
        to: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// A key in xenstore could not be read, written or watched.
    #[error("{operation} xenstore key {key} failed")]
    Store {
        /// What was tried, such as `reading`.
        operation: &'static str,
        /// On which key.
        key: String,
        /// What xenstore said.
        source: io::Error,
    },
    /// A key in xenstore holds something else than the protocol says.
    #[error("xenstore key {key} holds '{value}', which is no {want}")]
    Value {
        /// The key.
        key: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        want: &'static str,
    },
    /// A program could not be started.
    #[error("starting {program} failed")]
    Start {
        /// The program.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Signals could not be received through a descriptor.
    #[error("waiting for events failed")]
    Wait {
        /// What the kernel said.
        source: Errno,
    },
    /// A channel to the toolstack could not be made.
    #[error("{operation} the QMP channel failed")]
    Channel {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A network interface could not be made, or found.
    #[error("{operation} the network interface {name} failed")]
    Network {
        /// What was tried.
        operation: &'static str,
        /// The interface.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// QEMU ended, which ends the stubdomain.
    #[error("QEMU ended: {end}{}", said(last_words))]
    QemuEnded {
        /// How.
        end: QemuEnd,
        /// What it said last.
        last_words: String,
    },
}

/// How QEMU ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QemuEnd {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// The value of `stub/qemu-exit`.
impl fmt::Display for QemuEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

fn said(last_words: &str) -> String {
    if last_words.is_empty() { String::new() } else { format!("; it said: {last_words}") }
}

impl InitError {
    /// How the domain is to end for it.
    pub fn end(&self) -> End {
        match self {
            Self::QemuEnded { end: QemuEnd::Exit(_), .. } => End::PowerOff,
            _ => End::Crash,
        }
    }

    /// The error and what caused it, in one line.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}
