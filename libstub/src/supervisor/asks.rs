// SPDX-License-Identifier: GPL-3.0-only
//! Asking the QEMUs whether they are there, each in its turn, from few threads.
//!
//! A silent one keeps one thread until its time is over, and delays the turns of the others by no more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;
use xen_sys::DomId;

use super::OpenHost;
use crate::config::Name;
use crate::host::{Answer, Host, HostError};
use crate::journal::DomainMark;

/// How many are asked at the same time.
pub(super) const THREADS: usize = 4;

/// A question to the QEMU of a pair.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) guest: DomId,
    pub(super) stubdom: DomId,
    /// Who must have the stubdomain's id when it is asked.
    pub(super) making: Uuid,
    pub(super) limit: Duration,
    pub(super) cancel: Cancel,
}

impl Question {
    pub(super) fn new(
        name: &Name,
        guest: &DomainMark,
        stubdom: &DomainMark,
        limit: Duration,
    ) -> Option<Self> {
        let (name, making, cancel) = (name.clone(), stubdom.uuid, Cancel::default());
        Some(Self { name, guest: guest.domid?, stubdom: stubdom.domid?, making, limit, cancel })
    }
}

/// Takes a question back: by the end of its pair nobody may hold a page of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(super) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What became of a question.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: Name,
    pub(super) making: Uuid,
    pub(super) answer: Result<Answer, HostError>,
}

/// The work of one thread.
pub(super) fn work(open: Arc<OpenHost>) -> impl FnMut(Question) -> Asked + Send {
    // At once: a process whose threads open theirs one by one seems to leak.
    let mut host = open().ok();
    move |question| {
        let answer = ask(open.as_ref(), &mut host, &question);
        if answer.is_err() {
            // Its connection to xenstored may be what failed.
            host = None;
        }
        Asked { name: question.name, making: question.making, answer }
    }
}

fn ask(open: &OpenHost, host: &mut Option<Box<dyn Host>>, question: &Question) -> Result<Answer, HostError> {
    let host = match host {
        Some(host) => host,
        None => host.insert(open()?),
    };
    let Question { guest, stubdom, making, limit, cancel, .. } = question;
    // The id may be another domain's by now.
    if host.domain(*stubdom)?.is_none_or(|info| info.uuid != *making) {
        return Ok(Answer::Cancelled);
    }
    host.ask_qemu(*guest, *stubdom, *limit, &cancel.0)
}
