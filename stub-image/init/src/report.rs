// SPDX-License-Identifier: GPL-3.0-only
//! What PID 1 tells the toolstack, below `device-model/<guest>/stub/`.

use std::io;

use proto::keys::{self, name};
use proto::{MAX_FAILED, PROTOCOL, Stage};
use xenstore_rs::Xs as _;
use xenstore_rs::unix::XsUnix;

use crate::{InitError, QemuEnd, console};

/// The stubdomain's own view of xenstore, and the stage it reached.
pub struct Reporter {
    connection: Option<Connection>,
    stage: Option<Stage>,
}

struct Connection {
    store: XsUnix,
    guest: u16,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Reporter {
    /// A reporter that has not looked for xenstore yet: its device appears only when `/dev` is mounted.
    pub fn new() -> Self {
        Self { connection: None, stage: None }
    }

    /// Opens xenstore and reads which guest this stubdomain serves, and which stage it told of before.
    pub fn open(&mut self) -> Result<(), InitError> {
        self.connection = Some(Connection::open()?);
        let told = self.read_optional(&self.key(name::STAGE)?)?;
        self.stage = self.stage.or(told.and_then(|stage| Stage::parse(stage.as_bytes())));
        Ok(())
    }

    /// The guest this stubdomain serves.
    pub fn guest(&self) -> Result<u16, InitError> {
        self.connection().map(|connection| connection.guest)
    }

    /// Tells that `stage` is reached.
    pub fn stage(&mut self, stage: Stage) -> Result<(), InitError> {
        self.stage = Some(stage);
        self.write(name::STAGE, stage.as_str())
    }

    /// The last stage that was told.
    pub fn reached(&self) -> Option<Stage> {
        self.stage
    }

    /// Tells which protocol this is.
    pub fn protocol(&self) -> Result<(), InitError> {
        self.write(name::PROTOCOL, &PROTOCOL.to_string())
    }

    /// Tells why PID 1 gives up; false if only the console has it.
    pub fn failed(&mut self, error: &InitError) -> bool {
        // A QEMU that ended as it was told to has not failed; that it ended is told in any case.
        let told = match error {
            InitError::QemuEnded { end: QemuEnd::Exit(0), .. } => true,
            _ => self.failed_because(&error.chain()),
        };
        // After the reason: whoever sees this key finds the reason as well.
        match error {
            InitError::QemuEnded { end, .. } => self.write(name::QEMU_EXIT, &end.to_string()).is_ok() && told,
            _ => told,
        }
    }

    /// The same for a reason in words.
    pub fn failed_because(&mut self, reason: &str) -> bool {
        let opened = if self.connection.is_none() { self.open() } else { Ok(()) };
        let text = format!("{}: {reason}", self.stage.unwrap_or(Stage::Booted));
        // Xenstore first: a console that nobody reads blocks its writer.
        let told = opened.and_then(|()| self.write(name::FAILED, shorten(&text, MAX_FAILED)));
        console::say(&format!("failed in stage {text}"));
        if let Err(error) = &told {
            console::say(&format!("and could not report it: {}", error.chain()));
        }
        told.is_ok()
    }

    /// Reads a key.
    pub fn read(&self, key: &str) -> Result<String, InitError> {
        let read = self.connection()?.store.read(key);
        read.map(String::from).map_err(|source| store_error("reading", key, source))
    }

    /// Reads a key that may be missing.
    pub fn read_optional(&self, key: &str) -> Result<Option<String>, InitError> {
        match self.connection()?.store.read(key) {
            Ok(value) => Ok(Some(value.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(store_error("reading", key, source)),
        }
    }

    /// The names of the keys below `key`.
    pub fn list(&self, key: &str) -> Result<Vec<Box<str>>, InitError> {
        self.connection()?.store.directory(key).map_err(|source| store_error("listing", key, source))
    }

    /// The path of one of the device model's keys, relative to this domain's home.
    pub fn key(&self, name: &str) -> Result<String, InitError> {
        Ok(format!("{}/{name}", keys::device_model_relative(self.guest()?)))
    }

    /// Writes one of the device model's keys.
    pub fn write(&self, name: &str, value: &str) -> Result<(), InitError> {
        let key = self.key(name)?;
        self.connection()?.store.write(&key, value).map_err(|source| store_error("writing", &key, source))
    }

    /// Removes one of the device model's keys; one that is not there is no failure.
    pub fn remove(&self, name: &str) -> Result<(), InitError> {
        let key = self.key(name)?;
        match self.connection()?.store.rm(&key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(store_error("removing", &key, error))
            }
            _ => Ok(()),
        }
    }

    fn connection(&self) -> Result<&Connection, InitError> {
        let unopened = || store_error("connecting for", keys::TARGET, io::ErrorKind::NotConnected.into());
        self.connection.as_ref().ok_or_else(unopened)
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    fn open() -> Result<Self, InitError> {
        let store = XsUnix::new().map_err(|source| store_error("connecting for", keys::TARGET, source))?;
        let value =
            store.read(keys::TARGET).map_err(|source| store_error("reading", keys::TARGET, source))?;
        let guest = value.parse().map_err(|_| InitError::Value {
            key: keys::TARGET.to_owned(),
            value: value.to_string(),
            want: "domain id",
        })?;
        Ok(Self { store, guest })
    }
}

fn store_error(operation: &'static str, key: &str, source: io::Error) -> InitError {
    InitError::Store { operation, key: key.to_owned(), source }
}

/// The first `limit` bytes of `text`, or as many less as keep the last character whole.
pub fn shorten(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortening_keeps_characters_whole() {
        assert_eq!(shorten("waiting", 100), "waiting");
        assert_eq!(shorten("waiting", 4), "wait");
        assert_eq!(shorten("aäöü", 4), "aä");
        assert_eq!(shorten(&"ü".repeat(MAX_FAILED), MAX_FAILED).len(), MAX_FAILED);
    }

    #[test]
    fn without_xenstore_a_failure_is_not_called_reported() {
        let mut reporter = Reporter::new();
        assert!(!reporter.failed_because("no such thing"));
        assert_eq!(reporter.reached(), None);
    }
}
