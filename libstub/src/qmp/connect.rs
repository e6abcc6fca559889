// SPDX-License-Identifier: GPL-3.0-only
//! The way to the monitor of a pair: xenstore says where, a vchan leads there.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use proto::keys;
use xen_sys::{DomId, EvtchnPort, GrantRef};

use super::{Qmp, QmpError, Transport};
use crate::host::{Host, HostError, Vchan, VchanError, Xenstore};
use crate::journal::Journal;
use crate::{Name, lifecycle};

/// Servers of other images do not write new numbers when their client leaves: they are asked again, this often.
const RETRY: Duration = Duration::from_millis(250);

/// Connects to the monitor of the pair `name`; waits for another client to leave it, or for QEMU to be started.
///
/// # Errors
/// When no stubdomain of it runs, its channel is not offered or not free before the deadline, or QEMU does not greet.
pub fn connect(
    host: &dyn Host,
    journal: &Journal,
    name: &Name,
    deadline: Instant,
) -> Result<Qmp<Vchan>, QmpError> {
    let (pairs, _) = lifecycle::list(host, journal)?;
    let pair = pairs.iter().find(|pair| pair.name == *name);
    let ids = pair.and_then(|pair| pair.guest.zip(pair.stubdom));
    let (guest, stubdom) = ids.ok_or_else(|| QmpError::NotRunning(name.clone()))?;
    let channel = open(host, guest, stubdom, deadline)?;
    Qmp::open(channel, deadline)
}

fn open(host: &dyn Host, guest: DomId, stubdom: DomId, deadline: Instant) -> Result<Vchan, QmpError> {
    static WATCHES: AtomicU64 = AtomicU64::new(0);
    let directory = keys::device_model(stubdom.get(), guest.get());
    let token = format!("qmp-{}", WATCHES.fetch_add(1, Ordering::Relaxed));
    let node = format!("{directory}/{}", keys::name::QMP);
    host.watch(&node, &token)?;
    let channel = wait_open(host, &directory, stubdom, deadline);
    // A host may live for long, and xenstored bounds how many watches it has.
    if let Err(error) = host.unwatch(&node, &token) {
        tracing::debug!(%error, "a watch is left in xenstored");
    }
    channel
}

fn wait_open(host: &dyn Host, directory: &str, stubdom: DomId, deadline: Instant) -> Result<Vchan, QmpError> {
    loop {
        let opened = offered(host, directory, stubdom)?;
        let late = deadline <= Instant::now();
        match opened {
            Some(Ok(channel)) => return Ok(channel),
            // The numbers may be those of a channel that is just being replaced.
            None if late => return Err(QmpError::NotOffered(stubdom)),
            Some(Err(VchanError::Taken)) if late => return Err(QmpError::Busy(stubdom)),
            Some(Err(error)) if late => return Err(QmpError::Open { stubdom, source: error.into() }),
            None | Some(Err(_)) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now()).min(RETRY);
        match host.watch_fd() {
            Some(fd) => wait(fd, left).map_err(|source| QmpError::Open { stubdom, source: source.into() })?,
            None => std::thread::sleep(left),
        }
        host.drain_watches()?;
    }
}

/// Opens the channel that a stubdomain offers below `directory`; nothing if it offers none.
pub(super) fn offered(
    host: &dyn Xenstore,
    directory: &str,
    stubdom: DomId,
) -> Result<Option<Result<Vchan, VchanError>>, HostError> {
    let number = |name: &str| -> Result<Option<u32>, HostError> {
        Ok(host.read(&format!("{directory}/{name}"))?.as_deref().and_then(number))
    };
    // In this order: a server takes the first away before it changes the second.
    let numbers = (number(keys::name::QMP_RING_REF)?, number(keys::name::QMP_EVENT_CHANNEL)?);
    Ok(match numbers {
        (Some(ring), Some(port)) => Some(Vchan::open(stubdom, GrantRef::new(ring), EvtchnPort::new(port))),
        // And it takes the first away from the others when a client came.
        (None, Some(_)) => Some(Err(VchanError::Taken)),
        (_, None) => None,
    })
}

/// A number from the stubdomain: decimal digits, not zero, and nothing else.
fn number(text: &[u8]) -> Option<u32> {
    let digits = text.len() <= 10 && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok().filter(|&number| number != 0)
}

impl Transport for Vchan {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Self::read(self, to)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Self::write(self, from)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        wait(self.as_fd().as_raw_fd(), limit)?;
        self.acknowledge()
    }
}

/// Waits until a descriptor is readable, or `limit` is over.
fn wait(fd: RawFd, limit: Duration) -> io::Result<()> {
    // A new one each time: it tells of what is readable already as well.
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE)?;
    match poll.poll(&mut Events::with_capacity(1), Some(limit)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_only() {
        assert_eq!(number(b"17"), Some(17));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for wrong in [&b""[..], b"0", b"+1", b" 1", b"1\n", b"0x1", b"4294967296", b"00000000001", b"\xff"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }
}
