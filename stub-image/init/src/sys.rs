// SPDX-License-Identifier: GPL-3.0-only
//! Calls to the kernel that no crate makes safe: event channels, granted pages, taps and bridges, Xen's own shutdown.
//!
//! The only `unsafe` code of this crate. Numbers and structures are those of linux/xen's `evtchn.h`, `gntalloc.h` and
//! `privcmd.h`, and of `if_tun.h` and `sockios.h`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use nix::libc;
use proto::keys::SEED;

const PAGE: usize = 4096;

/// The number of a request without direction, as all of Xen's are.
const fn request(driver: u8, number: u8, size: u16) -> libc::Ioctl {
    (size as libc::Ioctl) << 16 | (driver as libc::Ioctl) << 8 | number as libc::Ioctl
}

const EVTCHN_BIND_UNBOUND: libc::Ioctl = request(b'E', 2, 4);
const EVTCHN_UNBIND: libc::Ioctl = request(b'E', 3, 4);
const EVTCHN_NOTIFY: libc::Ioctl = request(b'E', 4, 4);
const GNTALLOC_ALLOC: libc::Ioctl = request(b'G', 5, 24);
const GNTALLOC_DEALLOC: libc::Ioctl = request(b'G', 6, 16);
const SIOCBRADDBR: libc::Ioctl = 0x89a0;
const SIOCBRADDIF: libc::Ioctl = 0x89a2;
const PRIVCMD_HYPERCALL: libc::Ioctl = request(b'P', 0, 48);

/// Calls the kernel with a structure that it reads, and may write.
///
/// # Safety
/// `T` is what `request` takes, and its pointers, if it has any, are valid for what the request does with them.
unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: libc::Ioctl, argument: &mut T) -> io::Result<u32> {
    // SAFETY: the descriptor is open, the structure is borrowed for the call; the rest is the caller's promise.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Event channels of this domain behind one descriptor, which is readable while one of them is pending.
#[derive(Debug)]
pub struct Events(File);

impl Events {
    /// Opens the interface.
    pub fn open() -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/xen/evtchn").map(Self)
    }

    /// Offers a port to a domain.
    pub fn offer(&self, domid: u16) -> io::Result<u32> {
        let mut remote = u32::from(domid);
        // SAFETY: the request takes one word.
        unsafe { ioctl(self.as_fd(), EVTCHN_BIND_UNBOUND, &mut remote) }
    }

    /// Closes a port.
    pub fn close(&self, port: u32) -> io::Result<()> {
        let mut port = port;
        // SAFETY: the request takes one word.
        unsafe { ioctl(self.as_fd(), EVTCHN_UNBIND, &mut port) }.map(drop)
    }

    /// Makes a port pending at its other end.
    pub fn ring(&self, port: u32) -> io::Result<()> {
        let mut port = port;
        // SAFETY: the request takes one word.
        unsafe { ioctl(self.as_fd(), EVTCHN_NOTIFY, &mut port) }.map(drop)
    }

    /// Takes all that is pending and lets it become pending again; whatever it is, all is to be looked at.
    pub fn acknowledge(&self) -> io::Result<()> {
        let mut ports = [0; 64];
        loop {
            match (&self.0).read(&mut ports) {
                Ok(0) => return Ok(()),
                Ok(count) => (&self.0).write_all(&ports[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A page that another domain may map. Dropped, it is freed as soon as the other has it no more.
#[derive(Debug)]
pub struct GrantedPage {
    device: File,
    index: u64,
    grant: u32,
    words: NonNull<AtomicU32>,
}

#[repr(C)]
struct AllocGrant {
    domid: u16,
    flags: u16,
    count: u32,
    index: u64,
    grant: u32,
    padding: u32,
}

#[repr(C)]
struct DeallocGrant {
    index: u64,
    count: u32,
    padding: u32,
}

impl GrantedPage {
    /// A new page, all zero, that `domid` may map and write.
    pub fn new(domid: u16) -> io::Result<Self> {
        const WRITABLE: u16 = 1;
        let device = File::options().read(true).write(true).open("/dev/xen/gntalloc")?;
        let mut alloc = AllocGrant { domid, flags: WRITABLE, count: 1, index: 0, grant: 0, padding: 0 };
        // SAFETY: the structure is the request's; one grant is asked for, and it has room for one.
        unsafe { ioctl(device.as_fd(), GNTALLOC_ALLOC, &mut alloc) }?;
        let offset = libc::off_t::try_from(alloc.index).map_err(io::Error::other)?;
        // SAFETY: a new mapping, of the page that was just allocated, at an address that the kernel chooses.
        let page = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), PAGE, protection, libc::MAP_SHARED, device.as_raw_fd(), offset)
        };
        if page == libc::MAP_FAILED {
            // Closing the device frees the page.
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(page.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { device, index: alloc.index, grant: alloc.grant, words })
    }

    /// The number under which the other domain maps it.
    pub fn grant(&self) -> u32 {
        self.grant
    }
}

impl AsRef<[AtomicU32]> for GrantedPage {
    fn as_ref(&self) -> &[AtomicU32] {
        // SAFETY: the page is mapped as long as this lives, and aligned. The other domain writes to it, so everyone
        // here goes through atomics, which have no value that is not valid.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), PAGE / size_of::<AtomicU32>()) }
    }
}

impl Drop for GrantedPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size; whoever had a slice of it borrowed this.
        unsafe { libc::munmap(self.words.as_ptr().cast(), PAGE) };
        let mut dealloc = DeallocGrant { index: self.index, count: 1, padding: 0 };
        // SAFETY: the structure is the request's. A failure is mended when the device is closed, right after this.
        let _ = unsafe { ioctl(self.device.as_fd(), GNTALLOC_DEALLOC, &mut dealloc) };
    }
}

#[repr(C)]
struct Hypercall {
    number: u64,
    arguments: [u64; 5],
}

/// Ends the domain as crashed, at once; returns only if privcmd is not there or may not.
pub fn crash() -> io::Error {
    const SCHED_OP: u64 = 29;
    const SHUTDOWN: u64 = 2;
    const CRASH: u32 = 3;
    let device = match File::options().read(true).write(true).open("/dev/xen/privcmd") {
        Ok(device) => device,
        Err(error) => return error,
    };
    let reason = Box::new(CRASH);
    let address = std::ptr::from_ref(&*reason).expose_provenance();
    let mut call =
        Hypercall { number: SCHED_OP, arguments: [SHUTDOWN, u64::try_from(address).unwrap_or(0), 0, 0, 0] };
    // SAFETY: the structure is the request's. Xen reads one word at the address, which outlives the call.
    match unsafe { ioctl(device.as_fd(), PRIVCMD_HYPERCALL, &mut call) } {
        Ok(_) => io::Error::other("Xen went on"),
        Err(error) => error,
    }
}

/// Adds to the kernel's random numbers what nobody else knows.
pub fn add_entropy(seed: &[u8]) -> io::Result<()> {
    const MOST: usize = *SEED.end();
    /// `struct rand_pool_info` of linux/random.h.
    #[repr(C)]
    struct Pool {
        bits: libc::c_int,
        size: libc::c_int,
        seed: [u8; MOST],
    }
    const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
    let size = libc::c_int::try_from(seed.len()).map_err(io::Error::other)?;
    let mut pool = Pool { bits: 256, size, seed: [0; MOST] };
    pool.seed.get_mut(..seed.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(seed);
    let device = File::options().write(true).open("/dev/urandom")?;
    // SAFETY: the request reads as much of the last field as the size field tells, which is no more than it has.
    unsafe { ioctl(device.as_fd(), RNDADDENTROPY, &mut pool) }.map(drop)
}

/// An Ethernet device of our own that `owner` may open, without any other right to the network.
pub fn add_tap(name: &str, owner: u32) -> io::Result<()> {
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    const TUNSETPERSIST: libc::Ioctl = 0x4004_54cb;
    const TUNSETOWNER: libc::Ioctl = 0x4004_54cc;
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    let flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).map_err(io::Error::other)?;
    let mut interface = interface(name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    // SAFETY: the request reads and writes an ifreq.
    unsafe { ioctl(device.as_fd(), TUNSETIFF, &mut interface) }?;
    for (request, value) in [(TUNSETOWNER, owner), (TUNSETPERSIST, 1)] {
        // SAFETY: the requests take a number in place of the pointer.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), request, libc::c_ulong::from(value)) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A new bridge.
pub fn add_bridge(name: &str) -> io::Result<()> {
    // The request takes a name only, which an ifreq begins with.
    let mut bridge = interface(name, libc::__c_anonymous_ifr_ifru { ifru_flags: 0 })?;
    // SAFETY: the request reads IFNAMSIZ bytes.
    unsafe { ioctl(network()?.as_fd(), SIOCBRADDBR, &mut bridge) }.map(drop)
}

/// Makes an interface a port of a bridge.
pub fn add_port(bridge: &str, port: &str) -> io::Result<()> {
    let network = network()?;
    let mut found = interface(port, libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 })?;
    // SAFETY: the request reads the name and writes the index of an ifreq.
    unsafe { ioctl(network.as_fd(), libc::SIOCGIFINDEX, &mut found) }?;
    let mut bridge = interface(bridge, found.ifr_ifru)?;
    // SAFETY: the request reads name and index of an ifreq.
    unsafe { ioctl(network.as_fd(), SIOCBRADDIF, &mut bridge) }.map(drop)
}

/// Gives an interface this address.
pub fn set_address(name: &str, address: [u8; 6]) -> io::Result<()> {
    let mut data = [0; 14];
    for (to, from) in data.iter_mut().zip(address) {
        *to = from.cast_signed();
    }
    let hardware = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: data };
    let mut interface = interface(name, libc::__c_anonymous_ifr_ifru { ifru_hwaddr: hardware })?;
    // SAFETY: the request reads name and address of an ifreq.
    unsafe { ioctl(network()?.as_fd(), libc::SIOCSIFHWADDR, &mut interface) }.map(drop)
}

/// Brings an interface up.
pub fn set_up(name: &str) -> io::Result<()> {
    let flags = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    let mut interface = interface(name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    // SAFETY: the request reads name and flags of an ifreq.
    unsafe { ioctl(network()?.as_fd(), libc::SIOCSIFFLAGS, &mut interface) }.map(drop)
}

/// A socket of no other use than to reach the network's requests. Not one of the Internet's: the C library's resolver of
/// names would come with it, an eighth of this program.
fn network() -> io::Result<UnixDatagram> {
    UnixDatagram::unbound()
}

fn interface(name: &str, value: libc::__c_anonymous_ifr_ifru) -> io::Result<libc::ifreq> {
    let mut bytes = [0; libc::IFNAMSIZ];
    // The last byte stays zero.
    if name.is_empty() || name.len() >= bytes.len() || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(libc::ifreq { ifr_name: bytes, ifr_ifru: value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_their_requests() {
        assert_eq!(
            (size_of::<AllocGrant>(), size_of::<DeallocGrant>(), size_of::<Hypercall>()),
            (24, 16, 48)
        );
        assert_eq!(
            (EVTCHN_BIND_UNBOUND, GNTALLOC_ALLOC, PRIVCMD_HYPERCALL),
            (0x4_4502, 0x18_4705, 0x30_5000)
        );
    }

    #[test]
    fn a_name_that_no_interface_can_have_is_refused() {
        for name in ["", "sixteen-letters-", "a\0b"] {
            assert!(set_up(name).is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput), "{name:?}");
        }
    }
}
