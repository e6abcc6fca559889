// SPDX-License-Identifier: GPL-3.0-only
//! A disk line, `TARGET, FORMAT, VDEV, ACCESS` with parameters and flags among them, as
//! xl-disk-configuration(5) and libxlu's lexer have it.

use std::ops::Range;
use std::path::PathBuf;

use super::disk::{Disk, DiskMode, Part};
use super::fault::Mark;
use super::source::Span;
use super::table::nearest_of;
use super::text::Text;
use super::vdev::Vdev;
use crate::code::Code::{self, ConfigDisk, ConfigIgnored, ConfigMissing, ConfigNotWithStubdom, ConfigNotYet};

const PARAMETERS: &[&str] = &[
    "target",
    "format",
    "vdev",
    "access",
    "devtype",
    "backend",
    "backendtype",
    "script",
    "specification",
    "grant_usage",
    "colo-host",
    "colo-port",
    "colo-export",
    "active-disk",
    "hidden-disk",
];
const FLAGS: &[&str] =
    &["cdrom", "direct-io-safe", "discard", "no-discard", "trusted", "untrusted", "colo", "no-colo"];
const FORMATS: &[&str] = &["raw", "qcow", "qcow2", "vhd", "qed", "empty"];
const ACCESS: &[&str] = &["rw", "w", "ro", "r"];
const BACKENDTYPES: &[&str] = &["phy", "qdisk", "tap", "standalone"];

/// A disk, and where its parts are written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) disk: Disk,
    pub(super) target: Span,
    pub(super) vdev: Span,
    pub(super) access: Span,
}

impl Written {
    pub(super) fn span(&self, part: Part) -> Span {
        match part {
            Part::Target => self.target,
            Part::Vdev => self.vdev,
            Part::Access => self.access,
        }
    }
}

/// Reads a disk line; `whole` is where it stands.
pub(super) fn parse(line: &Text, whole: Span, faults: &mut Vec<Mark>) -> Option<Written> {
    let before = faults.len();
    let mut spec = Spec {
        line,
        whole,
        faults,
        target: None,
        format: None,
        vdev: None,
        access: None,
        prefixed: false,
        cdrom: None,
    };
    spec.read();
    let written = spec.finish();
    let wrong = faults[before..].iter().any(|mark| mark.code != ConfigIgnored);
    written.filter(|_| !wrong)
}

/// Bytes of the line.
type Bytes = Range<usize>;

struct Spec<'a> {
    line: &'a Text,
    whole: Span,
    faults: &'a mut Vec<Mark>,
    target: Option<Bytes>,
    format: Option<Bytes>,
    vdev: Option<Bytes>,
    access: Option<Bytes>,
    /// The format came as a prefix, or as the lack of one: no position is left for it.
    prefixed: bool,
    cdrom: Option<Bytes>,
}

impl Spec<'_> {
    fn at(&self, bytes: &Bytes) -> &str {
        &self.line.as_str()[bytes.clone()]
    }

    /// Where bytes of the line are written; nothing is written where something should be.
    fn span(&self, bytes: &Bytes) -> Span {
        let nothing = || self.line.span(bytes.start.checked_sub(1)?..bytes.start);
        self.line.span(bytes.clone()).or_else(nothing).unwrap_or(self.whole)
    }

    fn fault(&mut self, bytes: &Bytes, code: Code, message: impl Into<String>) {
        self.faults.push(Mark::new(self.span(bytes), code, message));
    }

    fn ignored(&mut self, bytes: &Bytes, message: &str) {
        self.faults.push(Mark::warning(self.span(bytes), ConfigIgnored, message));
    }

    /// A word that is none of those that stand there.
    fn unknown(&mut self, bytes: &Bytes, message: String, words: &[&str]) {
        let near = nearest_of(self.at(bytes), words.iter().copied()).map(str::to_owned);
        self.faults.push(Mark::new(self.span(bytes), ConfigDisk, message).suggest(near));
    }

    fn read(&mut self) {
        let text = self.line.as_str();
        let mut at = 0;
        loop {
            at += text[at..].len() - text[at..].trim_start().len();
            let rest = &text[at..];
            if rest.is_empty() {
                return;
            }
            if rest.starts_with("target=") {
                // It takes the rest of the line, commas and all.
                let end = text.strip_suffix(',').map_or(text.len(), str::len);
                self.set(Part::Target, at + "target=".len()..end);
                return;
            }
            if self.target.is_none()
                && let Some(length) = self.prefix(at)
            {
                at += length;
                continue;
            }
            let end = at + rest.find(',').unwrap_or(rest.len());
            let part = at..at + text[at..end].trim_end().len();
            at = (end + 1).min(text.len());
            match self.at(&part).split_once('=') {
                Some((key, _)) => {
                    let key = part.start..part.start + key.len();
                    let value = key.end + 1..part.end;
                    self.parameter(&key, value);
                }
                None if FLAGS.contains(&self.at(&part)) => self.flag(&part),
                None => self.positional(part),
            }
        }
    }

    /// The length of a prefix such as `tap:`, which no longer does what it says.
    fn prefix(&mut self, at: usize) -> Option<usize> {
        let rest = &self.line.as_str()[at..];
        let (name, behind) = rest.split_once(':')?;
        let word = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let bytes = at..at + name.len();
        match name {
            "raw" | "qcow" | "qcow2" | "vhd" => {
                self.prefixed = true;
                self.format = Some(bytes);
            }
            "tapdisk" | "tap" | "tap2" | "aio" | "ioemu" | "file" | "phy" => self.prefixed = true,
            "iscsi" | "nbd" | "enbd" | "drbd" => {
                self.prefixed = true;
                self.script(&bytes);
            }
            _ if word && !behind.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) => {
                self.fault(&bytes, ConfigDisk, format!("`{name}:` is no prefix of a target"));
            }
            _ => return None,
        }
        Some(name.len() + 1)
    }

    fn positional(&mut self, part: Bytes) {
        if self.target.is_none() {
            self.target = Some(part);
        } else if !self.prefixed && self.format.is_none() {
            if self.target.as_ref().is_some_and(Bytes::is_empty) && self.at(&part).contains(':') {
                // xend's `,hdc:cdrom,r`
                self.prefixed = true;
                self.set(Part::Vdev, part);
            } else {
                self.format = Some(part);
            }
        } else if self.vdev.is_none() {
            self.set(Part::Vdev, part);
        } else if self.access.is_none() {
            self.access = Some(part);
        } else {
            let message = format!("`{}` is one too many: TARGET, FORMAT, VDEV, ACCESS", self.at(&part));
            self.unknown(&part, message, FLAGS);
        }
    }

    /// A part by its name; what is empty counts as not set.
    fn set(&mut self, part: Part, bytes: Bytes) {
        let bytes = if part == Part::Vdev { self.devtype_suffix(bytes) } else { bytes };
        let (slot, name) = match part {
            Part::Target => (&mut self.target, "target"),
            Part::Vdev => (&mut self.vdev, "vdev"),
            Part::Access => (&mut self.access, "access"),
        };
        let earlier = slot.replace(bytes.clone());
        self.once(name, earlier, &bytes);
    }

    fn once(&mut self, name: &str, earlier: Option<Bytes>, bytes: &Bytes) {
        if earlier.is_some_and(|earlier| !earlier.is_empty()) {
            self.fault(bytes, ConfigDisk, format!("the {name} of this disk is set twice"));
        }
    }

    /// `hdc:cdrom`
    fn devtype_suffix(&mut self, vdev: Bytes) -> Bytes {
        let Some((name, _)) = self.at(&vdev).split_once(':') else { return vdev };
        let colon = vdev.start + name.len();
        self.devtype(&(colon + 1..vdev.end));
        vdev.start..colon
    }

    fn devtype(&mut self, bytes: &Bytes) {
        match self.at(bytes) {
            "cdrom" => self.cdrom = Some(bytes.clone()),
            "disk" => {}
            other => {
                let message = format!("`{other}` is no type of a device: cdrom, disk");
                self.unknown(bytes, message, &["cdrom", "disk"]);
            }
        }
    }

    fn script(&mut self, bytes: &Bytes) {
        let message = "no script is run for a disk; attach the device first, and name it as target";
        self.fault(bytes, ConfigNotYet, message);
    }

    fn flag(&mut self, flag: &Bytes) {
        match self.at(flag) {
            "cdrom" => self.cdrom = Some(flag.clone()),
            "direct-io-safe" => {
                self.ignored(flag, "`direct-io-safe` changes nothing: it is about QEMU in dom0")
            }
            "no-discard" => self.ignored(flag, "`no-discard` changes nothing yet: the guest can discard"),
            "untrusted" => self.fault(flag, ConfigNotYet, "an untrusted backend is not supported yet"),
            "colo" => self.colo(flag),
            _ => {}
        }
    }

    fn colo(&mut self, bytes: &Bytes) {
        self.fault(bytes, ConfigNotYet, "COLO replication is not supported yet");
    }

    fn parameter(&mut self, key: &Bytes, value: Bytes) {
        let written = self.at(&value).to_owned();
        match self.at(key) {
            "vdev" => self.set(Part::Vdev, value),
            "access" => self.set(Part::Access, value),
            "format" => {
                let earlier = self.format.replace(value.clone());
                self.once("format", earlier, &value);
            }
            "devtype" => self.devtype(&value),
            "backend" if matches!(written.as_str(), "" | "0" | "Domain-0") => {}
            "backend" => self.fault(&value, ConfigNotYet, "disks of a driver domain are not supported yet"),
            "backendtype" => self.backendtype(&value),
            "script" => self.script(&value),
            "specification" if written == "xen" => {}
            "specification" if written == "virtio" => {
                self.fault(&value, ConfigNotWithStubdom, "virtio disks are for guests on Arm");
            }
            "specification" => {
                let message = format!("`{written}` is no specification: xen, virtio");
                self.unknown(&value, message, &["xen", "virtio"]);
            }
            "grant_usage" => self.ignored(key, "`grant_usage` changes nothing: it is about virtio disks"),
            "colo-host" | "colo-port" | "colo-export" | "active-disk" | "hidden-disk" => self.colo(key),
            name if name.starts_with('/') => {
                let message = "a target with a `=` in it is written last, as target=PATH";
                let target = key.start..value.end;
                self.fault(&target, ConfigDisk, message);
                self.target.get_or_insert(target);
            }
            name => {
                let message = format!("a disk has no parameter `{name}`");
                self.unknown(key, message, PARAMETERS);
            }
        }
    }

    fn backendtype(&mut self, value: &Bytes) {
        match self.at(value) {
            "" | "phy" => {}
            "qdisk" | "tap" => {
                let message = "blkback serves all disks: no QEMU and no tapdisk runs in dom0";
                self.fault(value, ConfigNotWithStubdom, message);
            }
            "standalone" => {
                self.fault(value, ConfigNotWithStubdom, "a standalone backend serves virtio disks, on Arm");
            }
            other => {
                let message = format!("`{other}` is no type of a backend: {}", BACKENDTYPES.join(", "));
                self.unknown(value, message, BACKENDTYPES);
            }
        }
    }

    fn finish(mut self) -> Option<Written> {
        if let Some(bytes) = self.cdrom.clone() {
            self.fault(&bytes, ConfigNotYet, "cdroms are not supported yet");
        }
        if self.check_format() {
            return None;
        }
        let mode = self.mode();
        let vdev = self.vdev();
        let written = |bytes: &Option<Bytes>| bytes.clone().filter(|bytes| !bytes.is_empty());
        let target = written(&self.target);
        if target.is_none() && self.cdrom.is_none() {
            self.faults.push(Mark::new(self.whole, ConfigMissing, "this disk has no target"));
        }
        let (target, vdev) = (target?, vdev?);
        let access = written(&self.access).unwrap_or(target.clone());
        // As with xl, what is no absolute path is a block device's name.
        let path = PathBuf::from("/dev").join(self.at(&target));
        Some(Written {
            disk: Disk { target: path, vdev, mode },
            target: self.span(&target),
            vdev: self.span(&self.vdev.clone().unwrap_or_default()),
            access: self.span(&access),
        })
    }

    /// Whether the parts are so out of place that the others say nothing.
    fn check_format(&mut self) -> bool {
        let Some(bytes) = self.format.clone() else { return false };
        let format = self.at(&bytes).to_owned();
        match format.as_str() {
            "" | "raw" => {}
            "empty" => self.fault(&bytes, ConfigNotYet, "cdroms are not supported yet"),
            known if FORMATS.contains(&known) => {
                let message = format!(
                    "blkback serves raw disks only; make one of it with qemu-img convert -f {known} -O raw"
                );
                self.fault(&bytes, ConfigNotWithStubdom, message);
            }
            vdev if Vdev::parse(vdev).is_some() => {
                let message = format!("`{vdev}` stands where the format does: TARGET, FORMAT, VDEV, ACCESS");
                self.fault(&bytes, ConfigDisk, message);
                return true;
            }
            other => {
                let message = format!("`{other}` is no format of a disk: raw");
                self.unknown(&bytes, message, FORMATS);
            }
        }
        false
    }

    fn mode(&mut self) -> DiskMode {
        let Some(bytes) = self.access.clone() else { return DiskMode::ReadWrite };
        match self.at(&bytes) {
            "" | "rw" | "w" => DiskMode::ReadWrite,
            "ro" | "r" => DiskMode::ReadOnly,
            other => {
                let message = format!("`{other}` is no access to a disk: {}", ACCESS.join(", "));
                self.unknown(&bytes, message, ACCESS);
                DiskMode::ReadWrite
            }
        }
    }

    fn vdev(&mut self) -> Option<Vdev> {
        let Some(bytes) = self.vdev.clone().filter(|bytes| !bytes.is_empty()) else {
            self.faults.push(Mark::new(self.whole, ConfigMissing, "this disk has no vdev, such as xvda"));
            return None;
        };
        let vdev = Vdev::parse(self.at(&bytes));
        if vdev.is_none() {
            let message = format!("`{}` is no vdev: xvda, xvdb and on, hda to hdd", self.at(&bytes));
            self.unknown(&bytes, message, &["xvda", "xvdb", "xvdc", "hda", "hdb", "hdc", "hdd"]);
        }
        vdev
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(line: &str) -> (Option<Disk>, Vec<(Code, String)>) {
        let mut faults = Vec::new();
        let whole = Span { source: 0, start: 0, end: line.len() };
        let written = parse(&Text::plain(line, 0, 0), whole, &mut faults);
        let named = |mark: Mark| (mark.code, line[mark.span.start..mark.span.end].to_owned());
        (written.map(|written| written.disk), faults.into_iter().map(named).collect())
    }

    #[test]
    fn every_form_of_a_disk_line_that_xl_documents_means_the_same() {
        for line in [
            "/dev/vg/guest-volume,,hda",
            "/dev/vg/guest-volume,raw,hda,rw",
            "format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume",
            "raw:/dev/vg/guest-volume,hda,w",
            "phy:/dev/vg/guest-volume,hda,w",
            "phy:vg/guest-volume,hda,w",
            "tap:aio:/dev/vg/guest-volume,hda:disk,w",
            "vg/guest-volume,raw,hda,",
            "/dev/vg/guest-volume, raw ,hda, rw, backendtype=phy, devtype=disk, discard, trusted, no-colo",
            ",raw,hda,w,backend=0,specification=xen,target=/dev/vg/guest-volume",
            "vdev=768,/dev/vg/guest-volume",
        ] {
            let (disk, faults) = read(line);
            assert_eq!(faults, [], "{line}");
            let disk = disk.expect(line);
            assert_eq!(
                (disk.target.as_path(), disk.mode),
                (Path::new("/dev/vg/guest-volume"), DiskMode::ReadWrite)
            );
            assert_eq!(disk.vdev.to_string(), "hda");
        }
    }

    #[test]
    fn a_target_by_name_is_the_rest_of_the_line() {
        let (disk, faults) = read("vdev=xvda,target=/a,b=c: d ");
        assert_eq!(faults, []);
        assert_eq!(disk.expect("a disk").target, Path::new("/a,b=c: d "));
    }

    #[test]
    fn what_is_wrong_is_named_where_it_stands() {
        for (line, code, at) in [
            ("/a,qcow2,xvda", ConfigNotWithStubdom, "qcow2"),
            ("qcow2:/a,xvda,w", ConfigNotWithStubdom, "qcow2"),
            ("/a,xvda,w", ConfigDisk, "xvda"),
            ("/a,raw,xvda,rw,x", ConfigDisk, "x"),
            ("/a,raw,xvda,rwa", ConfigDisk, "rwa"),
            ("/a,raw", ConfigMissing, "/a,raw"),
            ("", ConfigMissing, ""),
            ("/a,raw,xvda,backendtype=qdisk", ConfigNotWithStubdom, "qdisk"),
            ("/a,raw,xvda,bakend=x", ConfigDisk, "bakend"),
            ("/a,vdev=xvda,target=/b", ConfigDisk, "/b"),
            ("/a,raw,xvda,vdev=xvdb", ConfigDisk, "xvdb"),
            ("/a=b,raw,xvda", ConfigDisk, "/a=b"),
            ("/a,raw,vda", ConfigDisk, "vda"),
            ("/a,,hdc,cdrom", ConfigNotYet, "cdrom"),
            (",hdc:cdrom,r", ConfigNotYet, "cdrom"),
            ("/a,,hdc:floppy,r", ConfigDisk, "floppy"),
            ("nbd:x,xvda,w", ConfigNotYet, "nbd"),
            ("http:/x,raw,xvda", ConfigDisk, "http"),
            ("/a,raw,xvda,script=block-x", ConfigNotYet, "block-x"),
            ("/a,raw,xvda,backend=storage", ConfigNotYet, "storage"),
            ("/a,raw,xvda,colo", ConfigNotYet, "colo"),
            ("/a,raw,xvda,untrusted", ConfigNotYet, "untrusted"),
            ("/a,raw,xvda,specification=virtio", ConfigNotWithStubdom, "virtio"),
        ] {
            let (disk, faults) = read(line);
            assert_eq!(disk, None, "{line}");
            assert_eq!(faults.first(), Some(&(code, at.to_owned())), "{line}");
        }
    }

    #[test]
    fn what_changes_nothing_is_a_warning() {
        for flag in ["direct-io-safe", "no-discard", "grant_usage=1"] {
            let (disk, faults) = read(&format!("/a,raw,xvda,rw,{flag}"));
            assert!(disk.is_some(), "{flag}");
            assert_eq!(faults.len(), 1, "{flag}");
            assert_eq!(faults[0].0, ConfigIgnored);
        }
    }
}
