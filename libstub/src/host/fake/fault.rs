// SPDX-License-Identifier: GPL-3.0-only
//! Which calls of the host in memory fail, and how.

use std::io;

use super::world::World;
use crate::host::{FailureKind, HostError};

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None.
    None,
    /// The n-th, from 1, before it has any effect.
    Once(usize),
    /// The n-th, from 1, is done and its answer lost.
    After(usize),
    /// The n-th and all after it.
    From(usize),
    /// The process dies at the n-th: it makes no call from there on, and that one is not counted if it has a handle of
    /// its own.
    Die(usize),
}

/// How calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// With this errno.
    Errno(i32),
    /// xenstored is lost: no call to it succeeds from there on, all others do.
    StoreLost,
}

impl Failure {
    /// Everything that is told apart somewhere, or that a kernel says when it is short of something: ENOMEM, EAGAIN,
    /// EINTR, EBUSY, EACCES, ENOSPC, EIO, ESRCH, EINVAL.
    pub const ALL: [Self; 10] = [
        Self::Errno(12),
        Self::Errno(11),
        Self::Errno(4),
        Self::Errno(16),
        Self::Errno(13),
        Self::Errno(28),
        Self::Errno(5),
        Self::Errno(3),
        Self::Errno(22),
        Self::StoreLost,
    ];
}

/// What a call that fails gives to its caller.
pub(super) trait Failed {
    fn new(call: &str, errno: i32) -> Self;
}

impl Failed for HostError {
    fn new(call: &str, errno: i32) -> Self {
        let source = io::Error::from_raw_os_error(errno).into();
        Self { call: call.to_owned(), kind: FailureKind::Other, source }
    }
}

impl Failed for io::Error {
    fn new(_: &str, errno: i32) -> Self {
        Self::from_raw_os_error(errno)
    }
}

impl World {
    /// Whether the next call is one at which its process dies.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self.fault, Fault::Die(at) if self.calls.len() + 1 >= at)
    }

    /// Counts a call, does it unless it is to fail before, and loses its answer if it is to fail after.
    ///
    /// # Panics
    /// When the process dies at this call.
    pub(super) fn call<T, E: Failed>(
        &mut self,
        call: &str,
        effect: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.calls.push(call.to_owned());
        let number = self.calls.len();
        let hit = match self.fault {
            Fault::None => false,
            Fault::Once(at) | Fault::After(at) => number == at,
            Fault::From(at) => number >= at,
            Fault::Die(at) if number >= at => std::panic::panic_any(format!("died at call {at}")),
            Fault::Die(_) => false,
        };
        match (self.failure, self.fault) {
            _ if !hit => effect(self),
            (Failure::StoreLost, _) => {
                self.store_lost = true;
                effect(self)
            }
            (Failure::Errno(errno), Fault::After(_)) => effect(self).and(Err(E::new(call, errno))),
            (Failure::Errno(errno), _) => Err(E::new(call, errno)),
        }
    }

    /// A call to xenstored.
    pub(super) fn store_call<T>(
        &mut self,
        call: &str,
        effect: impl FnOnce(&mut Self) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.call(call, |world| {
            if world.store_lost {
                return Err(HostError { kind: FailureKind::StoreLost, ..HostError::new(call, 5) });
            }
            effect(world)
        })
    }
}
