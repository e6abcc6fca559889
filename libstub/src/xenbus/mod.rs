// SPDX-License-Identifier: GPL-3.0-only
//! What goes into xenstore: all paths, permissions and states that the toolstack writes.
//!
//! A [`Batch`] is a transaction as data: what a create writes can be looked at and compared before it is done.

mod batch;
mod mark;
mod nodes;
mod vbd;

pub use batch::{Batch, Op};
pub(crate) use mark::{Mark, Role};
pub(crate) use nodes::{
    DEVICE_MODEL_DOMID, Domain, Stubdom, connect, qemu_release, served_by, shell, target,
};
pub(crate) use vbd::{Vbd, VbdMark, state_in_words};

/// Fires when a domain dies or is gone.
pub(crate) const RELEASE_DOMAIN: &str = "@releaseDomain";

/// The domain that xenstored runs in; absent where it is dom0.
pub(crate) const STORE_DOMAIN: &str = "/tool/xenstored/domid";

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use uuid::Uuid;
    use xen_sys::{DomId, EvtchnPort, Gfn, Kib, PermissionAccess};

    use super::*;
    use crate::config::{DiskMode, Name, Vdev};
    use crate::host::{Built, Ring};
    use crate::qemu_args::QemuArgs;

    fn render(text: &mut String, title: &str, batch: &Batch) {
        let _ = writeln!(text, "# {title}");
        for op in batch.ops() {
            let _ = match op {
                Op::Remove { path } | Op::RemoveEmpty { path } => writeln!(text, "{} {path}", op.verb()),
                Op::Write { path, value, permissions } => {
                    let letter = |access| match access {
                        PermissionAccess::None => 'n',
                        PermissionAccess::Read => 'r',
                        PermissionAccess::Write => 'w',
                        PermissionAccess::Both => 'b',
                    };
                    let entries = permissions.iter().flatten();
                    let entries = entries.map(|entry| format!("{}{}", letter(entry.access), entry.domid));
                    let entries = entries.collect::<Vec<_>>().join(",");
                    let line = format!("{path} = {:?} {entries}", String::from_utf8_lossy(value));
                    writeln!(text, "{}", line.trim_end())
                }
            };
        }
    }

    #[test]
    fn every_node_of_a_pair_is_as_reviewed() {
        let (guest, stubdom, uuid) = (DomId::new(5), DomId::new(6), Uuid::from_u128(0xd));
        let ring = |gfn, port| Ring { gfn: Gfn::new(gfn), port: EvtchnPort::new(port) };
        let built = Built { store: ring(0xfeffc, 1), console: ring(0xfefff, 2) };
        let ids = Stubdom { domid: stubdom, guest, guest_uuid: uuid };
        let vdev = Vdev::parse("xvda").expect("a vdev");
        let vbd = Vbd { domid: guest, vdev, mode: DiskMode::ReadWrite, bootable: true, major: 7, minor: 26 };
        let mut text = String::new();
        render(
            &mut text,
            "shell of the guest",
            &shell(
                guest,
                "g",
                &Mark::new(&Name::new("g").expect("a name"), Role::Guest, Path::new("/journal")),
            ),
        );
        let memory = Kib::from_mib(64);
        let domain =
            Domain { domid: guest, uuid, name: "g", memory, max_memory: memory, vcpus: 2, built: &built };
        render(&mut text, "guest introduced", &connect(&domain));
        render(&mut text, "guest served", &served_by(ids));
        render(&mut text, "stubdom tied to its guest", &target(ids));
        let each = QemuArgs::Each(vec![("001".to_owned(), "-xen-domid".to_owned())]);
        render(&mut text, "QEMU released", &qemu_release(ids, &each, "5eed"));
        render(&mut text, "vbd", &vbd.create());
        render(&mut text, "vbd taken away", &vbd.mark().force_close());
        expect_test::expect_file!["golden.txt"].assert_eq(&text);
    }

    #[test]
    fn arguments_in_one_node_are_the_stubdoms_to_read() {
        let ids = Stubdom { domid: DomId::new(6), guest: DomId::new(5), guest_uuid: Uuid::from_u128(0xd) };
        let mut text = String::new();
        render(&mut text, "", &qemu_release(ids, &QemuArgs::Joined("-xen-domid 5".to_owned()), ""));
        let node = "/vm/00000000-0000-0000-0000-00000000000d/image/dmargs = \"-xen-domid 5\" n0,r6\n";
        assert!(text.contains(node) && !text.contains("dm-argv"), "{text}");
    }

    #[test]
    fn a_guest_that_is_populated_on_demand_is_asked_to_stay_below_its_memory() {
        let ring = Ring { gfn: Gfn::new(1), port: EvtchnPort::new(1) };
        let built = Built { store: ring, console: ring };
        let domain = Domain {
            domid: DomId::new(5),
            uuid: Uuid::from_u128(0xd),
            name: "g",
            memory: Kib::from_mib(64),
            max_memory: Kib::from_mib(128),
            vcpus: 1,
            built: &built,
        };
        let mut text = String::new();
        render(&mut text, "", &connect(&domain));
        assert!(text.contains("memory/static-max = \"131072\""), "{text}");
        assert!(text.contains("memory/target = \"64512\""), "{text}");
    }
}
