// SPDX-License-Identifier: GPL-3.0-only
//! The guest's emulated network cards: a tap for QEMU and the stubdomain's own interface to dom0, joined by a bridge.
//!
//! A tap with the name that every toolstack gives it, `vifDOMID.DEVID-emu`, belongs to the interface with that device number;
//! of the others the first that QEMU's arguments name belongs to the interface with the lowest number left, and so on.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::{InitError, launch, sys};

const INTERFACES: &str = "/sys/class/net";
const TUN: &str = "/dev/net/tun";
/// For the interfaces that are there, and for those to come.
const NO_IPV6: [&str; 2] =
    ["/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/default/disable_ipv6"];
/// dom0 gives the stubdomain's interface the address of the guest's card. The bridge would keep what is sent to it, so
/// here it gets the address that Xen's own scripts give to ports of bridges.
const PORT_ADDRESS: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
/// The multicast group of the kernel's own events about devices.
const KERNEL_EVENTS: u32 = 1;

/// The taps that these arguments of QEMU name.
pub fn taps(arguments: &[String]) -> Vec<&str> {
    let netdevs = arguments.iter().zip(arguments.iter().skip(1)).filter(|(option, _)| *option == "-netdev");
    netdevs
        .map(|(_, netdev)| netdev.split(',').collect::<Vec<_>>())
        .filter(|parts| parts.iter().any(|part| matches!(*part, "tap" | "type=tap")))
        .filter_map(|parts| parts.into_iter().find_map(|part| part.strip_prefix("ifname=")))
        .collect()
}

/// Joins each of the taps with an interface of this domain; each interface may take until `deadline` to appear.
pub fn join(taps: &[&str], deadline: Duration) -> Result<(), InitError> {
    if taps.is_empty() {
        return Ok(());
    }
    // No word of the stubdomain itself on the guest's network. A kernel without IPv6 says none.
    for file in NO_IPV6 {
        let _ = fs::write(file, "1");
    }
    let interfaces = wait(taps, deadline)?;
    for (index, (tap, interface)) in taps.iter().zip(&interfaces).enumerate() {
        sys::add_tap(tap, launch::USER).map_err(failed("making", tap))?;
        join_one(&format!("stub{index}"), tap, interface)?;
    }
    Ok(())
}

/// The interface of each tap, nothing as long as one is missing.
fn assign(taps: &[&str], found: &[(u32, String)]) -> Option<Vec<String>> {
    let numbers: Vec<Option<u32>> = taps.iter().map(|tap| device_number(tap)).collect();
    let mut left = found.iter().filter(|(number, _)| !numbers.contains(&Some(*number)));
    let of = |number: u32| found.iter().find(|(found, _)| *found == number);
    let interface = |number: Option<u32>| match number {
        Some(number) => of(number),
        None => left.next(),
    };
    numbers.iter().copied().map(interface).map(|found| Some(found?.1.clone())).collect()
}

/// The number of the guest's network card whose tap has this name.
fn device_number(tap: &str) -> Option<u32> {
    tap.strip_prefix("vif")?.strip_suffix("-emu")?.split_once('.')?.1.parse().ok()
}

/// Makes `bridge` and connects both to it.
pub fn join_one(bridge: &str, tap: &str, interface: &str) -> Result<(), InitError> {
    sys::add_bridge(bridge).map_err(failed("making", bridge))?;
    sys::set_address(interface, PORT_ADDRESS).map_err(failed("changing the address of", interface))?;
    for port in [tap, interface] {
        sys::add_port(bridge, port).map_err(failed("bridging", port))?;
    }
    for name in [tap, interface, bridge] {
        sys::set_up(name).map_err(failed("bringing up", name))?;
    }
    Ok(())
}

/// QEMU's way to its taps, if it has some.
pub fn devices(taps: &[&str]) -> Option<&'static Path> {
    (!taps.is_empty()).then_some(Path::new(TUN))
}

/// Waits for the interface of each tap.
fn wait(taps: &[&str], deadline: Duration) -> Result<Vec<String>, InitError> {
    let end = Instant::now() + deadline;
    let broken = |errno: Errno| InitError::Wait { source: errno };
    let events = kernel_events().map_err(broken)?;
    loop {
        // Looked for only now: what appeared before the socket existed makes no event.
        let found = interfaces(Path::new(INTERFACES));
        if let Some(interfaces) = assign(taps, &found) {
            return Ok(interfaces);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let path = format!("vif of {}, beside {found:?},", taps.join(" and ")).into();
            return Err(InitError::NoDevice { path, deadline });
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(broken(errno)),
        }
        // An event only says: look again. So does a queue that ran over.
        let mut event = [0; 4096];
        while !matches!(recv_now(&events, &mut event), Err(Errno::EAGAIN)) {}
    }
}

fn recv_now(events: &OwnedFd, buffer: &mut [u8]) -> nix::Result<usize> {
    recv(events.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
}

fn kernel_events() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let events =
        socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
    bind(events.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_EVENTS))?;
    Ok(events)
}

/// xen-netfront's interfaces, in the order of their device numbers.
fn interfaces(directory: &Path) -> Vec<(u32, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<(u32, String)> = entries
        .filter_map(|entry| {
            let node = fs::read_to_string(entry.path().join("device/nodename")).ok()?;
            let number = node.trim_end().strip_prefix(proto::keys::VIF)?.parse().ok()?;
            Some((number, entry.file_name().into_string().ok()?))
        })
        .collect();
    found.sort_unstable();
    found
}

fn failed(operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> InitError {
    let name = name.to_owned();
    move |source| InitError::Network { operation, name, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_found_in_the_order_of_the_arguments() {
        let arguments = [
            "-device",
            "e1000,id=nic0,netdev=net0",
            "-netdev",
            "type=tap,id=net0,ifname=vif7.0-emu,br=xenbr0,script=no,downscript=no",
            "-netdev",
            "user,id=net1",
            "-netdev",
            "tap,ifname=tap2,id=net2",
            "-name",
            "ifname=no",
        ]
        .map(String::from);
        assert_eq!(taps(&arguments), ["vif7.0-emu", "tap2"]);
        assert!(devices(&taps(&arguments)).is_some() && devices(&[]).is_none());
    }

    #[test]
    fn interfaces_come_by_their_device_number() {
        let directory = tempfile::tempdir().unwrap();
        for (name, node) in [("eth0", "device/vif/10\n"), ("eth1", "device/vif/9\n"), ("lo", "")] {
            let device = directory.path().join(name).join("device");
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("nodename"), node).unwrap();
        }
        assert_eq!(interfaces(directory.path()), [(9, "eth1".to_owned()), (10, "eth0".to_owned())]);
    }

    #[test]
    fn a_tap_gets_the_interface_with_its_number_and_any_other_the_lowest_left() {
        let found = [(0, "eth0"), (1, "eth1"), (2, "eth2")].map(|(number, name)| (number, name.to_owned()));
        let assigned = |taps: &[&str]| assign(taps, &found);
        let names = |names: &[&str]| Some(names.iter().copied().map(str::to_owned).collect());
        assert_eq!(assigned(&["vif7.1-emu", "vif7.0-emu"]), names(&["eth1", "eth0"]));
        assert_eq!(assigned(&["tap0", "vif7.0-emu", "tap1"]), names(&["eth1", "eth0", "eth2"]));
        assert_eq!(assigned(&["vif7.3-emu"]), None, "a PV interface of another number is none for it");
        assert_eq!(assigned(&["a", "b", "c", "d"]), None);
    }

    #[test]
    fn an_interface_that_stays_away_is_named_with_the_deadline() {
        let error = wait(&["vif7.1-emu"], Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("did not appear within 20ms"), "{error}");
    }
}
