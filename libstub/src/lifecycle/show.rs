// SPDX-License-Identifier: GPL-3.0-only
//! All that the journal, Xen and xenstore know of one pair.

use std::path::PathBuf;
use std::time::SystemTime;

use proto::{Stage, keys};
use xen_sys::{DomId, DomainInfo, ShutdownReason};

use super::list::{self, PairInfo};
use crate::code::Code;
use crate::config::{Name, Vdev};
use crate::console::escaped;
use crate::host::{Host, HostError};
use crate::journal::{DiskOrigin, ImageOrigin, Journal, JournalError, Record};
use crate::xenbus::{VbdMark, state_in_words};

/// More than any value that is read here needs.
const MAX_SHOWN: usize = 256;

/// A pair, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairDetails {
    /// What a list tells of it.
    pub info: PairInfo,
    /// The stubdomain's name.
    pub stubdom_name: String,
    /// When its create began.
    pub created_at: Option<SystemTime>,
    /// The config it was made from.
    pub config: Option<PathBuf>,
    /// The stubdomain's image.
    pub image: Option<ImageOrigin>,
    /// Why the guest shut down, if it did.
    pub guest_shutdown: Option<ShutdownReason>,
    /// Why the stubdomain shut down, if it did.
    pub stubdom_shutdown: Option<ShutdownReason>,
    /// What the stubdomain says of itself.
    pub report: StubdomReport,
    /// Its disks, the root filesystem last.
    pub disks: Vec<DiskDetails>,
}

/// What a stubdomain writes about itself, escaped: it may be hostile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StubdomReport {
    /// The version of the protocol that its PID 1 speaks.
    pub protocol: Option<String>,
    /// How far it came.
    pub stage: Option<Stage>,
    /// What QEMU says: `running` when it is ready.
    pub state: Option<String>,
    /// Why it cannot go on.
    pub failed: Option<String>,
    /// How QEMU ended.
    pub qemu_exit: Option<String>,
}

/// A disk of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDetails {
    /// Where the guest sees it; the root filesystem is the stubdomain's only.
    pub vdev: Option<String>,
    /// Where the stubdomain sees it.
    pub stubdom_vdev: Option<String>,
    /// The file or block device.
    pub target: PathBuf,
    /// `r` or `w`.
    pub mode: String,
    /// The block device's numbers in dom0.
    pub device: Option<(u32, u32)>,
    /// How far blkback is with the guest's end, in words.
    pub guest_backend: Option<String>,
    /// How far blkback is with the stubdomain's end, in words.
    pub stubdom_backend: Option<String>,
}

/// Why a pair cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// No pair has this name.
    #[error("there is no pair named {0}")]
    NoSuchPair(Name),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Xen or xenstored cannot be asked.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ShowError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::NoSuchPair(_) => Code::NoSuchPair,
            Self::Journal(error) => error.code(),
            Self::Host(error) => error.code(),
        }
    }
}

/// Looks at one pair.
///
/// # Errors
/// When there is none of this name, or the journal, Xen or xenstored cannot be asked.
pub fn show(host: &dyn Host, journal: &Journal, name: &Name) -> Result<PairDetails, ShowError> {
    let record = journal.find(name)?.ok_or_else(|| ShowError::NoSuchPair(name.clone()))?;
    let (domains, boot_id) = (host.domains()?, host.boot_id()?);
    let info = list::describe(journal, &record, &domains, &boot_id)?;
    let shutdown = |domid: Option<DomId>| {
        let found = domains.iter().find(|domain: &&DomainInfo| Some(domain.domid) == domid);
        found.and_then(|domain| domain.shutdown)
    };
    let report = match (info.guest, info.stubdom) {
        (Some(guest), Some(stubdom)) => report(host, guest, stubdom)?,
        _ => StubdomReport::default(),
    };
    let disks = record.origin.disks.iter().map(|disk| describe_disk(host, disk, &info));
    Ok(PairDetails {
        stubdom_name: record.name.stubdom(),
        created_at: record.origin.created_at(),
        config: record.origin.config.clone(),
        image: record.origin.image.clone(),
        guest_shutdown: shutdown(info.guest),
        stubdom_shutdown: shutdown(info.stubdom),
        report,
        disks: disks.collect::<Result<_, _>>()?,
        info,
    })
}

/// Whether anything of a pair still runs, or could.
///
/// # Errors
/// When the journal or Xen cannot be asked.
pub fn is_alive(host: &dyn Host, journal: &Journal, name: &Name) -> Result<bool, ShowError> {
    let Some(record) = journal.find(name)? else { return Ok(false) };
    Ok(list::describe(journal, &record, &host.domains()?, &host.boot_id()?)?.state != list::PairState::Gone)
}

/// The record of a pair, for those who look at its domains.
pub(crate) fn domains_of(
    host: &dyn Host,
    journal: &Journal,
    name: &Name,
) -> Result<(Option<DomId>, Option<DomId>), ShowError> {
    let record: Record = journal.find(name)?.ok_or_else(|| ShowError::NoSuchPair(name.clone()))?;
    let info = list::describe(journal, &record, &host.domains()?, &host.boot_id()?)?;
    Ok((info.guest, info.stubdom))
}

fn report(host: &dyn Host, guest: DomId, stubdom: DomId) -> Result<StubdomReport, HostError> {
    let directory = keys::device_model(stubdom.get(), guest.get());
    let read = |name: &str| host.read(&format!("{directory}/{name}"));
    let text = |name: &str, most: usize| {
        read(name).map(|value| value.map(|value| escaped(&value[..value.len().min(most)])))
    };
    Ok(StubdomReport {
        protocol: text(keys::name::PROTOCOL, MAX_SHOWN)?,
        stage: read(keys::name::STAGE)?.and_then(|value| Stage::parse(&value)),
        state: text(keys::name::STATE, MAX_SHOWN)?,
        failed: text(keys::name::FAILED, proto::MAX_FAILED)?,
        qemu_exit: text(keys::name::QEMU_EXIT, MAX_SHOWN)?,
    })
}

fn describe_disk(host: &dyn Host, disk: &DiskOrigin, info: &PairInfo) -> Result<DiskDetails, HostError> {
    let backend = |domid: Option<DomId>, vdev: &Option<String>| -> Result<_, HostError> {
        let devid = vdev.as_deref().and_then(Vdev::parse).map(Vdev::devid);
        let Some((domid, devid)) = domid.zip(devid) else { return Ok((None, None)) };
        let directory = VbdMark { domid, devid }.backend();
        let state = host.read(&format!("{directory}/state"))?;
        let device = host.read(&format!("{directory}/physical-device"))?;
        Ok((state.map(|state| state_in_words(&state).to_owned()), device.and_then(|text| numbers(&text))))
    };
    let (guest_backend, guest_device) = backend(info.guest, &disk.vdev)?;
    let (stubdom_backend, stubdom_device) = backend(info.stubdom, &disk.stubdom_vdev)?;
    Ok(DiskDetails {
        vdev: disk.vdev.clone(),
        stubdom_vdev: disk.stubdom_vdev.clone(),
        target: disk.target.clone(),
        mode: disk.mode.clone(),
        device: guest_device.or(stubdom_device),
        guest_backend,
        stubdom_backend,
    })
}

/// Takes `7:1f` apart, as it stands in blkback's node.
fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_devices_numbers_are_hexadecimal() {
        assert_eq!(numbers(b"7:1f"), Some((7, 31)));
        assert_eq!(numbers(b"7"), None);
        assert_eq!(numbers(b"x:1"), None);
    }
}
