// SPDX-License-Identifier: GPL-3.0-only
//! Preflight: everything that can be checked is checked here, before the first side effect and without any.

use std::fs::File;
use std::path::Path;

use proto::keys;
use uuid::Uuid;
use xen_sys::{DomId, DomainInfo, Kib};

use super::cause::Cause;
use super::reap::{self, Remains};
use crate::config::GuestConfig;
use crate::host::{Host, PvSpec};
use crate::image::verify::{self, Verified};
use crate::image::{Image, ImageError};
use crate::journal::{DomainMark, Journal, JournalError, Record};
use crate::qemu_args;

/// Memory that Xen itself needs for a domain beside what the domain sees.
const DOMAIN_OVERHEAD: Kib = Kib::new(4096);

/// Stands for the guest's id, which is not known yet: none takes more room in QEMU's arguments.
const LONGEST_DOMID: DomId = DomId::new(32_751);

/// What a create will do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) guest_uuid: Uuid,
    pub(super) stubdom: PvSpec,
    pub(super) image: Image,
    /// With the image's files that were read for this plan.
    pub(super) verified: Verified,
    pub(super) boot_id: String,
    pub(super) memory: MemoryNeed,
    pub(super) free: Kib,
}

/// What a pair takes of Xen's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// What the guest sees.
    pub guest: Kib,
    /// Where Xen keeps the guest's second-level page tables.
    pub paging_pool: Kib,
    /// What the stubdomain sees.
    pub stubdom: Kib,
    /// What Xen may need for the two domains beside that.
    pub overhead: Kib,
}

impl MemoryNeed {
    /// For a guest with so much memory, which can grow to so much, and a stubdomain with so much.
    pub(crate) fn new(guest: Kib, max_guest: Kib, vcpus: u32, stubdom: Kib) -> Self {
        let overhead = DOMAIN_OVERHEAD.saturating_add(DOMAIN_OVERHEAD);
        // What is populated on demand is not needed now, its page tables are.
        Self { guest, paging_pool: paging_pool(max_guest, vcpus), stubdom, overhead }
    }

    /// All of it.
    pub fn total(&self) -> Kib {
        let domains = self.guest.saturating_add(self.stubdom);
        domains.saturating_add(self.paging_pool).saturating_add(self.overhead)
    }
}

/// The pool that Xen keeps a HVM guest's second-level page tables in (libxl_get_required_shadow_memory).
pub(crate) fn paging_pool(memory: Kib, vcpus: u32) -> Kib {
    Kib::new(4 * (256 * u64::from(vcpus) + memory.get() / 1024))
}

/// Checks a config against the host. What is left of an earlier pair of its name is given to `clear`, which removes it,
/// or gives the domains whose end a create would begin with.
pub(super) fn plan(
    host: &dyn Host,
    journal: &Journal,
    config: &GuestConfig,
    clear: impl FnOnce(Record, Remains) -> Result<Vec<DomainMark>, Cause>,
) -> Result<Plan, Cause> {
    let wrong = config.faults();
    if !wrong.is_empty() {
        return Err(Cause::Config(wrong));
    }
    let unfit = host.unfit()?;
    if !unfit.is_empty() {
        return Err(Cause::Unfit(unfit));
    }
    let image = Image::resolve(&config.stubdom, &host.xen_release())?;
    for file in [Some(&image.kernel), image.ramdisk.as_ref()].into_iter().flatten() {
        check_file(file)?;
    }
    let boot_id = host.boot_id()?;
    let mut verified = journal.verified(Some(&boot_id));
    verified.check(&image)?;
    let guest_uuid = config.uuid.unwrap_or_else(Uuid::new_v4);
    qemu_args::nodes(&qemu_args::qemu_args(config, LONGEST_DOMID), image.arguments)?;
    let mut ending = Vec::new();
    if let Some(record) = journal.find(&config.name)? {
        match reap::remains(&record, &host.domains()?, &boot_id) {
            // It names nothing that still exists, and is written over.
            Some(Remains::EarlierBoot) => {}
            Some(why) => ending = clear(record, why)?,
            None => return Err(Cause::PairExists),
        }
    }
    let mut domains = host.domains()?;
    let ends = |info: &DomainInfo| ending.iter().any(|mark: &DomainMark| mark.is_of(info));
    let ended: Vec<DomainInfo> = domains.extract_if(.., |info| ends(info)).collect();
    check_names(host, config, guest_uuid, &domains)?;
    let memory = MemoryNeed::new(config.memory, config.max_memory(), config.vcpus, image.memory);
    // What keeps a dying one may keep its memory as well.
    let freed: u64 = ended.iter().filter(|info| !info.dying).map(|info| info.pages * 4).sum();
    let free = host.free_memory()?.saturating_add(Kib::new(freed));
    if free < memory.total() {
        return Err(Cause::NotEnoughMemory { need: memory.total(), free });
    }
    let stubdom = PvSpec {
        kernel: image.kernel.clone(),
        ramdisk: image.ramdisk.clone(),
        cmdline: image.cmdline.clone(),
        memory: image.memory,
    };
    Ok(Plan { guest_uuid, stubdom, image, verified, boot_id, memory, free })
}

/// Whether a pair of this name can be new: nobody is about to create it again, and somebody is there to do what its
/// config asks for.
pub(super) fn check_supervision(
    journal: &Journal,
    config: &GuestConfig,
    supervised: bool,
) -> Result<(), Cause> {
    let keys = config.policy.asks_for_acts();
    if !supervised && !keys.is_empty() && !journal.has_supervisor()? {
        return Err(Cause::NobodyActs(keys));
    }
    let again = match journal.find(&config.name) {
        // Told, or set aside, where the record itself counts.
        Err(JournalError::Unreadable { .. }) => false,
        found => found?.is_some_and(|record| record.again),
    };
    if !supervised && again && journal.is_supervised(&config.name)? {
        return Err(Cause::PairExists);
    }
    Ok(())
}

/// The domain builder opens it by itself, when there are domains already.
fn check_file(path: &Path) -> Result<(), ImageError> {
    File::open(path).map(drop).map_err(|error| verify::unreadable(path, &error))
}

fn check_names(
    host: &dyn Host,
    config: &GuestConfig,
    uuid: Uuid,
    domains: &[DomainInfo],
) -> Result<(), Cause> {
    let names = [config.name.as_str(), &config.name.stubdom()];
    // dom0 among them: its name is taken as well, and a xenstored that does not answer is found out here, before there
    // are domains.
    for info in domains {
        let name = host.read(&format!("{}/name", keys::home(info.domid.get())))?;
        if name.is_some_and(|name| names.iter().any(|own| own.as_bytes() == name)) {
            return Err(Cause::NameTaken { by: info.domid });
        }
        if info.uuid == uuid {
            return Err(Cause::UuidTaken { by: info.domid });
        }
    }
    Ok(())
}
