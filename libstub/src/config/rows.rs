// SPDX-License-Identifier: GPL-3.0-only
//! The one table of all keys; what is said here becomes messages and documentation.

use super::table::Only::{Empty, File, Number, Off, On, Same, Word};
use super::table::{Key, Only, Status};

const fn served(
    name: &'static str,
    takes: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, meaning, status: Status::Served { takes, default } }
}

const fn later(name: &'static str, only: &'static [Only], meaning: &'static str) -> Key {
    Key { name, meaning, status: Status::NotYet { only } }
}

const fn never(name: &'static str, reason: &'static str, meaning: &'static str) -> Key {
    Key { name, meaning, status: Status::NotWithStubdom { reason } }
}

const fn ignored(name: &'static str, reason: &'static str, meaning: &'static str) -> Key {
    Key { name, meaning, status: Status::Ignored { reason } }
}

const PV: &str = "only PV guests have it";
const PVH: &str = "only PVH guests have it";
const ARM: &str = "only guests on Arm have it";
const LOADER: &str = "hvmloader starts the guest; only PV and PVH guests have a bootloader";
const DOM0: &str = "no QEMU runs in dom0: the stubdomain confines it";
const SEDF: &str = "Xen has lost this scheduler long ago";
const AS_XL: &str = "xl ignores it too";
const ACTION: &str = "`\"destroy\"`, `\"restart\"`, `\"preserve\"`";

#[rustfmt::skip]
pub(super) const ROWS: &[Key] = &[
    // What the guest is.
    served("name", "1 to 61 of A-Z a-z 0-9 . _ -, not starting with . or -", "none: it must be set",
        "the guest's name; its stubdomain is called the same with `-dm`"),
    served("uuid", "32 hexadecimal digits, with or without hyphens", "a random one", "the guest's identity"),
    served("type", "`\"hvm\"`", "`\"hvm\"`", "the kind of guest: only HVM guests have a QEMU"),
    served("builder", "`\"hvm\"`", "`\"hvm\"`", "the old spelling of `type`"),
    served("memory", "MiB, or a string with a unit: `\"512M\"`, `\"2G\"`, `\"524288K\"`", "none: it must be set",
        "the guest's memory"),
    served("maxmem", "as `memory`, and not less", "`memory`",
        "what the guest's memory can grow to; its balloon driver keeps it at `memory`"),
    served("vcpus", "1 to 128", "1", "the guest's virtual CPUs"),
    later("maxvcpus", &[Same("vcpus")], "virtual CPUs that can be plugged in later"),
    later("pool", &[Word("Pool-0")], "the cpupool that the guest runs in"),
    later("cpus", &[Word("all")], "physical CPUs that the virtual CPUs may run on"),
    later("cpus_soft", &[Word("all")], "physical CPUs that the virtual CPUs rather run on"),
    later("cpu_weight", &[Number(256)], "the guest's share of CPU time"),
    later("cap", &[Off], "the most CPU time that the guest gets, in percent"),
    later("period", &[], "a parameter of the RTDS scheduler"),
    ignored("slice", SEDF, "a parameter of the SEDF scheduler"),
    ignored("latency", SEDF, "a parameter of the SEDF scheduler"),
    later("extratime", &[], "a parameter of the RTDS scheduler"),
    later("vnuma", &[Empty], "virtual NUMA nodes"),
    later("seclabel", &[], "the guest's XSM label"),
    later("init_seclabel", &[], "the guest's XSM label while it is built"),
    later("max_grant_frames", &[], "the size of the guest's grant table"),
    later("max_maptrack_frames", &[], "how many grants of others the guest can map"),
    later("max_grant_version", &[Number(1)], "the newest version of grants that the guest can use"),
    later("max_event_channels", &[Number(1023)], "the highest event channel that the guest can have"),
    later("nomigrate", &[Off], "gives the guest an invariant TSC, because it cannot be migrated"),
    later("driver_domain", &[Off], "lets the guest serve devices to others"),
    later("passthrough", &[Word("default"), Word("disabled")], "whether the guest has an IOMMU context"),
    later("xend_suspend_evtchn_compat", &[Off], "leaves out the event channel that asks for suspension"),
    later("vmtrace_buf_kb", &[Off], "the buffer for processor traces"),
    later("vpmu", &[Off], "a virtual performance counter unit"),
    later("xenstore_quota", &[], "the guest's xenstore quota (Xen 4.22)"),
    later("xenstore_feature_mask", &[], "the xenstore features that the guest sees (Xen 4.21)"),

    // What happens when it ends.
    served("on_poweroff", ACTION, "`\"destroy\"`", "what is done when the guest powers off"),
    served("on_reboot", ACTION, "`\"restart\"`", "what is done when the guest reboots"),
    served("on_watchdog", ACTION, "`\"destroy\"`", "what is done when the guest's watchdog fires"),
    served("on_crash", ACTION, "`\"destroy\"`", "what is done when the guest crashes"),
    served("on_soft_reset", ACTION, "`\"restart\"`", "what is done when the guest asks for a soft reset"),
    served("on_device_model_death", ACTION, "`\"destroy\"`",
        "what is done when the stubdomain dies, or QEMU in it ends or no longer answers"),

    // How it boots.
    served("boot", "letters of a (floppy), c (disk), d (cdrom), n (network), each once", "`\"cda\"`",
        "the order in which the BIOS tries them"),
    later("bios", &[Word("seabios")], "the firmware"),
    later("firmware", &[Word("bios"), Word("seabios")], "the firmware, or a file of it"),
    later("firmware_override", &[], "a file in place of hvmloader"),
    later("bios_path_override", &[], "a file in place of the BIOS"),
    later("kernel", &[File("hvmloader")], "a kernel to boot without a BIOS"),
    later("ramdisk", &[], "a ramdisk for `kernel`"),
    later("cmdline", &[], "the command line of `kernel`"),
    later("root", &[], "a part of the command line of `kernel`"),
    later("extra", &[], "a part of the command line of `kernel`"),
    ignored("bootloader", LOADER, "a program in dom0 that finds the guest's kernel"),
    ignored("bootloader_args", LOADER, "arguments of `bootloader`"),
    ignored("bootloader_restrict", LOADER, "confines `bootloader`"),
    ignored("bootloader_user", LOADER, "the user that runs `bootloader`"),

    // The stubdomain.
    served("device_model_version", "`\"qemu-xen\"`", "`\"qemu-xen\"`", "which QEMU the stubdomain runs"),
    served("device_model_stubdomain_override", "1", "1", "that QEMU runs in a stubdomain"),
    served("device_model_args", "a list of strings", "`[]`", "arguments for QEMU, behind ours"),
    served("device_model_args_hvm", "a list of strings", "`[]`", "arguments for QEMU, behind `device_model_args`"),
    served("stubdomain_image", "a directory that `stub-image` made", "the one that is installed",
        "the stubdomain's image"),
    served("stubdomain_kernel", "an absolute path", "the image's", "a kernel in place of the image's"),
    served("stubdomain_ramdisk", "an absolute path", "the image's", "a ramdisk in place of the image's"),
    served("stubdomain_rootfs", "an absolute path", "the image's",
        "a root filesystem in place of the image's, served through blkback"),
    served("stubdomain_cmdline", "a string of at most 1023 bytes", "the image's",
        "a kernel command line in place of the image's"),
    served("stubdomain_memory", "as `memory`, 16 MiB to 64 GiB", "what the image asks for", "the stubdomain's memory"),
    served("stubdomain_timeout", "seconds, 1 to 86400", "120", "how long QEMU may take to be ready, or to show progress: at most four times this in all"),
    later("device_model_stubdomain_seclabel", &[], "the stubdomain's XSM label"),
    ignored("device_model", AS_XL, "an old spelling of `device_model_override`"),
    ignored("device_model_args_pv", PV, "arguments for the QEMU of a PV guest"),
    ignored("device_model_user", DOM0, "the user that runs QEMU in dom0"),
    ignored("dm_restrict", DOM0, "takes rights from a QEMU in dom0"),
    never("device_model_override", "the image holds QEMU: see `stubdomain_image`", "a QEMU of dom0"),

    // Disks and other devices.
    served("disk", "a list of xl-disk-configuration(5) strings", "`[]`",
        "the guest's disks: raw files and block devices"),
    served("hdtype", "`\"ide\"`, `\"ahci\"`", "`\"ide\"`", "the controller that emulated disks hang on"),
    later("vif", &[Empty], "network interfaces"),
    ignored("vif2", AS_XL, "network interfaces of a kind that no longer exists"),
    later("vtpm", &[Empty], "a virtual TPM"),
    later("p9", &[Empty], "directories of dom0 that the guest mounts"),
    later("pvcalls", &[Empty], "sockets of dom0 that the guest uses"),
    later("vfb", &[Empty], "paravirtual displays"),
    later("vkb", &[Empty], "paravirtual keyboards"),
    later("vkb_device", &[Off], "a paravirtual keyboard beside the emulated one"),
    later("vdispl", &[Empty], "paravirtual displays of a driver domain"),
    later("vsnd", &[Empty], "paravirtual sound cards"),
    later("channel", &[Empty], "byte streams between dom0 and the guest"),
    later("serial", &[Empty, Word("none")], "serial ports"),
    later("usb", &[Off], "an emulated USB controller"),
    later("usbversion", &[], "the version of the emulated USB controller"),
    later("usbdevice", &[Empty], "emulated USB devices"),
    later("usbctrl", &[Empty], "paravirtual USB controllers"),
    later("usbdev", &[Empty], "USB devices of the host"),
    later("soundhw", &[], "emulated sound cards"),
    later("pci", &[Empty], "PCI devices of the host"),
    later("pci_permissive", &[Off], "lets the guest write all of a PCI device's config space"),
    later("pci_msitranslate", &[Off], "turns a PCI device's line interrupts into messages"),
    later("pci_power_mgmt", &[Off], "lets the guest manage a PCI device's power"),
    later("pci_seize", &[Off], "takes a PCI device from its driver in dom0"),
    later("gfx_passthru", &[Off], "a graphics card of the host"),
    later("rdm", &[], "memory that PCI devices of the host reserve"),
    later("rdm_mem_boundary", &[], "where conflicts with reserved memory are accepted"),
    later("ioports", &[Empty], "I/O ports of the host"),
    later("iomem", &[Empty], "device memory of the host"),
    later("irqs", &[Empty], "interrupts of the host"),

    // Displays.
    served("vga", "`\"none\"`", "`\"none\"`", "the emulated graphics card"),
    later("stdvga", &[], "the old spelling of `vga`"),
    later("videoram", &[Off], "the memory of the graphics card"),
    ignored("nographic", "no guest has a display yet: see `vga`", "whether QEMU shows a display"),
    later("vnc", &[Off], "a display over VNC"),
    later("vnclisten", &[], "the address of the VNC display"),
    later("vncdisplay", &[], "the number of the VNC display"),
    later("vncunused", &[Off], "takes the first free VNC display"),
    later("vncpasswd", &[], "the password of the VNC display"),
    ignored("vncviewer", AS_XL, "starts a viewer of the VNC display"),
    later("keymap", &[], "the layout of the keyboard behind a display"),
    later("sdl", &[Off], "a display in a window of dom0"),
    later("opengl", &[Off], "OpenGL for `sdl`"),
    later("display", &[], "the X display for `sdl`"),
    later("xauthority", &[], "the X credentials for `sdl`"),
    later("spice", &[Off], "a display over SPICE"),
    later("spicehost", &[], "the address of the SPICE display"),
    later("spiceport", &[], "the port of the SPICE display"),
    later("spicetls_port", &[], "the encrypted port of the SPICE display"),
    later("spicedisable_ticketing", &[], "lets SPICE clients in without a password"),
    later("spicepasswd", &[], "the password of the SPICE display"),
    later("spiceagent_mouse", &[], "lets SPICE's agent move the mouse"),
    later("spicevdagent", &[Off], "the channel of SPICE's agent"),
    later("spice_clipboard_sharing", &[Off], "shares the clipboard over SPICE"),
    later("spiceusbredirection", &[Off], "USB devices over SPICE"),
    later("spice_image_compression", &[], "how SPICE compresses pictures"),
    later("spice_streaming_video", &[], "how SPICE streams video"),

    // The machine.
    later("hap", &[On], "nested paging by the processor"),
    ignored("oos", "the guest has nested paging; this is about shadow paging", "lets shadow pages be out of date"),
    later("shadow_memory", &[], "the pool for the guest's page tables; it is computed"),
    later("acpi", &[On], "ACPI tables"),
    later("acpi_s3", &[On], "suspend to memory"),
    later("acpi_s4", &[On], "suspend to disk"),
    later("acpi_laptop_slate", &[Off], "the switch of a convertible laptop"),
    later("apic", &[On], "interrupt controllers of more than one CPU"),
    later("pae", &[On], "page tables beyond 4 GiB"),
    later("nx", &[On], "pages that cannot be executed"),
    later("hpet", &[On], "a high precision timer"),
    later("vpt_align", &[On], "aligns the guest's timers, for fewer interrupts"),
    later("timer_mode", &[Word("no_delay_for_missed_ticks"), Number(1)], "what becomes of ticks that were missed"),
    later("tsc_mode", &[Word("default"), Number(0)], "how the time stamp counter behaves"),
    later("localtime", &[Off], "a clock in dom0's time zone"),
    later("rtc_timeoffset", &[Number(0)], "what the clock is ahead, in seconds"),
    later("nestedhvm", &[Off], "virtualisation within the guest"),
    later("altp2m", &[Word("disabled"), Number(0)], "alternate views of the guest's memory"),
    later("altp2mhvm", &[Off], "the old spelling of `altp2m`"),
    later("altp2m_count", &[], "how many alternate views there can be (Xen 4.21)"),
    later("cpuid", &[Empty, Word("host")], "what the processor says of itself"),
    later("viridian", &[Off, Empty], "what Windows wants of a hypervisor"),
    later("xen_platform_pci", &[On], "the PCI device that paravirtual drivers look for"),
    later("xen_platform_pci_bar_uc", &[], "how the memory of that device is cached (Xen 4.21)"),
    later("hvm_pirq", &[On], "physical interrupts through event channels"),
    later("mmio_hole", &[Number(256)], "the room for devices below 4 GiB, in MiB"),
    later("acpi_firmware", &[], "a file of additional ACPI tables"),
    later("smbios_firmware", &[], "a file of SMBIOS tables"),
    later("smbios", &[Empty], "strings of the SMBIOS tables"),
    later("ms_vm_genid", &[Word("none")], "an identity that changes with each copy of the guest"),
    later("vendor_device", &[Word("none")], "a PCI device that binds drivers of a vendor"),
    later("mca_caps", &[Empty], "machine check abilities"),
    later("msr_relaxed", &[Off], "lets the guest read unknown MSRs"),
    later("trap_unmapped_accesses", &[], "what becomes of accesses to memory that is not there (Xen 4.21)"),

    // Other kinds of guests and machines.
    ignored("e820_host", PV, "shows the host's memory map"),
    ignored("pvshim", PVH, "runs a PV guest in a PVH one"),
    ignored("pvshim_path", PVH, "the hypervisor of `pvshim`"),
    ignored("pvshim_cmdline", PVH, "the command line of `pvshim`"),
    ignored("pvshim_extra", PVH, "more of the command line of `pvshim`"),
    ignored("gic_version", ARM, "the interrupt controller"),
    ignored("vuart", ARM, "a virtual UART"),
    ignored("tee", ARM, "a trusted execution environment"),
    ignored("sve", ARM, "the length of vectors"),
    ignored("nr_spis", ARM, "shared interrupts"),
    ignored("llc_colors", ARM, "the parts of the cache that the guest uses"),
    ignored("arm_sci", ARM, "an interface to system control (Xen 4.21)"),
    never("device_tree", ARM, "a part of the guest's device tree"),
    never("dtdev", ARM, "devices of the host's device tree"),
    never("virtio", ARM, "virtio devices"),
];
