// SPDX-License-Identifier: GPL-3.0-only
//! The steps of a create that make something, each journalled before it is taken.

use std::path::Path;

use proto::{keys, manifest};
use uuid::Uuid;
use xen_sys::{DomId, DomainKind};

use super::{Creation, Pieces, STUBDOM_VCPUS};
use crate::config::{DiskMode, GuestConfig, Vdev};
use crate::host::{BlockDevice, HvmSpec, NewDomain};
use crate::journal::{Origin, Record};
use crate::lifecycle::cause::Cause;
use crate::lifecycle::create::CreateStage;
use crate::lifecycle::plan::Plan;
use crate::qemu_args;
use crate::xenbus::{self, Mark, Role, Stubdom, Vbd};

impl Creation {
    pub(super) fn shells(&mut self, plan: Plan, disks: Vec<BlockDevice>) -> Result<Pieces, Cause> {
        let GuestConfig { name, memory, vcpus, .. } = &self.config;
        let (name, vcpus) = (name.clone(), *vcpus);
        let mut record = Record::new(&name, plan.guest_uuid, *memory, vcpus, plan.boot_id.clone());
        record.origin = Origin::new(&self.config, &plan.image);
        record.keep_config(&self.config);
        (record.again, record.restarts) = (self.by.again(), std::mem::take(&mut self.restarts));
        let stubdom_uuid = record.stubdom.uuid;
        self.record = Some(record);
        self.note(|_| {})?;
        let guest =
            self.shell(NewDomain { uuid: plan.guest_uuid, kind: DomainKind::Hvm, vcpus }, name.as_str())?;
        let new = NewDomain { uuid: stubdom_uuid, kind: DomainKind::Pv, vcpus: STUBDOM_VCPUS };
        let stubdom = self.shell(new, &name.stubdom())?;
        Ok(Pieces { plan, disks, guest, stubdom, stubdom_uuid })
    }

    fn shell(&mut self, new: NewDomain, name: &str) -> Result<DomId, Cause> {
        let domid = self.host.create_domain(&new)?;
        self.note(|record| {
            let mark = if record.guest.uuid == new.uuid { &mut record.guest } else { &mut record.stubdom };
            mark.domid = Some(domid);
        })?;
        let role = if new.kind == DomainKind::Hvm { Role::Guest } else { Role::Stubdom };
        tracing::Span::current().record(role.as_str(), domid.get());
        let mark = Mark::new(&self.config.name, role, self.journal.directory());
        self.host.apply(&xenbus::shell(domid, name, &mark))?;
        Ok(domid)
    }

    pub(super) fn stubdom(&mut self, pieces: &Pieces) -> Result<(), Cause> {
        self.stage(CreateStage::Stubdom, |this| this.build_stubdom(pieces))?;
        self.stage(CreateStage::Rootfs, |this| this.rootfs(pieces))
    }

    fn build_stubdom(&mut self, pieces: &Pieces) -> Result<(), Cause> {
        let (stubdom, guest) = (pieces.stubdom, pieces.guest);
        let built = self.host.build_pv(stubdom, &pieces.plan.stubdom)?;
        self.console = Some((stubdom, built.console.gfn));
        self.host.introduce(stubdom, built.store)?;
        let memory = pieces.plan.stubdom.memory;
        let mut nodes = xenbus::connect(&xenbus::Domain {
            domid: stubdom,
            uuid: pieces.stubdom_uuid,
            name: &self.config.name.stubdom(),
            memory,
            max_memory: memory,
            vcpus: STUBDOM_VCPUS,
            built: &built,
        });
        // Linux reads `target` once, when it boots: it must be there before the stubdomain runs.
        nodes.extend(xenbus::target(self.ids(pieces)));
        self.host.apply(&nodes)?;
        self.host.set_target(stubdom, guest)?;
        // Registered before the stubdomain runs: no death and no ready key comes unseen.
        self.host.watch(xenbus::RELEASE_DOMAIN, "death")?;
        self.host.watch(&keys::device_model(stubdom.get(), guest.get()), "stubdom")?;
        Ok(())
    }

    fn ids(&self, pieces: &Pieces) -> Stubdom {
        Stubdom { domid: pieces.stubdom, guest: pieces.guest, guest_uuid: pieces.plan.guest_uuid }
    }

    fn rootfs(&mut self, pieces: &Pieces) -> Result<(), Cause> {
        let Some(rootfs) = &pieces.plan.image.rootfs else { return Ok(()) };
        let rootfs = rootfs.clone();
        if let Some(vdev) = Vdev::parse(manifest::ROOTFS_VDEV) {
            let device = self.open(&rootfs, DiskMode::ReadOnly)?;
            self.attach(pieces.stubdom, vdev, DiskMode::ReadOnly, false, &device)?;
        }
        Ok(())
    }

    pub(super) fn open(&self, path: &Path, mode: DiskMode) -> Result<BlockDevice, Cause> {
        self.host.attach(path, mode).map_err(|source| Cause::Disk { path: path.to_owned(), source })
    }

    fn attach(
        &mut self,
        domid: DomId,
        vdev: Vdev,
        mode: DiskMode,
        bootable: bool,
        device: &BlockDevice,
    ) -> Result<(), Cause> {
        let vbd = Vbd { domid, vdev, mode, bootable, major: device.major, minor: device.minor };
        self.note(|record| {
            record.vbds.push(vbd.mark());
            let new = device.file.filter(|file| !record.loops.contains(file));
            record.loops.extend(new);
        })?;
        // Held before blkback hears of it: the number must not become somebody else's meanwhile.
        self.held.push((vbd.mark(), device.clone()));
        self.host.apply(&vbd.create())?;
        Ok(())
    }

    pub(super) fn guest(&mut self, pieces: &Pieces) -> Result<(), Cause> {
        let GuestConfig { memory, vcpus, .. } = self.config;
        let spec = HvmSpec { memory, max_memory: self.config.max_memory(), vcpus };
        let built = self.host.build_hvm(pieces.guest, &spec)?;
        self.host.introduce(pieces.guest, built.store)?;
        let mut nodes = xenbus::connect(&xenbus::Domain {
            domid: pieces.guest,
            uuid: pieces.plan.guest_uuid,
            name: self.config.name.as_str(),
            memory,
            max_memory: spec.max_memory,
            vcpus,
            built: &built,
        });
        nodes.extend(xenbus::served_by(self.ids(pieces)));
        self.host.apply(&nodes)?;
        Ok(())
    }

    pub(super) fn devices(&mut self, pieces: &Pieces) -> Result<(), Cause> {
        self.host.set_store_target(pieces.stubdom, pieces.guest)?;
        for (index, disk) in self.config.disks.clone().iter().enumerate() {
            // One block device under both vbds: two would not see each other's writes.
            let device = &pieces.disks[index];
            self.attach(pieces.guest, disk.vdev, disk.mode, index == 0, device)?;
            if let Some(vdev) = Vdev::in_stubdom(index) {
                self.attach(pieces.stubdom, vdev, disk.mode, false, device)?;
            }
        }
        let args = qemu_args::qemu_args(&self.config, pieces.guest);
        let args = qemu_args::nodes(&args, pieces.plan.image.arguments)?;
        self.host.apply(&xenbus::qemu_release(self.ids(pieces), &args, &seed()))?;
        Ok(())
    }
}

/// Random bytes for a stubdomain: in each of these ids six bits are not random.
fn seed() -> String {
    [(); 3].map(|()| Uuid::new_v4().simple().to_string()).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_as_long_as_the_image_wants_it_and_never_the_same() {
        let one = seed();
        assert!(keys::SEED.contains(&(one.len() / 2)) && one.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(one, seed());
    }
}
