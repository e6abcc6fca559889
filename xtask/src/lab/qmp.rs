// SPDX-License-Identifier: GPL-3.0-only
//! The monitor of a machine that runs in the background: whether it lives, where its forwarded port is, its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The socket's name in the directory of the lab; QEMU is started there, and names it so.
pub(super) const SOCKET: &str = "qmp.sock";

/// QEMU answers from its main loop; on a busy machine that takes its time.
const ANSWER: Duration = Duration::from_secs(20);

/// A connection to a machine's monitor; QEMU serves one at a time.
pub(super) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Connects to the machine of the lab in `dir`; none if no machine is behind the socket.
    pub(super) fn connect(dir: &Path) -> Result<Option<Self>> {
        let Some(stream) = stream(dir) else { return Ok(None) };
        stream.set_read_timeout(Some(ANSWER))?;
        let mut qmp = Self(BufReader::new(stream));
        qmp.message().context("the machine's monitor does not greet")?;
        qmp.execute(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(Some(qmp))
    }

    /// The port of 127.0.0.1 that QEMU chose to forward.
    pub(super) fn forwarded_port(&mut self) -> Result<u16> {
        let command = json!({
            "execute": "human-monitor-command",
            "arguments": { "command-line": "info usernet" },
        });
        let table = self.execute(&command)?;
        port(table.as_str().unwrap_or_default()).context("the machine forwards no port")
    }

    /// Ends the machine as a power cut would.
    pub(super) fn quit(&mut self) -> Result<()> {
        self.execute(&json!({ "execute": "quit" })).map(drop)
    }

    /// Waits until the machine is gone; says whether it went within `limit`.
    pub(super) fn wait_for_end(&mut self, limit: Duration) -> Result<bool> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.0.get_ref().set_read_timeout(Some(left))?;
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Ok(0) => return Ok(true),
                // Its events; the last of them is its own end.
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Ok(true),
            }
        }
    }

    fn execute(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.0.get_mut(), "{command}")?;
        loop {
            let mut answer = self.message()?;
            if let Some(error) = answer.get("error") {
                bail!("the machine's monitor refuses {command}: {error}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            bail!("the machine ended");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

/// Whether a machine is behind the socket.
pub(super) fn lives(dir: &Path) -> bool {
    stream(dir).is_some()
}

/// A socket's path holds 107 bytes, and a checkout's may be longer: the way there is by the directory's descriptor.
fn stream(dir: &Path) -> Option<UnixStream> {
    let dir = File::open(dir).ok()?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd())).ok()
}

fn port(table: &str) -> Option<u16> {
    let row = table.lines().find(|line| line.contains("HOST_FORWARD"))?;
    row.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_forwarded_port_is_read_from_qemus_table() {
        let table = "Hub -1 (lab):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n\
                     \x20 TCP[ESTABLISHED]   14       127.0.0.1 39000       10.0.2.15    22     0     0\r\n\
                     \x20 TCP[HOST_FORWARD]  12       127.0.0.1 40123       10.0.2.15    22     0     0\r\n";
        assert_eq!(port(table), Some(40123));
        assert_eq!(port("Hub -1 (lab):\r\n"), None);
    }

    #[test]
    fn a_socket_that_outlived_its_machine_is_no_machine() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!lives(dir.path()));
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        assert!(lives(dir.path()));
        drop(listener);
        assert!(dir.path().join(SOCKET).exists());
        assert!(!lives(dir.path()));
    }
}
