// SPDX-License-Identifier: GPL-3.0-only
//! A disk line, `TARGET, FORMAT, VDEV, ACCESS` with parameters and flags among them, as
//! xl-disk-configuration(5) and libxlu's lexer have it.

use std::ops::Range;
use std::path::PathBuf;

use super::disk::{Disk, Part};
use super::fault::Mark;
use super::params::FLAGS;
use super::source::Span;
use super::table::nearest_of;
use super::text::Text;
use crate::code::Code::{self, ConfigDisk, ConfigIgnored, ConfigMissing, ConfigNotYet};

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
pub(super) type Bytes = Range<usize>;

pub(super) struct Spec<'a> {
    line: &'a Text,
    pub(super) whole: Span,
    pub(super) faults: &'a mut Vec<Mark>,
    pub(super) target: Option<Bytes>,
    pub(super) format: Option<Bytes>,
    pub(super) vdev: Option<Bytes>,
    pub(super) access: Option<Bytes>,
    /// The format came as a prefix, or as the lack of one: no position is left for it.
    prefixed: bool,
    pub(super) cdrom: Option<Bytes>,
}

impl Spec<'_> {
    pub(super) fn at(&self, bytes: &Bytes) -> &str {
        &self.line.as_str()[bytes.clone()]
    }

    /// Where bytes of the line are written; nothing is written where something should be.
    fn span(&self, bytes: &Bytes) -> Span {
        let nothing = || self.line.span(bytes.start.checked_sub(1)?..bytes.start);
        self.line.span(bytes.clone()).or_else(nothing).unwrap_or(self.whole)
    }

    pub(super) fn fault(&mut self, bytes: &Bytes, code: Code, message: impl Into<String>) {
        self.faults.push(Mark::new(self.span(bytes), code, message));
    }

    pub(super) fn ignored(&mut self, bytes: &Bytes, message: &str) {
        self.faults.push(Mark::warning(self.span(bytes), ConfigIgnored, message));
    }

    /// A word that is none of those that stand there.
    pub(super) fn unknown(&mut self, bytes: &Bytes, message: String, words: &[&str]) {
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
    pub(super) fn set(&mut self, part: Part, bytes: Bytes) {
        let bytes = if part == Part::Vdev { self.devtype_suffix(bytes) } else { bytes };
        let (slot, name) = match part {
            Part::Target => (&mut self.target, "target"),
            Part::Vdev => (&mut self.vdev, "vdev"),
            Part::Access => (&mut self.access, "access"),
        };
        let earlier = slot.replace(bytes.clone());
        self.once(name, earlier, &bytes);
    }

    pub(super) fn once(&mut self, name: &str, earlier: Option<Bytes>, bytes: &Bytes) {
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
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::disk::DiskMode;
    use super::*;
    use crate::code::Code::ConfigNotWithStubdom;

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
