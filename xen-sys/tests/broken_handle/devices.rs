// SPDX-License-Identifier: GPL-3.0-only
//! Null devices in place of Xen's.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use uuid::Uuid;
use xen_sys::{
    Channel, CpuidPolicy, CreateDomain, Ctrl, DomId, DomainKind, E820Entry, E820Kind, Error, Evtchn,
    EvtchnPort, ForeignMemory, Gfn, Gnttab, GrantAccess, GrantRef, HvmBuild, HvmParam, Kib, Notice, PvBuild,
    SharedPages, ShutdownReason, build_hvm, build_pv,
};

use crate::{Claim, assert_fails};

pub(crate) const CLAIMS: &[Claim] = &[
    ("without_devices_every_open_fails", without_devices_every_open_fails),
    ("open_says_which_question_failed", open_says_which_question_failed),
    ("every_ctrl_method_fails_on_a_null_device", every_ctrl_method_fails_on_a_null_device),
    ("a_failed_build_names_its_step", a_failed_build_names_its_step),
    ("a_missing_kernel_is_named_in_the_error", a_missing_kernel_is_named_in_the_error),
    ("a_kernel_that_is_too_large_is_refused", a_kernel_that_is_too_large_is_refused),
    ("arguments_are_checked_before_anything_is_built", arguments_are_checked_before_anything_is_built),
    ("every_evtchn_method_fails_on_a_dead_descriptor", every_evtchn_method_fails_on_a_dead_descriptor),
    ("no_grant_is_mapped_from_a_null_device", no_grant_is_mapped_from_a_null_device),
    ("no_foreign_page_is_mapped_from_a_null_device", no_foreign_page_is_mapped_from_a_null_device),
];

const DOMID: DomId = DomId::new(7);
const PORT: EvtchnPort = EvtchnPort::new(3);
const CHANNEL: Channel = Channel { port: PORT, remote: DomId::DOM0 };

/// Why these claims cannot be tried here.
pub(crate) fn why_not() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let probe = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    match probe {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare(1): {error}")),
    }
}

/// Gives this process a /dev with nothing in it but /dev/null and these null devices below /dev/xen.
fn devices(names: &[&str]) {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    // The libraries fall back to xenfs, where a dom0 has it.
    for place in ["/dev", "/proc/xen"].into_iter().filter(|place| Path::new(place).exists()) {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none).expect("a tmpfs");
    }
    fs::create_dir("/dev/xen").expect("a directory");
    let paths = names.iter().map(|name| format!("/dev/xen/{name}"));
    for path in paths.chain(["/dev/null".to_owned()]) {
        let mode = Mode::from_bits_truncate(0o600);
        mknod(path.as_str(), SFlag::S_IFCHR, mode, makedev(1, 3)).expect("a null device");
    }
}

fn null_ctrl() -> Ctrl {
    devices(&["privcmd"]);
    Ctrl::open_ungated().expect("a null device can be opened")
}

fn without_devices_every_open_fails() {
    devices(&[]);
    assert_fails("Ctrl::open", Ctrl::open());
    assert_fails("Evtchn::open", Evtchn::open());
    assert_fails("Gnttab::open", Gnttab::open());
    assert_fails("ForeignMemory::open", ForeignMemory::open());
}

fn open_says_which_question_failed() {
    devices(&["privcmd"]);
    match Ctrl::open().expect_err("a null device is no hypervisor") {
        Error::Call { call: "xc_version", source, .. } => {
            assert_eq!(source.raw_os_error(), Some(libc::ENOTTY))
        }
        other => panic!("{other:?}"),
    }
}

fn every_ctrl_method_fails_on_a_null_device() {
    let ctrl = null_ctrl();
    let domain = CreateDomain {
        uuid: Uuid::nil(),
        kind: DomainKind::Hvm,
        max_vcpus: 1,
        max_evtchn_port: 1023,
        max_grant_frames: None,
        max_maptrack_frames: None,
        grant_version: 2,
        ssidref: 0,
    };
    let map = [E820Entry { address: 1 << 20, size: 1 << 20, kind: E820Kind::Ram }];
    let policy = CpuidPolicy { pae: true, itsc: false, nested: false };
    assert_fails("version", ctrl.version());
    assert_fails("phys_info", ctrl.phys_info());
    assert_fails("create_domain", ctrl.create_domain(&domain));
    assert_fails("set_max_vcpus", ctrl.set_max_vcpus(DOMID, 1));
    assert_fails("set_target", ctrl.set_target(DOMID, DomId::new(8)));
    assert_fails("domain_info", ctrl.domain_info(DOMID));
    assert_fails("domains", ctrl.domains());
    assert_fails("pause", ctrl.pause(DOMID));
    assert_fails("unpause", ctrl.unpause(DOMID));
    assert_fails("shutdown", ctrl.shutdown(DOMID, ShutdownReason::Poweroff));
    assert_fails("press_power_button", ctrl.press_power_button(DOMID));
    assert_fails("destroy", ctrl.destroy(DOMID));
    assert_fails("set_max_memory", ctrl.set_max_memory(DOMID, Kib::from_mib(1)));
    assert_fails("set_memmap_limit", ctrl.set_memmap_limit(DOMID, Kib::from_mib(1)));
    assert_fails("set_memory_map", ctrl.set_memory_map(DOMID, &map));
    assert_fails("set_paging_pool", ctrl.set_paging_pool(DOMID, Kib::from_mib(1)));
    assert_fails("set_hvm_param", ctrl.set_hvm_param(DOMID, HvmParam::HPET_ENABLED, 1));
    assert_fails("hvm_param", ctrl.hvm_param(DOMID, HvmParam::HPET_ENABLED));
    assert_fails("apply_cpuid_policy", ctrl.apply_cpuid_policy(DOMID, policy));
    assert_fails("set_tsc_default", ctrl.set_tsc_default(DOMID));
    assert_fails("set_time_offset", ctrl.set_time_offset(DOMID, -3600));
    assert_fails("alloc_unbound", ctrl.alloc_unbound(DOMID, DomId::DOM0));
    assert_fails("evtchn_status", ctrl.evtchn_status(DomId::DOM0, PORT));
    assert_fails("evtchn_ports", ctrl.evtchn_ports(DomId::DOM0));
}

fn hvm(hvmloader: &Path) -> HvmBuild<'_> {
    HvmBuild {
        hvmloader,
        firmware: b"firmware",
        memory: Kib::from_mib(64),
        max_memory: Kib::from_mib(64),
        vcpus: 1,
        console: CHANNEL,
        store: CHANNEL,
    }
}

fn pv<'a>(kernel: &'a Path, cmdline: &'a str) -> PvBuild<'a> {
    PvBuild { kernel, ramdisk: None, cmdline, memory: Kib::from_mib(64), console: CHANNEL, store: CHANNEL }
}

fn a_failed_build_names_its_step() {
    let ctrl = null_ctrl();
    let mut kernel = tempfile::NamedTempFile::new().expect("a temporary file");
    kernel.write_all(b"not a kernel").expect("room for it");
    let builds = [
        build_hvm(&ctrl, DOMID, &hvm(kernel.path())),
        build_pv(&ctrl, DOMID, &PvBuild { ramdisk: Some(kernel.path()), ..pv(kernel.path(), "quiet") }),
    ];
    for built in builds {
        let error = built.expect_err("there is no hypervisor");
        assert!(error.errno().is_some(), "{error}");
        assert!(error.to_string().contains("xc_dom_boot_xen_init"), "{error}");
        assert!(matches!(error, Error::Build { detail: Some(_), .. }), "{error:?}");
    }
}

fn a_missing_kernel_is_named_in_the_error() {
    let ctrl = null_ctrl();
    let error =
        build_pv(&ctrl, DOMID, &pv(Path::new("/nowhere/vmlinuz"), "")).expect_err("there is no such file");
    assert!(error.to_string().contains("xc_dom_kernel_file"), "{error}");
    assert_eq!(error.errno(), Some(libc::ENOENT), "{error:?}");
    assert!(matches!(error, Error::Build { detail: Some(_), .. }), "{error:?}");
}

fn a_kernel_that_is_too_large_is_refused() {
    let ctrl = null_ctrl();
    let kernel = tempfile::NamedTempFile::new().expect("a temporary file");
    kernel.as_file().set_len(1 << 30).expect("a sparse file");
    let error = build_pv(&ctrl, DOMID, &pv(kernel.path(), "")).expect_err("it is too large");
    assert!(error.to_string().contains("xc_dom_kernel_file"), "{error}");
}

fn arguments_are_checked_before_anything_is_built() {
    let ctrl = null_ctrl();
    let kernel = Path::new("/nowhere/vmlinuz");
    let long = "x".repeat(1024);
    let odd = Kib::new(64 * 1024 + 4);
    let results = [
        build_pv(&ctrl, DOMID, &pv(kernel, &long)),
        build_pv(&ctrl, DOMID, &pv(kernel, "with\0nul")),
        build_pv(&ctrl, DOMID, &PvBuild { memory: odd, ..pv(kernel, "") }),
        build_hvm(&ctrl, DOMID, &HvmBuild { memory: odd, ..hvm(kernel) }),
        build_hvm(&ctrl, DOMID, &HvmBuild { max_memory: odd, ..hvm(kernel) }),
        build_hvm(&ctrl, DOMID, &HvmBuild { max_memory: Kib::from_mib(63), ..hvm(kernel) }),
        build_hvm(&ctrl, DOMID, &HvmBuild { vcpus: 129, ..hvm(kernel) }),
        build_hvm(&ctrl, DOMID, &HvmBuild { vcpus: 0, ..hvm(kernel) }),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::InvalidArgument { .. })), "{result:?}");
    }
}

fn every_evtchn_method_fails_on_a_dead_descriptor() {
    devices(&["evtchn"]);
    let evtchn = Evtchn::open().expect("a null device can be opened");
    // A null device takes what is written to it; a descriptor of a directory takes nothing.
    let dead = File::open("/").expect("the root directory");
    // SAFETY: both descriptors are open, and nobody else knows the one that is replaced.
    assert!(unsafe { libc::dup2(dead.as_raw_fd(), evtchn.as_raw_fd()) } >= 0);
    assert_fails("bind_interdomain", evtchn.bind_interdomain(DOMID, PORT));
    assert_fails("bind_unbound", evtchn.bind_unbound(DOMID));
    assert_fails("notify", evtchn.notify(PORT));
    assert_fails("pending", evtchn.pending());
    assert_fails("unmask", evtchn.unmask(PORT));
    assert_fails("unbind", evtchn.unbind(PORT));
}

fn no_grant_is_mapped_from_a_null_device() {
    devices(&["gntdev"]);
    let gnttab = Gnttab::open().expect("a null device can be opened");
    for access in [GrantAccess::ReadOnly, GrantAccess::ReadWrite] {
        assert_fails("map", gnttab.map(DOMID, GrantRef::new(0), access));
    }
    let open = || Gnttab::open().expect("a null device can be opened");
    let notice = |clear| Notice { clear, ring: PORT };
    assert_fails("map_one", SharedPages::map_one(open(), DOMID, GrantRef::new(8), notice(0)));
    assert_fails("map", SharedPages::map(open(), DOMID, &[GrantRef::new(8), GrantRef::new(9)]));
    for refused in [
        SharedPages::map_one(open(), DOMID, GrantRef::new(8), notice(4096)),
        SharedPages::map(open(), DOMID, &[]),
    ] {
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    }
}

fn no_foreign_page_is_mapped_from_a_null_device() {
    devices(&["privcmd"]);
    let memory = ForeignMemory::open().expect("a null device can be opened");
    assert_fails("copy_page", memory.copy_page(DOMID, Gfn::new(0x9f)));
}
