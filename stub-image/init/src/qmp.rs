// SPDX-License-Identifier: GPL-3.0-only
//! QEMU's monitor, served to the toolstack over vchan: one client at a time, and each with a session of its own.
//!
//! QEMU listens on a socket that no other domain can reach. A client has a vchan and a connection to that socket, made
//! for it and closed with it: QEMU forgets half a line and answers that nobody waits for when its connection ends, and
//! the next client finds a new page, so no byte of one gets to another. When a client leaves, or its
//! process dies, the next vchan is offered under the same keys.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use vchan::Peer;

use crate::channel::{Channel, Offer};

/// Where QEMU listens.
pub const SOCKET: &str = "/run/qmp";
/// The name of the monitor's device in QEMU's arguments.
const CHARDEV: &str = "stub-qmp";
/// Times that something is moved in one turn, so that a busy client leaves room for everything else.
const MOVES: u32 = 64;

/// Makes the socket on which QEMU is to listen.
pub fn listener(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}

/// The arguments that make QEMU's monitor listen on the descriptor `listener`.
pub fn arguments(listener: BorrowedFd<'_>) -> [String; 4] {
    let fd = listener.as_raw_fd();
    let chardev = format!("socket,id={CHARDEV},fd={fd},server=on,wait=off");
    ["-chardev".into(), chardev, "-mon".into(), format!("chardev={CHARDEV},mode=control")]
}

/// The server of one monitor.
#[derive(Debug)]
pub struct Server {
    client: u16,
    socket: PathBuf,
    channel: Channel,
    session: Option<Session>,
}

/// What is left to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Nothing, until a descriptor is ready.
    Done,
    /// There is more to move.
    More,
    /// A client came: the offer is no more to be found by others. There may be more to move.
    Taken,
    /// The client left: there is a new offer to publish.
    Offered,
}

/// One client's connection to QEMU, and what is on its way.
#[derive(Debug)]
struct Session {
    qemu: UnixStream,
    to_qemu: Pending,
    to_client: Pending,
}

impl Server {
    /// A server for the domain `client`, of the monitor that listens on `socket`.
    pub fn open(client: u16, socket: impl Into<PathBuf>) -> io::Result<Self> {
        let channel = Channel::offer(client)?;
        Ok(Self { client, socket: socket.into(), channel, session: None })
    }

    /// What the next client must know.
    pub fn offer(&self) -> Offer {
        self.channel.numbers()
    }

    /// The descriptors that a turn waits for, and what for.
    pub fn waits(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let session = self.session.as_ref().map(|session| (session.qemu.as_fd(), session.interest()));
        // Without an interest it would still wake us when QEMU hangs up, again and again.
        let session = session.filter(|(_, interest)| !interest.is_empty());
        std::iter::once((self.channel.as_fd(), PollFlags::POLLIN)).chain(session)
    }

    /// Does what can be done now.
    ///
    /// # Errors
    /// When no new channel could be made: there is no service any more.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.channel.acknowledge()?;
        let turn = match self.channel.peer() {
            Peer::Awaited => Ok(Turn::Done),
            Peer::Here => self.serve(),
            Peer::Gone => Err(io::ErrorKind::ConnectionReset.into()),
        };
        match turn {
            Ok(turn) => Ok(turn),
            // One end is gone, or broke the ring; the other one is closed with the session.
            Err(_) => {
                self.session = None;
                self.channel = Channel::offer(self.client)?;
                Ok(Turn::Offered)
            }
        }
    }

    fn serve(&mut self) -> io::Result<Turn> {
        let Some(session) = &mut self.session else {
            self.session = Some(Session::open(&self.socket)?);
            return Ok(Turn::Taken);
        };
        for _ in 0..MOVES {
            if !session.move_once(&mut self.channel)? {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::More)
    }
}

impl Session {
    fn open(path: &Path) -> io::Result<Self> {
        // Without waiting: a QEMU that hangs must not hang PID 1.
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let qemu = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(qemu.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self { qemu: qemu.into(), to_qemu: Pending::default(), to_client: Pending::default() })
    }

    fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, self.to_client.is_empty());
        flags.set(PollFlags::POLLOUT, !self.to_qemu.is_empty());
        flags
    }

    /// Moves a piece in each direction; false if there was nothing to move, or no room.
    fn move_once(&mut self, channel: &mut Channel) -> io::Result<bool> {
        let from_client = self.to_qemu.fill(|bytes| channel.read(bytes))?;
        let to_qemu = self.to_qemu.empty(|bytes| now((&self.qemu).write(bytes)))?;
        let from_qemu = self.to_client.fill(|bytes| match (&self.qemu).read(bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            result => now(result),
        })?;
        let to_client = self.to_client.empty(|bytes| channel.write(bytes))?;
        Ok(from_client || to_qemu || from_qemu || to_client)
    }
}

/// A call that would have to wait has moved nothing.
fn now(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        result => result,
    }
}

/// Bytes that were taken from one side and not yet given to the other.
#[derive(Debug)]
struct Pending {
    bytes: [u8; 2048],
    start: usize,
    end: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self { bytes: [0; 2048], start: 0, end: 0 }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes more when all is given; true if something came.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        if !self.is_empty() {
            return Ok(false);
        }
        (self.start, self.end) = (0, read(&mut self.bytes)?);
        Ok(!self.is_empty())
    }

    /// Gives what is left; true if something went.
    fn empty(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        let gone = write(&self.bytes[self.start..self.end])?;
        self.start += gone;
        Ok(gone > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_and_nothing_is_taken_meanwhile() {
        let mut pending = Pending::default();
        let read = |bytes: &mut [u8]| {
            bytes[..5].copy_from_slice(b"hello");
            Ok(5)
        };
        assert!(pending.fill(read).unwrap() && !pending.fill(|_| unreachable!("full")).unwrap());
        let mut got = Vec::new();
        for room in [2, 0, 9] {
            let write = |bytes: &[u8]| {
                let count = bytes.len().min(room);
                got.extend_from_slice(&bytes[..count]);
                Ok(count)
            };
            assert_eq!(pending.empty(write).unwrap(), room > 0);
        }
        assert_eq!(got, b"hello");
        assert!(!pending.empty(|_| unreachable!("empty")).unwrap() && pending.is_empty());
    }

    #[test]
    fn a_monitor_that_hangs_refuses_instead_of_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        assert!(Session::open(&path).is_err());
        let _hung = listener(&path).unwrap();
        // Nobody accepts: sooner or later the queue is full.
        let open: Vec<_> = (0..10_000).map_while(|_| Session::open(&path).ok()).collect();
        assert!(open.len() < 10_000 && !open.is_empty());
    }
}
