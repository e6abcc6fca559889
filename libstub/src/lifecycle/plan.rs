// SPDX-License-Identifier: GPL-3.0-only
//! Preflight: everything that can be checked is checked here, before the first side effect.

use proto::keys;
use uuid::Uuid;
use xen_sys::{DomId, Kib};

use super::create::Cause;
use crate::config::GuestConfig;
use crate::host::{Host, PvSpec};
use crate::image::Image;
use crate::journal::{Claim, Journal};

/// Memory that Xen itself needs for a domain beside what the domain sees.
const DOMAIN_OVERHEAD: Kib = Kib::new(4096);

/// What a create will do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) guest_uuid: Uuid,
    pub(super) stubdom: PvSpec,
    pub(super) image: Image,
    pub(super) boot_id: String,
}

/// The pool that Xen keeps a HVM guest's second-level page tables in (libxl_get_required_shadow_memory).
pub(crate) fn paging_pool(memory: Kib, vcpus: u32) -> Kib {
    Kib::new(4 * (256 * u64::from(vcpus) + memory.get() / 1024))
}

/// Checks a config against the host.
pub(super) fn plan(
    host: &dyn Host,
    journal: &Journal,
    claim: &Claim,
    config: &GuestConfig,
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
    let guest_uuid = config.uuid.unwrap_or_else(Uuid::new_v4);
    let boot_id = host.boot_id()?;
    check_record(journal, claim, config, &boot_id)?;
    check_names(host, config, guest_uuid)?;
    // What is populated on demand is not needed now, its page tables are.
    let guest =
        config.memory.get() + paging_pool(config.max_memory(), config.vcpus).get() + DOMAIN_OVERHEAD.get();
    let need = Kib::new(guest + image.memory.get() + DOMAIN_OVERHEAD.get());
    let free = host.free_memory()?;
    if free < need {
        return Err(Cause::NotEnoughMemory { need, free });
    }
    let stubdom = PvSpec {
        kernel: image.kernel.clone(),
        ramdisk: image.ramdisk.clone(),
        cmdline: image.cmdline.clone(),
        memory: image.memory,
    };
    Ok(Plan { guest_uuid, stubdom, image, boot_id })
}

/// A record of an earlier boot names nothing that still exists.
fn check_record(journal: &Journal, claim: &Claim, config: &GuestConfig, boot_id: &str) -> Result<(), Cause> {
    match journal.find(&config.name)? {
        Some(record) if record.boot_id == boot_id => Err(Cause::PairExists),
        Some(_) => Ok(journal.end(&config.name, claim)?),
        None => Ok(()),
    }
}

fn check_names(host: &dyn Host, config: &GuestConfig, uuid: Uuid) -> Result<(), Cause> {
    let names = [config.name.as_str(), &config.name.stubdom()];
    for info in host.domains()?.into_iter().filter(|info| info.domid != DomId::DOM0) {
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
