// SPDX-License-Identifier: GPL-3.0-only
//! Which keys a config can have, and what becomes of each.

use std::fmt;

use super::rows::ROWS;

/// A key of xl.cfg, or one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// What becomes of it.
    pub status: Status,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is obeyed.
    Served {
        /// The values it takes.
        takes: &'static str,
        /// What holds if it is not set.
        default: &'static str,
    },
    /// It is refused, but for the values that say what happens anyway.
    NotYet {
        /// These values.
        only: &'static [Only],
    },
    /// It is refused, for a reason that will stay.
    NotWithStubdom {
        /// The reason.
        reason: &'static str,
    },
    /// It changes nothing for a guest with a stubdomain, and is ignored with a warning.
    Ignored {
        /// Why it changes nothing.
        reason: &'static str,
    },
}

/// A value that a key can have although the key is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// The number 0.
    Off,
    /// Any number but 0.
    On,
    /// This number.
    Number(u64),
    /// This string.
    Word(&'static str),
    /// A path that ends with this name.
    File(&'static str),
    /// The empty list.
    Empty,
    /// The number that this other key has.
    Same(&'static str),
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0"),
            Self::On => f.write_str("1"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => write!(f, "\"{word}\""),
            Self::File(name) => write!(f, "\".../{name}\""),
            Self::Empty => f.write_str("[]"),
            Self::Same(key) => write!(f, "what {key} is"),
        }
    }
}

/// Every key of xl.cfg(5) from Xen 4.17 on, those that xl reads without documenting them, and ours.
pub fn keys() -> &'static [Key] {
    ROWS
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    ROWS.iter().find(|key| key.name == name)
}

/// What people write who know other toolstacks, and no spelling is near.
const ALIASES: &[(&str, &str)] = &[
    ("mem", "memory"),
    ("ram", "memory"),
    ("max_memory", "maxmem"),
    ("cpu", "vcpus"),
    ("ncpus", "vcpus"),
    ("max_vcpus", "maxvcpus"),
    ("disks", "disk"),
    ("network", "vif"),
    ("nic", "vif"),
    ("timeout", "stubdomain_timeout"),
    ("stubdomain_initrd", "stubdomain_ramdisk"),
    ("stubdomain_extra", "stubdomain_cmdline"),
    ("device_model_stubdomain", "device_model_stubdomain_override"),
];

/// The known key that is nearest to a misspelt one, if it is near at all.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(meant);
    }
    let served = |key: &&Key| !matches!(key.status, Status::Served { .. });
    let mut keys: Vec<&Key> = ROWS.iter().collect();
    // Of two that are equally near, a served one is meant.
    keys.sort_by_key(served);
    nearest_of(&name, keys.into_iter().map(|key| key.name))
}

/// The word that is nearest to a misspelt one, the first of several, if it is near at all.
pub(super) fn nearest_of<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = match length {
        // No word of a config is that long, and the search is not cheap.
        0 | 65.. => return None,
        1..=3 => 1,
        4..=11 => 2,
        _ => (length / 4).min(4),
    };
    // What differs that much in length is further away than that.
    let words = words.into_iter().filter(|known| known.chars().count().abs_diff(length) <= limit);
    let near = words.map(|known| (strsim::damerau_levenshtein(word, known), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= limit && distance < length).then_some(known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_misspelt_key_finds_its_neighbour_and_nonsense_none() {
        for (written, meant) in [
            ("memroy", "memory"),
            ("Memory", "memory"),
            ("stubdomain_kernl", "stubdomain_kernel"),
            ("stubdom_memory", "stubdomain_memory"),
            ("stubdomain-image", "stubdomain_image"),
            ("vpcus", "vcpus"),
            ("uid", "uuid"),
            ("ram", "memory"),
        ] {
            assert_eq!(nearest(written), Some(meant), "{written}");
        }
        for nonsense in ["wholly_unlike_any", "x", "q7", ""] {
            assert_eq!(nearest(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn every_key_has_one_row_and_every_alias_is_none() {
        let names: BTreeSet<&str> = keys().iter().map(|key| key.name).collect();
        assert_eq!(names.len(), keys().len());
        assert!(ALIASES.iter().all(|(alias, meant)| !names.contains(alias) && names.contains(meant)));
    }

    #[test]
    fn every_key_that_xl_reads_has_a_row() {
        let missing: Vec<&str> = XL.split_whitespace().filter(|name| find(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// What tools/xl/xl_parse.c of Xen 4.17 and 4.20 asks a config for.
    const XL: &str = "acpi acpi_firmware acpi_laptop_slate acpi_s3 acpi_s4 altp2m altp2mhvm apic bios bios_path_override \
        boot bootloader bootloader_args bootloader_restrict bootloader_user builder cap channel cmdline \
        cpu_weight cpuid cpus cpus_soft device_model device_model_args device_model_args_hvm \
        device_model_args_pv device_model_override device_model_stubdomain_override \
        device_model_stubdomain_seclabel device_model_user device_model_version device_tree disk display \
        dm_restrict driver_domain dtdev e820_host extra extratime firmware firmware_override gfx_passthru \
        gic_version hap hdtype hpet hvm_pirq init_seclabel iomem ioports irqs kernel keymap latency \
        llc_colors localtime max_event_channels max_grant_frames max_grant_version max_maptrack_frames \
        maxmem maxvcpus mca_caps memory mmio_hole ms_vm_genid msr_relaxed name nestedhvm nographic nomigrate \
        nr_spis nx on_crash on_poweroff on_reboot on_soft_reset on_watchdog oos opengl p9 pae passthrough \
        pci pci_msitranslate pci_permissive pci_power_mgmt pci_seize period pool pvcalls pvshim \
        pvshim_cmdline pvshim_extra pvshim_path ramdisk rdm rdm_mem_boundary root rtc_timeoffset sdl \
        seclabel serial shadow_memory slice smbios smbios_firmware soundhw spice spice_clipboard_sharing \
        spice_image_compression spice_streaming_video spiceagent_mouse spicedisable_ticketing spicehost \
        spicepasswd spiceport spicetls_port spiceusbredirection spicevdagent stdvga stubdomain_cmdline \
        stubdomain_kernel stubdomain_memory stubdomain_ramdisk sve tee timer_mode tsc_mode type usb usbctrl \
        usbdev usbdevice usbversion uuid vcpus vdispl vendor_device vfb vga videoram vif vif2 viridian \
        virtio vkb vkb_device vmtrace_buf_kb vnc vncdisplay vnclisten vncpasswd vncunused vncviewer vnuma \
        vpmu vpt_align vsnd vtpm vuart xauthority xen_platform_pci xend_suspend_evtchn_compat";
}
