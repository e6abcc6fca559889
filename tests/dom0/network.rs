// SPDX-License-Identifier: GPL-3.0-only
//! PID 1's taps and bridges, made by its own code in dom0's kernel.

use std::fs;
use std::process::Command;

use stub_init::{launch, network, sys};
use stub_tests::probe::names;

const TAP: &str = "vif7.0-emu";
/// In place of netfront's interface, which a stubdomain of the lab does not have yet.
const INTERFACE: &str = "stub-test0";

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect(program);
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

fn of(interface: &str, what: &str) -> String {
    let path = format!("/sys/class/net/{interface}/{what}");
    fs::read_to_string(&path).expect(&path).trim().to_owned()
}

#[test]
fn a_tap_is_qemu_s_and_bridged_with_the_interface_to_dom0() {
    for module in ["tun", "bridge", "veth"] {
        run("modprobe", &[module]);
    }
    let before = names("/sys/class/net");
    run("ip", &["link", "add", INTERFACE, "type", "veth", "peer", "name", "stub-test1"]);
    run("ip", &["link", "set", "stub-test1", "up"]);
    sys::add_tap(TAP, launch::USER).expect("a tap");
    network::join_one("stub0", TAP, INTERFACE).expect("a bridge");
    assert_eq!(of(TAP, "owner"), "107");
    assert_eq!(names("/sys/class/net/stub0/brif"), [INTERFACE, TAP]);
    assert_eq!(of(INTERFACE, "address"), "fe:ff:ff:ff:ff:ff");
    for name in [TAP, INTERFACE, "stub0"] {
        let flags = of(name, "flags");
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).expect("a number");
        assert_eq!(flags & 1, 1, "{name} is not up");
    }
    // The tap is there when nobody has it open, so it goes only when it is told to.
    for name in [INTERFACE, TAP, "stub0"] {
        run("ip", &["link", "delete", name]);
    }
    assert_eq!(names("/sys/class/net"), before);
}
