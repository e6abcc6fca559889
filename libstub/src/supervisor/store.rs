// SPDX-License-Identifier: GPL-3.0-only
//! What needs xenstored: the one watch for the deaths of all domains, and the last words of a stubdomain.
//!
//! It has a thread and a host of its own, because a xenstored that hangs holds up whoever asks it. While it does,
//! deaths are seen by the slow look, which asks Xen alone.

use std::os::fd::RawFd;

use proto::keys;
use xen_sys::DomId;

use super::OpenHost;
use crate::config::Name;
use crate::console::escaped;
use crate::host::{FailureKind, Host, HostError};
use crate::xenbus;

/// More than any report of an end needs.
const MAX_WORDS: usize = 200;

#[derive(Debug)]
pub(super) enum Ask {
    /// Register the watch, with a new connection if there is none.
    Watch,
    /// Take the events.
    Drain,
    /// What a dead stubdomain has said.
    Words { name: Name, guest: DomId, stubdom: DomId },
}

#[derive(Debug)]
pub(super) enum Told {
    Watching(Option<RawFd>),
    Drained,
    Words {
        name: Name,
        words: Option<String>,
    },
    /// There is no connection any more, and no watch.
    Lost(HostError),
}

/// The work of the thread.
pub(super) fn work(open: std::sync::Arc<OpenHost>) -> impl FnMut(Ask) -> Told + Send {
    let mut host: Option<Box<dyn Host>> = None;
    move |ask| {
        let told = match &ask {
            Ask::Watch => watch(open.as_ref(), &mut host),
            Ask::Drain => host.as_ref().map_or(Ok(()), |host| host.drain_watches()).map(|()| Told::Drained),
            Ask::Words { name, guest, stubdom } => {
                let words = host.as_ref().map_or(Ok(None), |host| words(host.as_ref(), *guest, *stubdom));
                words.map(|words| Told::Words { name: name.clone(), words })
            }
        };
        match (told, ask) {
            (Ok(told), _) => told,
            // Nothing that was said there counts as nothing said.
            (Err(error), Ask::Words { name, .. }) if error.kind != FailureKind::StoreLost => {
                tracing::debug!(%error, %name, "the last words of a stubdom are not known");
                Told::Words { name, words: None }
            }
            (Err(error), _) => {
                host = None;
                Told::Lost(error)
            }
        }
    }
}

fn watch(open: &OpenHost, host: &mut Option<Box<dyn Host>>) -> Result<Told, HostError> {
    let new = match host {
        Some(_) => return Ok(Told::Drained),
        None => open()?,
    };
    new.watch(xenbus::RELEASE_DOMAIN, "supervisor")?;
    let fd = new.watch_fd();
    *host = Some(new);
    Ok(Told::Watching(fd))
}

fn words(host: &dyn Host, guest: DomId, stubdom: DomId) -> Result<Option<String>, HostError> {
    let directory = keys::device_model(stubdom.get(), guest.get());
    let read = |name: &str| {
        let value = host.read(&format!("{directory}/{name}"))?;
        Ok(value.map(|value| escaped(&value[..value.len().min(MAX_WORDS)])).filter(|text| !text.is_empty()))
    };
    if let Some(failed) = read(keys::name::FAILED)? {
        return Ok(Some(failed));
    }
    Ok(read(keys::name::QEMU_EXIT)?.map(|exit| format!("QEMU ended: {exit}")))
}
