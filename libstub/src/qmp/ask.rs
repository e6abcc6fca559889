// SPDX-License-Identifier: GPL-3.0-only
//! Asking a QEMU whether it is there: connect, ask, leave. Its server has one client at a time, so nobody stays.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::keys;
use xen_sys::DomId;

use super::connect::offered;
use super::{Qmp, QmpError, Transport};
use crate::host::{Answer, HostError, Vchan, VchanError, Xenstore};

/// How long a server may take to offer its channel again after a client left; then it has another.
const OFFER: Duration = Duration::from_secs(2);
/// How often it is looked for.
const RETRY: Duration = Duration::from_millis(100);
/// How often it is looked whether an answer is still wanted.
const PATIENCE: Duration = Duration::from_millis(250);

/// See [`ask_qemu`](crate::host::Monitor::ask_qemu). Registers no watch: a host asks many times.
pub(crate) fn ask(
    host: &dyn Xenstore,
    guest: DomId,
    stubdom: DomId,
    limit: Duration,
    cancel: &AtomicBool,
) -> Result<Answer, HostError> {
    let offer = Instant::now() + OFFER.min(limit);
    let directory = keys::device_model(stubdom.get(), guest.get());
    let channel = loop {
        if cancel.load(Ordering::Relaxed) {
            return Ok(Answer::Cancelled);
        }
        let opened = offered(host, &directory, stubdom)?;
        let late = Instant::now() >= offer;
        match opened {
            Some(Ok(channel)) => break channel,
            None if late => return Ok(Answer::NotOffered),
            Some(Err(VchanError::Taken)) if late => return Ok(Answer::Busy),
            Some(Err(error)) if late => return Ok(Answer::Silent(error.to_string())),
            _ => std::thread::sleep(RETRY),
        }
    };
    // Only from here on: what a slow xenstored took is not QEMU's silence.
    let deadline = Instant::now() + limit;
    let answer = Qmp::open(Cancelled { channel, cancel }, deadline)
        .and_then(|mut qmp| qmp.execute("query-status", None, deadline));
    Ok(match answer {
        _ if cancel.load(Ordering::Relaxed) => Answer::Cancelled,
        Ok(_) | Err(QmpError::Refused { .. }) => Answer::Alive,
        Err(error) => Answer::Silent(error.to_string()),
    })
}

/// A channel that is left when nobody wants an answer any more: who holds its pages holds up the end of its domain.
struct Cancelled<'a> {
    channel: Vchan,
    cancel: &'a AtomicBool,
}

impl Cancelled<'_> {
    fn wanted(&self) -> io::Result<()> {
        let cancelled = self.cancel.load(Ordering::Relaxed);
        if cancelled { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Transport for Cancelled<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.wanted()?;
        self.channel.read(to)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.channel.write(from)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        self.wanted()?;
        Transport::wait(&mut self.channel, limit.min(PATIENCE))
    }
}
