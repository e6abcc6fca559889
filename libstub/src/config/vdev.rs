// SPDX-License-Identifier: GPL-3.0-only
//! Names and numbers of virtual disks (Xen's `docs/man/xen-vbd-interface.7`).

/// A virtual disk's name and number: `xvda` is 51712.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Vdev {
    kind: VdevKind,
    disk: u32,
    /// 0 is the whole disk.
    partition: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum VdevKind {
    Xvd,
    Hd,
    Sd,
}

impl VdevKind {
    const ALL: [Self; 3] = [Self::Xvd, Self::Hd, Self::Sd];

    fn prefix(self) -> &'static str {
        match self {
            Self::Xvd => "xvd",
            Self::Hd => "hd",
            Self::Sd => "sd",
        }
    }

    /// The last disk and the last partition that the interface has numbers for.
    fn last(self) -> (u32, u32) {
        match self {
            Self::Xvd => ((1 << 20) - 1, 255),
            Self::Hd => (3, 63),
            Self::Sd => (15, 15),
        }
    }
}

impl Vdev {
    /// Reads `xvda`, `hda`, `sda` and so on with or without a partition, `d0p0`, and plain numbers.
    pub fn parse(name: &str) -> Option<Self> {
        let named = VdevKind::ALL.into_iter().find_map(|kind| {
            let (disk, partition) = letters(name.strip_prefix(kind.prefix())?)?;
            Self::new(kind, disk, partition)
        });
        named.or_else(|| Self::numbered(name)).or_else(|| Self::from_devid(number(name)?))
    }

    fn new(kind: VdevKind, disk: u32, partition: u32) -> Option<Self> {
        let (last_disk, last_partition) = kind.last();
        (disk <= last_disk && partition <= last_partition).then_some(Self { kind, disk, partition })
    }

    /// `d0`, `d0p0`
    fn numbered(name: &str) -> Option<Self> {
        let rest = name.strip_prefix('d')?;
        let (disk, partition) = rest.split_once('p').unwrap_or((rest, "0"));
        Self::new(VdevKind::Xvd, number(disk)?, number(partition)?)
    }

    /// The disk of this number, if the interface has such a number.
    pub fn from_devid(devid: u32) -> Option<Self> {
        let (kind, disk, partition) = match devid >> 8 {
            202 => (VdevKind::Xvd, devid >> 4 & 0xf, devid & 0xf),
            8 => (VdevKind::Sd, devid >> 4 & 0xf, devid & 0xf),
            3 => (VdevKind::Hd, devid >> 6 & 3, devid & 0x3f),
            22 => (VdevKind::Hd, (devid >> 6 & 3) + 2, devid & 0x3f),
            _ if devid >> 28 == 1 => (VdevKind::Xvd, devid >> 8 & 0xf_ffff, devid & 0xff),
            _ => return None,
        };
        // Some disks could be written with two numbers, of which the interface has one only.
        Self::new(kind, disk, partition).filter(|vdev| vdev.devid() == devid)
    }

    /// The stubdomain's name for the guest's `index`-th emulated disk, at most the 25th.
    pub fn in_stubdom(index: usize) -> Option<Self> {
        let disk = u32::try_from(index).ok().filter(|&index| index < 25)?;
        Self::new(VdevKind::Xvd, disk, 0)
    }

    /// Whether QEMU would emulate it on a SCSI controller.
    pub fn is_scsi(self) -> bool {
        self.kind == VdevKind::Sd
    }

    /// Whether it is a part of a disk only.
    pub fn is_partition(self) -> bool {
        self.partition != 0
    }

    /// The number that names the vbd in xenstore.
    pub fn devid(self) -> u32 {
        let Self { kind, disk, partition } = self;
        match kind {
            VdevKind::Xvd if disk < 16 && partition < 16 => 202 << 8 | disk << 4 | partition,
            VdevKind::Xvd => 1 << 28 | disk << 8 | partition,
            VdevKind::Hd if disk < 2 => 3 << 8 | disk << 6 | partition,
            VdevKind::Hd => 22 << 8 | (disk - 2) << 6 | partition,
            VdevKind::Sd => 8 << 8 | disk << 4 | partition,
        }
    }
}

impl TryFrom<String> for Vdev {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name).ok_or_else(|| format!("{name:?} is no virtual disk"))
    }
}

impl From<Vdev> for String {
    fn from(vdev: Vdev) -> Self {
        vdev.to_string()
    }
}

impl std::fmt::Display for Vdev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut letters = Vec::new();
        let mut rest = self.disk + 1;
        while rest > 0 {
            rest -= 1;
            letters.push(char::from(b"abcdefghijklmnopqrstuvwxyz"[rest as usize % 26]));
            rest /= 26;
        }
        let letters: String = letters.into_iter().rev().collect();
        write!(f, "{}{letters}", self.kind.prefix())?;
        if self.is_partition() { write!(f, "{}", self.partition) } else { Ok(()) }
    }
}

/// `a` to `z`, `aa` and so on, and the number of a partition.
fn letters(name: &str) -> Option<(u32, u32)> {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let letters = &name[..name.len() - digits.len()];
    let disk = letters
        .bytes()
        .try_fold(0_u32, |disk, letter| disk.checked_mul(26)?.checked_add(u32::from(letter - b'a') + 1))?;
    let partition = match digits.as_bytes() {
        [] => 0,
        [b'1'..=b'9', ..] if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    Some((disk.checked_sub(1)?, partition))
}

fn number(written: &str) -> Option<u32> {
    super::word::number(written).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vdevs_have_the_numbers_that_xen_documents() {
        for (names, devid) in [
            (["xvda", "d0", "d0p0", "51712", "0xca00"].as_slice(), 202 << 8),
            (&["xvda1", "d0p1"], 51713),
            (&["xvdb2", "d1p2", "0xca12"], 202 << 8 | 1 << 4 | 2),
            (&["xvdp", "d15"], 51952),
            (&["xvdp15"], 202 << 8 | 15 << 4 | 15),
            (&["xvda16"], 1 << 28 | 16),
            (&["xvdq", "d16p0"], 268_439_552),
            (&["xvdz"], 1 << 28 | 25 << 8),
            (&["xvdaa", "d26"], 1 << 28 | 26 << 8),
            (&["xvdtq37", "d536p37"], 1 << 28 | 536 << 8 | 37),
            (&["d1048575p255", "0x1fffffff"], (2 << 28) - 1),
            (&["hda", "768"], 768),
            (&["hda1"], 769),
            (&["hdb", "0x340"], 832),
            (&["hdb63"], 832 + 63),
            (&["hdc", "5632"], 5632),
            (&["hdc2"], 5634),
            (&["hdd"], 5696),
            (&["sda", "2048"], 2048),
            (&["sdb3"], 8 << 8 | 1 << 4 | 3),
            (&["sdp15"], 8 << 8 | 255),
        ] {
            for name in names {
                let vdev = Vdev::parse(name).expect(name);
                assert_eq!(vdev.devid(), devid, "{name}");
            }
            let shown = Vdev::from_devid(devid).expect("a vdev").to_string();
            assert!(shown == names[0] || names[0].starts_with('d'), "{shown}");
        }
    }

    #[test]
    fn what_xen_has_no_number_for_is_no_vdev() {
        for wrong in [
            "",
            "xvd",
            "xvdA",
            "xvda0",
            "xvda01",
            "xvda256",
            "xvda1x",
            "xvd1",
            "hde",
            "hda64",
            "sdq",
            "sdaa",
            "sda16",
            "vda",
            "d",
            "dp",
            "d0p",
            "d0p256",
            "d1048576",
            "d-1",
            "d0p1p2",
            "0",
            "51711x",
            "0x20000000",
            "52000",
            "3584",
            "0x10000000",
            "hd",
            "xvdzzzzzzzzzzzzzz",
            " xvda",
            "xvda ",
        ] {
            assert_eq!(Vdev::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_vdev_is_what_its_name_and_its_number_say(name in "(xvd[a-z]{1,4}|hd[a-d]|sd[a-p])([1-9][0-9]?)?") {
            if let Some(vdev) = Vdev::parse(&name) {
                prop_assert_eq!(vdev.to_string(), name);
                prop_assert_eq!(Vdev::from_devid(vdev.devid()), Some(vdev));
                prop_assert_eq!(Vdev::parse(&vdev.devid().to_string()), Some(vdev));
            }
        }

        #[test]
        fn every_number_names_one_vdev_or_none(devid: u32) {
            if let Some(vdev) = Vdev::from_devid(devid) {
                prop_assert_eq!(vdev.devid(), devid);
                prop_assert_eq!(Vdev::parse(&vdev.to_string()), Some(vdev));
            }
        }
    }
}
