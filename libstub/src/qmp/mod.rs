// SPDX-License-Identifier: GPL-3.0-only
//! A client of QEMU's monitor (QMP) in a stubdomain. QEMU is as hostile as the guest it serves.
//!
//! Every wait has a deadline, every answer is matched by its id, and what comes unasked is bounded: one line, the
//! nesting of a value, and the events that nobody took yet. A client whose peer broke the protocol is of no more use;
//! one whose peer was only slow is: a late answer is dropped.

mod ask;
mod connect;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use ask::ask;
pub use connect::connect;
pub use wire::{Event, Garbage};

use crate::code::Code;
use crate::host::HostError;
use crate::lifecycle::ListError;
use crate::{DomId, Name};
use wire::{Lines, Message};

/// How many events wait for someone to take them: with all of the largest, 1 MiB.
const MAX_EVENTS: usize = 128;

/// Why a monitor could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The pairs of this host cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// xenstore cannot be asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There is no such pair, or its stubdomain is gone.
    #[error("no stubdomain of {0} runs")]
    NotRunning(Name),
    /// The stubdomain offered no channel in time: its image has none, or QEMU is not started.
    #[error("stubdom {0} offers no QMP channel")]
    NotOffered(DomId),
    /// Another client kept the channel until the deadline.
    #[error("the QMP channel of stubdom {0} has another client")]
    Busy(DomId),
    /// The channel could not be opened.
    #[error("the QMP channel of stubdom {stubdom} cannot be opened")]
    Open {
        /// The stubdomain.
        stubdom: DomId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The channel was closed, or broke.
    #[error("the QMP channel was closed")]
    Closed {
        /// Why.
        source: io::Error,
    },
    /// QEMU did not answer in time.
    #[error("QEMU did not answer {0} in time")]
    Silent(String),
    /// QEMU sent what a client cannot accept.
    #[error("QEMU sent {0}")]
    Garbage(#[from] Garbage),
    /// QEMU refused a command.
    #[error("QEMU refused {command}: {description} ({class})")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's class of the error, escaped.
        class: String,
        /// QEMU's words, escaped.
        description: String,
    },
}

impl QmpError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::List(error) => error.code(),
            Self::Host(error) => error.code(),
            Self::NotRunning(_) => Code::NoSuchPair,
            _ => Code::QmpFailed,
        }
    }
}

/// What a client talks through.
pub trait Transport {
    /// Reads what is there, nothing if nothing is; an error at the end.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize>;
    /// Writes what there is room for, which may be nothing.
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;
    /// Returns when there may be something to read, or room to write, or after `limit`.
    fn wait(&mut self, limit: Duration) -> io::Result<()>;
}

/// A session with QEMU's monitor.
#[derive(Debug)]
pub struct Qmp<T> {
    transport: T,
    lines: Lines,
    /// Makes our ids unlike those of earlier clients, to whom QEMU may still be answering.
    session: Uuid,
    commands: u64,
    events: VecDeque<Event>,
    dropped: u64,
    broken: bool,
}

impl<T: Transport> Qmp<T> {
    /// Waits for the greeting and agrees on capabilities.
    ///
    /// # Errors
    /// When QEMU is silent, or sends something else.
    pub fn open(transport: T, deadline: Instant) -> Result<Self, QmpError> {
        let mut qmp = Self {
            transport,
            lines: Lines::default(),
            session: Uuid::new_v4(),
            commands: 0,
            events: VecDeque::new(),
            dropped: 0,
            broken: false,
        };
        while qmp.next_message("a new client", deadline)? != Message::Greeting {
            in_time("a new client", deadline)?;
        }
        qmp.execute("qmp_capabilities", None, deadline)?;
        Ok(qmp)
    }

    /// Has QEMU execute a command; gives what it returned.
    ///
    /// # Errors
    /// When QEMU refuses, is silent until the deadline, or breaks the protocol.
    pub fn execute(
        &mut self,
        command: &str,
        arguments: Option<Value>,
        deadline: Instant,
    ) -> Result<Value, QmpError> {
        self.commands += 1;
        let our_id = format!("{}-{}", self.session, self.commands);
        let mut request = json!({ "execute": command, "id": our_id });
        if let Some(arguments) = arguments {
            request["arguments"] = arguments;
        }
        self.send(format!("{request}\n").as_bytes(), command, deadline)?;
        loop {
            match self.next_message(command, deadline)? {
                Message::Return { id, value } if id.as_deref() == Some(&our_id) => return Ok(value),
                Message::Error { id, class, description } if id.as_deref() == Some(&our_id) => {
                    return Err(QmpError::Refused { command: command.to_owned(), class, description });
                }
                // Another's, or an answer that we no longer wait for. A QEMU that never stops keeps nobody.
                _ => in_time(command, deadline)?,
            }
        }
    }

    /// The oldest event that nobody took yet; waits for one until the deadline.
    ///
    /// # Errors
    /// When the channel is closed, or QEMU breaks the protocol.
    pub fn event(&mut self, deadline: Instant) -> Result<Option<Event>, QmpError> {
        while self.events.is_empty() {
            let message = self.next_message("with an event", deadline);
            match message.and_then(|_| in_time("with an event", deadline)) {
                Err(QmpError::Silent(_)) => break,
                result => result?,
            }
        }
        Ok(self.events.pop_front())
    }

    /// How many events were dropped because nobody took them.
    pub fn dropped_events(&self) -> u64 {
        self.dropped
    }

    /// The transport, whose descriptor tells an event loop when to ask for an event.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    fn send(&mut self, mut bytes: &[u8], command: &str, deadline: Instant) -> Result<(), QmpError> {
        self.usable()?;
        // Half a line would spoil the next one, so a client that stops in the middle is of no more use.
        self.broken = true;
        while !bytes.is_empty() {
            let count = self.transport.write(bytes).map_err(closed)?;
            bytes = bytes.get(count..).unwrap_or_default();
            if count == 0 {
                self.wait(command, deadline)?;
            }
        }
        self.broken = false;
        Ok(())
    }

    /// The next message; events are kept on the way, and given as well.
    fn next_message(&mut self, awaited: &str, deadline: Instant) -> Result<Message, QmpError> {
        self.usable()?;
        let result = self.receive(awaited, deadline);
        self.broken = !matches!(result, Ok(_) | Err(QmpError::Silent(_)));
        match &result {
            Ok(Message::Event(event)) => {
                if self.events.len() == MAX_EVENTS {
                    self.events.pop_front();
                    self.dropped += 1;
                }
                self.events.push_back(event.clone());
            }
            Ok(Message::LongEvent) => self.dropped += 1,
            _ => {}
        }
        result
    }

    fn receive(&mut self, awaited: &str, deadline: Instant) -> Result<Message, QmpError> {
        loop {
            if let Some(message) = self.lines.next()? {
                return Ok(message);
            }
            let mut buffer = [0; 4096];
            match self.transport.read(&mut buffer).map_err(closed)? {
                0 => self.wait(awaited, deadline)?,
                count => self.lines.push(buffer.get(..count).unwrap_or_default()),
            }
        }
    }

    fn wait(&mut self, awaited: &str, deadline: Instant) -> Result<(), QmpError> {
        in_time(awaited, deadline)?;
        self.transport.wait(deadline.saturating_duration_since(Instant::now())).map_err(closed)
    }

    fn usable(&self) -> Result<(), QmpError> {
        if self.broken { Err(closed(io::ErrorKind::NotConnected.into())) } else { Ok(()) }
    }
}

fn closed(source: io::Error) -> QmpError {
    QmpError::Closed { source }
}

fn in_time(awaited: &str, deadline: Instant) -> Result<(), QmpError> {
    if Instant::now() < deadline { Ok(()) } else { Err(QmpError::Silent(awaited.to_owned())) }
}

#[cfg(test)]
mod tests;
