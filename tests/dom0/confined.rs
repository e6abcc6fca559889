// SPDX-License-Identifier: GPL-3.0-only
//! What QEMU may do in its stubdomain, and how much it may say.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use stub_tests::guest::{Guest, image_cmdline};
use stub_tests::probe::Probe;
use stub_tests::stubctl;
use stub_tests::wait_for;

/// What QEMU and its libraries try and do without: `set_mempolicy`, `get_mempolicy`, `io_uring_setup`, `clone3`.
const DONE_WITHOUT: [u32; 4] = [238, 239, 425, 435];

/// What xenconsoled logged of a guest's stubdomain.
fn console(guest: &Guest) -> String {
    let path = format!("/var/log/xen/console/guest-{}-dm.log", guest.name);
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn qemu_has_a_user_and_no_rights() {
    let probe = Probe::take();
    let guest = Guest::new();
    stubctl::create_running(&guest);
    let rights = "Uid 107, CapEff 0000000000000000, NoNewPrivs 1, Seccomp 2";
    wait_for("the word on QEMU's rights", || console(&guest).contains(rights).then_some(()));
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn qemu_calls_nothing_that_is_not_on_the_list() {
    let probe = Probe::take();
    // The kernel tells of each call that the filter would have refused, without its own ration.
    let more = "stub.seccomp=log audit=1 sysctl.kernel.printk_ratelimit=0 loglevel=7";
    let cmdline = format!("{} {more}", image_cmdline().replace("quiet", ""));
    let guest = Guest::new().with(&format!("stubdomain_cmdline = \"{cmdline}\""));
    stubctl::create_running(&guest);
    guest.await_word();
    // What a monitor's client can have it do beside that.
    let within = || Instant::now() + Duration::from_secs(60);
    let host = libstub::XenHost::open().expect("a dom0");
    let name = libstub::Name::new(&guest.name).expect("a name");
    let journal = libstub::Journal::new(libstub::DIRECTORY);
    let mut qmp = libstub::qmp::connect(&host, &journal, &name, within()).expect("a session");
    for command in
        ["query-status", "query-block", "query-pci", "query-chardev", "stop", "cont", "system_reset"]
    {
        qmp.execute(command, None, within()).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    drop((qmp, host));
    stubctl::destroy(&guest);
    let text = console(&guest);
    let mut calls: BTreeMap<u32, u32> = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("type=1326")) {
        let number = line.split(" syscall=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        *calls.entry(number.unwrap_or_else(|| panic!("no call in {line}"))).or_default() += 1;
    }
    println!("figure: calls that the filter refuses, and how often they were made: {calls:?}");
    assert!(!calls.is_empty(), "not even what QEMU does without was logged:\n{text}");
    calls.retain(|call, _| !DONE_WITHOUT.contains(call));
    assert!(calls.is_empty(), "{calls:?}\n{text}");
    probe.assert_restored();
}

#[test]
fn qemu_gets_no_socket_to_any_network() {
    let probe = Probe::take();
    let line = "device_model_args_hvm = [ \"-chardev\", \
                \"socket,id=s,host=127.0.0.1,port=1,server=on,wait=off\" ]";
    let ran = stubctl::create(&Guest::new().with(line));
    assert_eq!(ran.status, 1, "{ran:?}");
    let error = ran.json()["error"].to_string();
    assert!(error.contains("Function not implemented"), "{error}");
    probe.assert_restored();
}

#[test]
fn a_qemu_that_never_stops_talking_fills_nothing_and_goes_on() {
    let probe = Probe::take();
    // SeaBIOS alone makes thousands of these.
    let line = "device_model_args_hvm = [ \"-trace\", \"cpu_in\", \"-trace\", \"cpu_out\" ]";
    let guest = Guest::new().with(line);
    stubctl::create_running(&guest);
    guest.await_word();
    let text = wait_for("the word on what was dropped", || {
        Some(console(&guest)).filter(|text| text.contains("bytes more were dropped]"))
    });
    println!("figure: {} bytes on the console of a flooding QEMU", text.len());
    assert!(text.len() < 48 * 1024, "{} bytes", text.len());
    stubctl::destroy(&guest);
    probe.assert_restored();
}
