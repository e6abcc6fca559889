// SPDX-License-Identifier: GPL-3.0-only
//! What a real create writes into xenstore, with its permissions and QEMU's arguments, is what was reviewed: the files
//! in `nodes/`.

use std::fmt::Write as _;

use stub_tests::guest::Guest;
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use xen_sys::{Access as _, PermissionAccess, Store};

/// Configs, and what was reviewed for each.
const MATRIX: [(&[&str], &str); 4] = [
    (&[], include_str!("nodes/ahci.txt")),
    (&["hdtype = \"ide\""], include_str!("nodes/ide.txt")),
    (&["disk = [ \"DISK,raw,xvda,rw\", \"DISK2,raw,xvdb,rw\" ]"], include_str!("nodes/two-disks.txt")),
    (&["disk = []", "maxmem = 32", "on_reboot = \"preserve\""], include_str!("nodes/no-disk.txt")),
];

/// What dom0's kernel, the stubdomain's and QEMU write into directories of ours; others write other things.
const OTHERS: [&str; 10] = [
    "feature-",
    "max-",
    "discard-",
    "multi-queue-",
    "sector",
    "physical-sector",
    "info",
    "ring-page",
    "protocol",
    "backends",
];

/// Values that are others each time.
const CHANGING: [&str; 8] =
    ["ring-ref", "port", "event-channel", "tty", "physical-device", "seed", "journal", "qmp"];

/// Nodes whose value is a domain id.
const DOMIDS: [&str; 5] = ["target", "domid", "frontend-id", "device-model-domid", "002"];

/// The names of a pair, in place of those it has this time.
struct Names {
    guest: String,
    stubdom: String,
    name: String,
    directory: String,
    uuids: Vec<(String, &'static str)>,
}

impl Names {
    fn path(&self, path: &str) -> String {
        let parts = path.split('/').map(|part| match part {
            part if part == self.guest => "GUEST",
            part if part == self.stubdom => "STUBDOM",
            part => self.uuids.iter().find(|(uuid, _)| uuid == part).map_or(part, |(_, name)| name),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    fn value(&self, path: &str, value: &str) -> String {
        let (above, node) = path.rsplit_once('/').unwrap_or_default();
        // A stubdomain has the memory that its image asks for.
        let of_image = above == "/local/domain/STUBDOM/memory" && value != "0";
        if of_image || CHANGING.iter().any(|name| node.starts_with(name)) {
            return "*".to_owned();
        }
        if DOMIDS.contains(&node) {
            return self.path(value);
        }
        let value = if value.starts_with('/') { self.path(value) } else { value.to_owned() };
        let value = self.uuids.iter().fold(value, |value, (uuid, name)| value.replace(uuid, name));
        value.replace(&self.directory, "DIRECTORY").replace(&self.name, "NAME")
    }
}

/// The subtree of a node: each with its value and permissions.
fn tree(store: &Store, path: &str, names: &Names, text: &mut String) {
    let node = path.rsplit('/').next().unwrap_or_default();
    if OTHERS.iter().any(|name| node.starts_with(name)) {
        return;
    }
    let Some(value) = store.read(path).expect("readable") else { return };
    let letter = |access| match access {
        PermissionAccess::None => 'n',
        PermissionAccess::Read => 'r',
        PermissionAccess::Write => 'w',
        PermissionAccess::Both => 'b',
    };
    let permissions = store.permissions(path).expect("readable").unwrap_or_default();
    let permissions: Vec<String> = permissions
        .iter()
        .map(|entry| format!("{}{}", letter(entry.access), names.path(&entry.domid.to_string())))
        .collect();
    let named = names.path(path);
    let value = names.value(&named, &String::from_utf8_lossy(&value));
    let _ = writeln!(text, "{named} = {value:?} {}", permissions.join(","));
    let mut children = store.list(path).expect("listable").unwrap_or_default();
    children.sort();
    for child in children {
        tree(store, &format!("{path}/{child}"), names, text);
    }
}

/// All that is in xenstore of a pair.
fn nodes(guest: &Guest, (domid, stubdom): (u16, u16)) -> String {
    let store = Store::open().expect("xenstored");
    let (domid, stubdom) = (domid.to_string(), stubdom.to_string());
    let vm = |domid: &str| {
        let vm = store.read(&format!("/local/domain/{domid}/vm")).expect("readable").expect("a vm");
        String::from_utf8(vm).expect("a path")
    };
    let (vm_guest, vm_stubdom) = (vm(&domid), vm(&stubdom));
    let uuid = |vm: &str| vm.trim_start_matches("/vm/").to_owned();
    let names = Names {
        uuids: vec![(uuid(&vm_guest), "UUID"), (uuid(&vm_stubdom), "STUBDOM-UUID")],
        name: guest.name.clone(),
        directory: guest.config().parent().expect("a directory").display().to_string(),
        guest: domid.clone(),
        stubdom: stubdom.clone(),
    };
    let mut text = String::new();
    for domid in [&domid, &stubdom] {
        tree(&store, &format!("/local/domain/{domid}"), &names, &mut text);
        tree(&store, &format!("/local/domain/0/backend/vbd/{domid}"), &names, &mut text);
    }
    tree(&store, &vm_guest, &names, &mut text);
    tree(&store, &vm_stubdom, &names, &mut text);
    text
}

#[test]
fn what_a_create_writes_is_what_was_reviewed() {
    let probe = Probe::take();
    let mut wrong = Vec::new();
    for (number, (lines, reviewed)) in MATRIX.into_iter().enumerate() {
        let guest = lines.iter().fold(Guest::new(), |guest, line| {
            let disk = guest.disk();
            let second = disk.with_file_name("disk2");
            std::fs::copy(&disk, &second).expect("a second disk");
            let line = line.replace("DISK2", &second.display().to_string());
            guest.with(&line.replace("DISK", &disk.display().to_string()))
        });
        let ids = stubctl::create_running(&guest);
        let text = nodes(&guest, ids);
        stubctl::destroy(&guest);
        if text != reviewed {
            println!("== {number} ==\n{text}== end of {number} ==");
            wrong.push(number);
        }
    }
    probe.assert_restored();
    assert!(wrong.is_empty(), "other nodes than those reviewed for {wrong:?}: see above");
}
