// SPDX-License-Identifier: GPL-3.0-only
//! Domains that end, during a create and after it, as Xen and the toolstack see them.

use std::process::{Child, Command};

use stub_tests::guest::{Guest, image_cmdline};
use stub_tests::probe::Probe;
use stub_tests::program::Program;
use stub_tests::stubctl::{self, stubctl};
use stub_tests::wait_for;
use xen_sys::{Access as _, Ctrl, DomId, DomainInfo, DomainKind, ShutdownReason, Store};

/// A create under way.
struct Create(Child);

impl Create {
    fn start(guest: &Guest) -> Self {
        Self(Command::new("stubctl").arg("create").arg(guest.config()).spawn().expect("stubctl"))
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }

    fn status(&mut self) -> Option<i32> {
        self.0.wait().expect("its status").code()
    }
}

fn domain(kind: DomainKind) -> Option<DomainInfo> {
    let domains = Ctrl::open().and_then(|ctrl| ctrl.domains()).expect("the list of domains");
    domains.into_iter().find(|info| info.domid != DomId::DOM0 && info.kind == kind)
}

/// The two domains, when the stubdomain's kernel runs.
fn booted() -> (DomId, DomId) {
    wait_for("the stubdomain's kernel", || {
        let (guest, stubdom) = (domain(DomainKind::Hvm)?.domid, domain(DomainKind::Pv)?.domid);
        let stage = format!("/local/domain/{stubdom}/device-model/{guest}/stub/stage");
        Store::open().expect("xenstored").read(&stage).expect("readable").map(|_| (guest, stubdom))
    })
}

#[test]
fn the_exit_of_qemu_powers_its_stubdom_off() {
    let probe = Probe::take();
    let guest = Guest::new().with("device_model_args_hvm = [ \"-nonsense\" ]");
    let mut create = Create::start(&guest);
    booted();
    // Held back, the create cannot end the stubdomain before Xen has the reason.
    create.signal("-STOP");
    wait_for("the end of the stubdomain", || {
        domain(DomainKind::Pv)?.shutdown.filter(|reason| *reason == ShutdownReason::Poweroff)
    });
    create.signal("-CONT");
    assert_eq!(create.status(), Some(1));
    probe.assert_restored();
}

#[test]
fn a_qemu_that_is_killed_crashes_its_stubdom() {
    let probe = Probe::take();
    let directory = tempfile::tempdir().expect("a directory");
    let guest = Program::Segfault.guest(directory.path());
    let mut create = Create::start(&guest);
    booted();
    create.signal("-STOP");
    wait_for("the end of the stubdomain", || {
        domain(DomainKind::Pv)?.shutdown.filter(|reason| *reason == ShutdownReason::Crash)
    });
    create.signal("-CONT");
    assert_eq!(create.status(), Some(1));
    drop((guest, directory));
    probe.assert_restored();
}

#[test]
fn a_guest_that_is_destroyed_ends_the_wait() {
    let probe = Probe::take();
    let guest = Guest::new().with("stubdomain_timeout = 3600");
    let mut create = Create::start(&guest);
    let (domid, _) = booted();
    Ctrl::open().and_then(|ctrl| ctrl.destroy(domid)).expect("destroyed");
    assert_eq!(create.status(), Some(1));
    probe.assert_restored();
}

#[test]
fn a_stubdom_that_panics_later_shows_in_the_list() {
    let probe = Probe::take();
    let cmdline = format!("{} sysrq_always_enabled", image_cmdline());
    let guest = Guest::new().with(&format!("stubdomain_cmdline = \"{cmdline}\""));
    let (_, stubdom) = stubctl::create_running(&guest);
    let sysrq = format!("/local/domain/{stubdom}/control/sysrq");
    Store::open().expect("xenstored").write(&sysrq, b"c").expect("a key");
    wait_for("the stubdomain's panic", || {
        domain(DomainKind::Pv)?.shutdown.filter(|reason| *reason == ShutdownReason::Crash)
    });
    assert_eq!(stubctl(&["--json", "list"]).json()["pairs"][0]["state"], "stubdom-dead");
    stubctl::destroy(&guest);
    probe.assert_restored();
}
