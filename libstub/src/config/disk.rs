// SPDX-License-Identifier: GPL-3.0-only
//! A disk line: `/path,raw,xvda,rw` or `target=/path,format=raw,vdev=xvda,access=rw`.

use std::path::{Path, PathBuf};

/// A disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file or block device in dom0.
    pub target: PathBuf,
    /// Where the guest sees it.
    pub vdev: Vdev,
    /// What the guest may do with it.
    pub mode: DiskMode,
}

impl Disk {
    /// Whether it can be served beside the disks named before it.
    pub(super) fn check_beside(&self, earlier: &[Self]) -> Result<(), String> {
        let Self { vdev, target, .. } = self;
        if vdev.is_scsi() {
            return Err(format!("{vdev}: an emulated SCSI disk is not supported yet: use xvdX"));
        }
        if self.mode == DiskMode::ReadOnly {
            return Err(format!(
                "{vdev}: QEMU cannot emulate a read-only IDE or AHCI disk; give it access=rw"
            ));
        }
        if earlier.iter().any(|other| other.vdev.devid() == vdev.devid()) {
            return Err(format!("two disks are {vdev}"));
        }
        if earlier.iter().any(|other| other.target == *target) {
            return Err(format!("two disks are the file {}", target.display()));
        }
        Ok(())
    }
}

/// What a domain may do with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskMode {
    /// `r`
    ReadOnly,
    /// `w`
    ReadWrite,
}

impl DiskMode {
    /// As in blkback's `mode` node.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "r",
            Self::ReadWrite => "w",
        }
    }
}

/// A virtual disk's name and number: `xvda` is 51712.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vdev {
    kind: VdevKind,
    index: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum VdevKind {
    Xvd,
    Hd,
    Sd,
}

impl Vdev {
    /// Reads `xvda` to `xvdz`, `hda` to `hdd`, `sda` to `sdp`.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, letter, last) = if let Some(letter) = name.strip_prefix("xvd") {
            (VdevKind::Xvd, letter, b'z')
        } else if let Some(letter) = name.strip_prefix("hd") {
            (VdevKind::Hd, letter, b'd')
        } else {
            (VdevKind::Sd, name.strip_prefix("sd")?, b'p')
        };
        match letter.as_bytes() {
            &[byte] if (b'a'..=last).contains(&byte) => Some(Self { kind, index: byte - b'a' }),
            _ => None,
        }
    }

    /// The stubdomain's name for the guest's `index`-th emulated disk, at most the 25th.
    pub fn in_stubdom(index: usize) -> Option<Self> {
        let index = u8::try_from(index).ok().filter(|&index| index < 25)?;
        Some(Self { kind: VdevKind::Xvd, index })
    }

    /// Whether QEMU would emulate it on a SCSI controller.
    pub fn is_scsi(self) -> bool {
        self.kind == VdevKind::Sd
    }

    /// The number that names the vbd in xenstore (Xen's `docs/man/xen-vbd-interface.7`).
    pub fn devid(self) -> u32 {
        let index = u32::from(self.index);
        match self.kind {
            VdevKind::Xvd if index < 16 => 202 << 8 | index << 4,
            VdevKind::Xvd => 1 << 28 | index << 8,
            VdevKind::Hd if index < 2 => 3 << 8 | index << 6,
            VdevKind::Hd => 22 << 8 | (index & 1) << 6,
            VdevKind::Sd => 8 << 8 | index << 4,
        }
    }
}

impl std::fmt::Display for Vdev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = match self.kind {
            VdevKind::Xvd => "xvd",
            VdevKind::Hd => "hd",
            VdevKind::Sd => "sd",
        };
        write!(f, "{prefix}{}", char::from(b'a' + self.index))
    }
}

/// Reads a disk line.
pub(super) fn parse(line: &str) -> Result<Disk, String> {
    let (mut target, mut format, mut vdev, mut access) = (None, None, None, None);
    let mut place = 0;
    for part in line.split(',').map(str::trim) {
        let (slot, value) = match part.split_once('=') {
            Some(("target", value)) => (&mut target, value),
            Some(("format", value)) => (&mut format, value),
            Some(("vdev", value)) => (&mut vdev, value),
            Some(("access", value)) => (&mut access, value),
            Some((key, _)) => return Err(format!("`{key}` of a disk is not supported yet")),
            None => {
                place += 1;
                match place {
                    1 => (&mut target, part),
                    2 => (&mut format, part),
                    3 => (&mut vdev, part),
                    4 => (&mut access, part),
                    _ => return Err(format!("`{part}` is one too many: TARGET, FORMAT, VDEV, ACCESS")),
                }
            }
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(format!("`{part}` sets again what was set before"));
        }
    }
    let target = target.filter(|path| !path.is_empty()).ok_or("the disk has no target")?;
    if !Path::new(&target).is_absolute() {
        return Err(format!("the disk's target {target:?} is not an absolute path"));
    }
    match format.as_deref() {
        None | Some("" | "raw") => {}
        Some(other) => {
            return Err(format!("the disk's format {other:?} is not supported: blkback serves raw only"));
        }
    }
    let vdev = vdev.filter(|name| !name.is_empty()).ok_or("the disk has no vdev, such as xvda")?;
    let vdev = Vdev::parse(&vdev).ok_or_else(|| format!("{vdev:?} is no vdev: xvda to xvdz, hda to hdd"))?;
    let mode = match access.as_deref() {
        None | Some("" | "rw" | "w") => DiskMode::ReadWrite,
        Some("ro" | "r") => DiskMode::ReadOnly,
        Some(other) => return Err(format!("the disk's access {other:?} is none of rw, w, ro, r")),
    };
    Ok(Disk { target: PathBuf::from(target), vdev, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vdevs_have_the_numbers_that_xen_documents() {
        let cases = [
            ("xvda", 51712),
            ("xvdp", 51952),
            ("xvdq", 268_439_552),
            ("hda", 768),
            ("hdb", 832),
            ("hdc", 5632),
            ("sda", 2048),
        ];
        for (name, devid) in cases {
            let vdev = Vdev::parse(name).expect(name);
            assert_eq!((vdev.devid(), vdev.to_string()), (devid, name.to_owned()));
        }
        for wrong in ["", "xvd", "xvdA", "xvdaa", "hde", "sdq", "vda"] {
            assert_eq!(Vdev::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn both_forms_of_a_disk_line_mean_the_same() {
        let want = Disk {
            target: PathBuf::from("/a b"),
            vdev: Vdev::parse("xvda").expect("a vdev"),
            mode: DiskMode::ReadWrite,
        };
        for line in ["/a b,raw,xvda,rw", "format=raw, vdev=xvda, access=w, target=/a b", "/a b,,xvda"] {
            assert_eq!(parse(line), Ok(want.clone()), "{line}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for (line, named) in [
            ("/a,qcow2,xvda", "qcow2"),
            ("/a,raw,xvda,rw,x", "`x`"),
            ("a,raw,xvda", "absolute"),
            ("/a,raw", "vdev"),
            ("/a,raw,xvda,backendtype=qdisk", "backendtype"),
            ("/a,target=/b,vdev=xvda", "again"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
