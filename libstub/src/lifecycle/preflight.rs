// SPDX-License-Identifier: GPL-3.0-only
//! A dry run: everything that a create checks and finds out, and none of what it does.

use std::path::PathBuf;

use uuid::Uuid;
use xen_sys::Kib;

use super::cause::Cause;
use super::create::{CreateError, CreateStage};
use super::plan::{self, MemoryNeed, Plan};
use super::reap::Remains;
use crate::config::{DiskMode, GuestConfig, Name, Vdev};
use crate::host::{DiskKind, Host};
use crate::image::Image;
use crate::journal::{Journal, JournalError};

/// What a create would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// The guest's name.
    pub name: Name,
    /// The guest's uuid, if the config says.
    pub uuid: Option<Uuid>,
    /// The stubdomain's name.
    pub stubdom_name: String,
    /// The stubdomain's files and kernel command line.
    pub image: Image,
    /// What guest and stubdomain take.
    pub memory: MemoryNeed,
    /// What Xen has.
    pub free: Kib,
    /// What the journal knows to be left of an earlier pair of the name, which a create removes first. Whether its disks are
    /// free shows then.
    pub left: Option<Remains>,
    /// The disks, in the order of the config, and the root filesystem.
    pub disks: Vec<PreflightDisk>,
}

/// A disk that could be served now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreflightDisk {
    /// Where the guest sees it; the root filesystem is the stubdomain's only.
    pub vdev: Option<Vdev>,
    /// The file or block device.
    pub target: PathBuf,
    /// What may be done with it.
    pub mode: DiskMode,
    /// What it is.
    pub kind: DiskKind,
}

/// Checks all that a create checks before its first side effect, and has none itself.
///
/// # Errors
/// The error that [`create`](super::create()) would end in.
pub fn preflight(host: &dyn Host, journal: &Journal, config: &GuestConfig) -> Result<Preflight, CreateError> {
    look(host, journal, config).map_err(|cause| CreateError {
        name: config.name.clone(),
        stage: CreateStage::Preflight,
        guest: None,
        stubdom: None,
        cause: Box::new(cause),
        findings: Box::default(),
        undone: Vec::new(),
        owed: Vec::new(),
    })
}

fn look(host: &dyn Host, journal: &Journal, config: &GuestConfig) -> Result<Preflight, Cause> {
    if journal.is_claimed(&config.name)? {
        return Err(JournalError::Busy(config.name.clone()).into());
    }
    plan::check_supervision(journal, config, false)?;
    let mut left = None;
    let plan = plan::plan(host, journal, config, |record, why| {
        left = Some(why);
        Ok(vec![record.guest, record.stubdom])
    });
    let Plan { image, memory, free, .. } = plan?;
    journal.check_writable().map_err(|source| JournalError::Io {
        action: "write to",
        path: journal.directory().to_owned(),
        source,
    })?;
    let guest = config.disks.iter().map(|disk| (Some(disk.vdev), disk.target.clone(), disk.mode));
    let rootfs = image.rootfs.iter().map(|rootfs| (None, rootfs.clone(), DiskMode::ReadOnly));
    let disks = guest.chain(rootfs).map(|(vdev, target, mode)| {
        let failed = |source| Cause::Disk { path: target.clone(), source };
        let asked = if left.is_some() { DiskMode::ReadOnly } else { mode };
        let kind = host.probe(&target, asked).map_err(failed)?;
        Ok(PreflightDisk { vdev, target, mode, kind })
    });
    Ok(Preflight {
        name: config.name.clone(),
        uuid: config.uuid,
        stubdom_name: config.name.stubdom(),
        disks: disks.collect::<Result<_, Cause>>()?,
        image,
        memory,
        free,
        left,
    })
}
