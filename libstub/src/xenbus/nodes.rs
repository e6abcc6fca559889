// SPDX-License-Identifier: GPL-3.0-only
//! The nodes of a domain, a console and a device model (Xen's `docs/misc/xenstore-paths.pandoc`).

use proto::keys;
use uuid::Uuid;
use xen_sys::{DomId, Kib};

use super::batch::{Access, Batch};
use super::mark::Mark;
use crate::host::Built;
use crate::qemu_args::QemuArgs;

/// How much a console may buffer in xenconsoled.
const CONSOLE_LIMIT: &str = "1048576";

/// What names a domain until it is introduced, for toolstacks only.
pub(crate) fn shell(domid: DomId, name: &str, mark: &Mark) -> Batch {
    let home = keys::home(domid.get());
    let mut batch = Batch::default();
    batch.remove(&home);
    batch.node(&home, Access::Hidden);
    mark.write(domid, &mut batch);
    batch.write(format!("{home}/name"), name);
    batch
}

/// What there is to know of a domain that is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Domain<'a> {
    pub(crate) domid: DomId,
    pub(crate) uuid: Uuid,
    pub(crate) name: &'a str,
    pub(crate) memory: Kib,
    pub(crate) max_memory: Kib,
    pub(crate) vcpus: u32,
    pub(crate) built: &'a Built,
}

/// What a domain reads about itself, and what it may write itself.
///
/// Written after it is introduced: a C xenstored that is updated live forgets the rights of domains that it does not know,
/// and dies of nodes that they own (4.17: "Accounting called for non-existing domain").
pub(crate) fn connect(domain: &Domain<'_>) -> Batch {
    let Domain { domid, uuid, name, memory, max_memory, vcpus, built } = *domain;
    let home = keys::home(domid.get());
    let vm = keys::vm(&uuid.to_string());
    let mut batch = Batch::default();
    batch.node(&home, Access::Readable(domid));
    batch.remove(&vm);
    batch.node(&vm, Access::Readable(domid));
    batch.write(format!("{vm}/uuid"), uuid.to_string());
    batch.write(format!("{vm}/name"), name);
    batch.write(format!("{home}/vm"), vm);
    batch.write_as(format!("{home}/name"), name, Access::Readable(domid));
    batch.write(format!("{home}/domid"), domid.to_string());
    // A guest that is populated on demand is told of a MiB less (LIBXL_MAXMEM_CONSTANT), so that what it holds
    // fits into what Xen lets it have.
    let fudge = if max_memory > memory { Kib::from_mib(1) } else { Kib::new(0) };
    let target = memory.saturating_sub(fudge);
    batch.write(format!("{home}/memory/static-max"), max_memory.get().to_string());
    batch.write(format!("{home}/memory/target"), target.get().to_string());
    batch.write(format!("{home}/memory/videoram"), "0");
    batch.write(format!("{home}/store/port"), built.store.port.get().to_string());
    batch.write(format!("{home}/store/ring-ref"), built.store.gfn.get().to_string());
    for cpu in 0..vcpus {
        batch.write(format!("{home}/cpu/{cpu}/availability"), "online");
    }
    batch.extend(console(domid, built));
    batch.extend(own(domid));
    batch
}

/// Where a domain writes itself.
fn own(domid: DomId) -> Batch {
    let home = keys::home(domid.get());
    let mut batch = Batch::default();
    for answer in [
        "shutdown",
        "sysrq",
        "feature-poweroff",
        "feature-reboot",
        "feature-suspend",
        "feature-s3",
        "feature-s4",
    ] {
        batch.node(format!("{home}/control/{answer}"), Access::Own(domid));
    }
    batch.write(format!("{home}/control/platform-feature-multiprocessor-suspend"), "1");
    batch.write(format!("{home}/control/platform-feature-xs_reset_watches"), "1");
    batch.node(format!("{home}/device/suspend/event-channel"), Access::Own(domid));
    for own in ["data", "drivers", "feature", "attr", "error"] {
        batch.node(format!("{home}/{own}"), Access::Own(domid));
    }
    batch
}

/// Console 0, which xenconsoled serves. The domain reads it only (XSA-57).
fn console(domid: DomId, built: &Built) -> Batch {
    let console = format!("{}/console", keys::home(domid.get()));
    let mut batch = Batch::default();
    batch.write(&console, "");
    batch.write(format!("{console}/type"), "xenconsoled");
    batch.write(format!("{console}/limit"), CONSOLE_LIMIT);
    batch.write(format!("{console}/output"), "pty");
    batch.write(format!("{console}/tty"), "");
    batch.write(format!("{console}/port"), built.console.port.get().to_string());
    batch.write(format!("{console}/ring-ref"), built.console.gfn.get().to_string());
    batch
}

/// The two ids and the guest's identity that the stubdomain's nodes are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stubdom {
    pub(crate) domid: DomId,
    pub(crate) guest: DomId,
    pub(crate) guest_uuid: Uuid,
}

/// Ties a stubdomain to its guest: `target`, which Linux reads once at boot, and the directory where it reports.
pub(crate) fn target(stubdom: Stubdom) -> Batch {
    let home = keys::home(stubdom.domid.get());
    let mut batch = Batch::default();
    batch.write(format!("{home}/{}", keys::TARGET), stubdom.guest.to_string());
    batch.write(format!("{home}/device-model"), "");
    batch.node(
        keys::device_model(stubdom.domid.get(), stubdom.guest.get()),
        Access::Shared(stubdom.domid, stubdom.guest),
    );
    batch
}

/// Below a guest's home: its stubdomain.
pub(crate) const DEVICE_MODEL_DOMID: &str = "image/device-model-domid";

/// Names a guest's stubdomain to toolstacks.
pub(crate) fn served_by(stubdom: Stubdom) -> Batch {
    let mut batch = Batch::default();
    let node = format!("{}/{DEVICE_MODEL_DOMID}", keys::home(stubdom.guest.get()));
    batch.write(node, stubdom.domid.to_string());
    batch
}

/// QEMU's arguments, what hvmloader must know, a seed for the stubdomain's random numbers, and the key that releases QEMU.
pub(crate) fn qemu_release(stubdom: Stubdom, args: &QemuArgs, seed: &str) -> Batch {
    let guest = keys::home(stubdom.guest.get());
    let mut batch = Batch::default();
    batch.write(format!("{guest}/hvmloader/bios"), "seabios");
    // QEMU cannot follow a relocation of the guest's memory.
    batch.write(format!("{guest}/hvmloader/allow-memory-relocate"), "0");
    for key in ["acpi", "acpi_s3", "acpi_s4"] {
        batch.write(format!("{guest}/platform/{key}"), "1");
    }
    batch.write(format!("{guest}/platform/device-model"), "qemu_xen");
    let vm = keys::vm(&stubdom.guest_uuid.to_string());
    match args {
        QemuArgs::Each(nodes) => {
            let directory = keys::dm_argv(&vm);
            batch.node(&directory, Access::Readable(stubdom.domid));
            for (name, value) in nodes {
                batch.write(format!("{directory}/{name}"), value);
            }
        }
        QemuArgs::Joined(line) => {
            batch.write_as(keys::dmargs(&vm), line, Access::Readable(stubdom.domid));
        }
    }
    let report = keys::device_model(stubdom.domid.get(), stubdom.guest.get());
    // dom0's nodes in the stubdomain's directory: the stubdomain may only read them, and the guest not even that.
    batch.write_as(format!("{report}/{}", keys::name::SEED), seed, Access::Readable(stubdom.domid));
    batch.write_as(format!("{report}/{}", keys::name::GO), keys::GO, Access::Readable(stubdom.domid));
    batch
}
