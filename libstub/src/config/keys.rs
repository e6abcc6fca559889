// SPDX-License-Identifier: GPL-3.0-only
//! What each key of a config means, and which keys there are.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;
use xen_sys::Kib;

use super::fault::Mark;
use super::syntax::{Assignment, Spanned, Value};
use super::table::{NOT_YET, SERVED, nearest};
use super::{DiskController, GuestConfig, Name, StubdomConfig, disk};

/// Turns assignments into a config; faults are added to `faults`.
pub(super) fn interpret(assignments: &[Assignment], faults: &mut Vec<Mark>) -> Option<GuestConfig> {
    let mut reader = Reader { assignments, faults };
    reader.refuse_unknown();
    let name = reader.name();
    reader.one_of("type", &["hvm"], "only HVM guests have a QEMU to put into a stubdomain");
    reader.one_of("vga", &["none"], "a display is not supported yet: vga = \"none\"");
    reader.one_of("device_model_version", &["qemu-xen"], "only qemu-xen runs in a Linux stubdomain");
    reader.stubdomain_override();
    let memory = reader.mebibytes("memory", 4..=1 << 24);
    let vcpus = reader.number("vcpus", 1..=128).unwrap_or(1);
    let uuid = reader.uuid();
    let boot = reader.boot();
    let controller =
        match reader.one_of("hdtype", &["ide", "ahci"], "hdtype is \"ide\" or \"ahci\"").as_deref() {
            Some("ahci") => DiskController::Ahci,
            _ => DiskController::Ide,
        };
    let disks = reader.disks(controller);
    let stubdom = reader.stubdom();
    let memory = memory.or_else(|| {
        reader.missing("memory", "how many MiB the guest has");
        None
    });
    Some(GuestConfig {
        name: name?,
        uuid,
        memory: memory?,
        vcpus: u32::try_from(vcpus).ok()?,
        boot,
        controller,
        disks,
        stubdom,
        source: None,
    })
}

struct Reader<'a> {
    assignments: &'a [Assignment],
    faults: &'a mut Vec<Mark>,
}

impl<'a> Reader<'a> {
    fn refuse_unknown(&mut self) {
        for (index, Assignment { key, .. }) in self.assignments.iter().enumerate() {
            let name = key.value.as_str();
            if !SERVED.contains(&name) {
                let message = match nearest(name) {
                    _ if NOT_YET.contains(&name) => format!("`{name}` is not supported yet"),
                    Some(near) => format!("`{name}` is no key of xl.cfg; did you mean `{near}`?"),
                    None => format!("`{name}` is no key of xl.cfg"),
                };
                self.fault(&key.span, message);
            } else if self.assignments[..index].iter().any(|earlier| earlier.key.value == name) {
                self.fault(&key.span, format!("`{name}` is set twice"));
            }
        }
    }

    fn fault(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.faults.push(Mark::new(span, message));
    }

    fn missing(&mut self, key: &str, what: &str) {
        let set = self.find(key).is_some();
        if !set {
            self.fault(&(0..0), format!("`{key}` is missing: {what}"));
        }
    }

    fn find(&self, key: &str) -> Option<&'a Spanned<Value>> {
        self.assignments.iter().find(|a| a.key.value == key).map(|a| &a.value)
    }

    fn text(&mut self, key: &str) -> Option<&'a Spanned<Value>> {
        let value = self.find(key)?;
        match value.value {
            Value::Text(_) => Some(value),
            _ => {
                self.fault(&value.span, format!("`{key}` takes a string in quotes"));
                None
            }
        }
    }

    fn string(&mut self, key: &str) -> Option<(&'a str, Range<usize>)> {
        match self.text(key)? {
            Spanned { value: Value::Text(text), span } => Some((text, span.clone())),
            _ => None,
        }
    }

    fn name(&mut self) -> Option<Name> {
        let Some((text, span)) = self.string("name") else {
            self.missing("name", "what the guest is called");
            return None;
        };
        Name::new(text).map_err(|error| self.fault(&span, error.to_string())).ok()
    }

    fn one_of(&mut self, key: &str, allowed: &[&str], message: &str) -> Option<String> {
        let (text, span) = self.string(key)?;
        if allowed.contains(&text) {
            return Some(text.to_owned());
        }
        self.fault(&span, message);
        None
    }

    fn stubdomain_override(&mut self) {
        if let Some(value) = self.find("device_model_stubdomain_override")
            && value.value != Value::Number(1)
        {
            self.fault(
                &value.span,
                "QEMU always runs in a stubdomain here: device_model_stubdomain_override = 1",
            );
        }
    }

    /// A number, which xl.cfg also lets stand in quotes.
    fn number(&mut self, key: &str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.find(key)?;
        let number = match &value.value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            Value::List(_) => None,
        };
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (low, high) = (allowed.start(), allowed.end());
                self.fault(&value.span, format!("`{key}` takes a number from {low} to {high}"));
                None
            }
        }
    }

    fn mebibytes(&mut self, key: &str, allowed: std::ops::RangeInclusive<u64>) -> Option<Kib> {
        self.number(key, allowed).map(Kib::from_mib)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let (text, span) = self.string("uuid")?;
        match Uuid::parse_str(text) {
            Ok(uuid) if !uuid.is_nil() => Some(uuid),
            _ => {
                self.fault(&span, "`uuid` takes 32 hexadecimal digits, not all zero");
                None
            }
        }
    }

    fn boot(&mut self) -> String {
        let Some((text, span)) = self.string("boot") else { return "cda".to_owned() };
        if text.is_empty() || !text.chars().all(|c| matches!(c, 'a' | 'c' | 'd' | 'n')) {
            self.fault(&span, "`boot` takes letters of a (floppy), c (disk), d (cdrom), n (network)");
        }
        text.to_owned()
    }

    fn disks(&mut self, controller: DiskController) -> Vec<disk::Disk> {
        let Some(value) = self.find("disk") else { return Vec::new() };
        let Value::List(items) = &value.value else {
            self.fault(&value.span, "`disk` takes a list: disk = [ \"/path,raw,xvda,rw\" ]");
            return Vec::new();
        };
        let mut disks: Vec<disk::Disk> = Vec::new();
        for Spanned { value, span } in items {
            let parsed = match value {
                Value::Text(line) => disk::parse(line),
                _ => Err("a disk is a string in quotes".to_owned()),
            };
            let checked = parsed.and_then(|disk| {
                check_target(&disk.target, Size::WholeSectors)?;
                disk.check_beside(&disks)?;
                Ok(disk)
            });
            match checked {
                Ok(disk) => disks.push(disk),
                Err(message) => self.fault(span, message),
            }
        }
        if disks.len() > controller.limit() {
            self.fault(&value.span, format!("the emulated controller takes {} disks", controller.limit()));
        }
        disks
    }

    fn file(&mut self, key: &str, size: Size) -> Option<PathBuf> {
        let (text, span) = self.string(key)?;
        let path = PathBuf::from(text);
        let checked = if path.is_absolute() {
            check_target(&path, size)
        } else {
            Err(format!("`{key}` takes an absolute path"))
        };
        checked.map_err(|message| self.fault(&span, message)).ok().map(|()| path)
    }

    fn stubdom(&mut self) -> StubdomConfig {
        let image = self.string("stubdomain_image").and_then(|(text, span)| {
            let path = PathBuf::from(text);
            if path.join(proto::manifest::FILE).is_file() {
                return Some(path);
            }
            self.fault(&span, format!("{text} is no image: it holds no {}", proto::manifest::FILE));
            None
        });
        let cmdline = self.string("stubdomain_cmdline").and_then(|(text, span)| {
            if text.len() <= 1023 {
                return Some(text.to_owned());
            }
            self.fault(&span, "Xen takes a kernel command line of at most 1023 bytes");
            None
        });
        let seconds = self.number("stubdomain_timeout", 1..=86_400);
        StubdomConfig {
            image,
            kernel: self.file("stubdomain_kernel", Size::Any),
            ramdisk: self.file("stubdomain_ramdisk", Size::Any),
            rootfs: self.file("stubdomain_rootfs", Size::WholeSectors),
            cmdline,
            memory: self.mebibytes("stubdomain_memory", 16..=65_536),
            timeout: seconds.map_or(super::READY_TIMEOUT, Duration::from_secs),
            qemu_args: self.arguments(),
        }
    }

    fn arguments(&mut self) -> Vec<String> {
        let Some(value) = self.find("device_model_args_hvm") else { return Vec::new() };
        let texts = match &value.value {
            Value::List(items) => items.iter().map(|item| as_text(&item.value)).collect(),
            _ => None,
        };
        let texts: Vec<String> = texts.unwrap_or_else(|| {
            self.fault(&value.span, "`device_model_args_hvm` takes a list of strings");
            Vec::new()
        });
        if let Err(error) = proto::argv::encode(&texts) {
            self.fault(&value.span, error.to_string());
        }
        texts
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Any,
    /// A loop device drops a tail of less than 512 bytes.
    WholeSectors,
}

fn check_target(path: &Path, size: Size) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt as _;
    let shown = path.display();
    let data = std::fs::metadata(path).map_err(|error| format!("cannot use {shown}: {error}"))?;
    let kind = data.file_type();
    if kind.is_block_device() {
        return Ok(());
    }
    if !kind.is_file() {
        return Err(format!("{shown} is neither a file nor a block device"));
    }
    if data.len() == 0 {
        return Err(format!("{shown} is empty"));
    }
    if size == Size::WholeSectors && data.len() % 512 != 0 {
        return Err(format!(
            "{shown} has {} bytes, not a multiple of 512: its tail would be lost",
            data.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ConfigError;
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        match GuestConfig::parse(text, Path::new("guest.cfg")) {
            Err(ConfigError::Faults(faults)) => faults.iter().map(ToString::to_string).collect(),
            other => panic!("no faults: {other:?}"),
        }
    }

    #[test]
    fn a_config_of_the_demo_is_understood() {
        let disk = tempfile::NamedTempFile::new().expect("a file");
        disk.as_file().set_len(4096).expect("a size");
        let text = format!(
            "name = \"demo\"\ntype = \"hvm\"\nmemory = 64\nvga = \"none\"\nhdtype = \"ahci\"\nboot = \"c\"\ndisk = [ \"{},raw,xvda,rw\" ]\nstubdomain_memory = 96\n",
            disk.path().display()
        );
        let config = GuestConfig::parse(&text, Path::new("guest.cfg")).expect("valid");
        assert_eq!(config.memory, Kib::from_mib(64));
        assert_eq!(config.controller, DiskController::Ahci);
        assert_eq!(config.disks.len(), 1);
        assert_eq!(config.stubdom.memory, Some(Kib::from_mib(96)));
    }

    #[test]
    fn all_faults_of_a_file_come_at_once_with_their_places() {
        let faults = faults("name = \"a/b\"\nmemroy = 64\nvif = [ '' ]\nvcpus = 0\nvcpus = 1\n");
        assert_eq!(faults.len(), 6, "{faults:#?}");
        assert!(faults.iter().any(|f| f.starts_with("guest.cfg:1:8: a name is made of")), "{faults:#?}");
        assert!(faults.iter().any(|f| f.contains("guest.cfg:2:1:") && f.contains("did you mean `memory`?")));
        assert!(faults.iter().any(|f| f.contains("guest.cfg:3:1:") && f.contains("not supported yet")));
        assert!(faults.iter().any(|f| f.contains("guest.cfg:4:9:") && f.contains("from 1 to 128")));
        assert!(faults.iter().any(|f| f.contains("guest.cfg:5:1:") && f.contains("set twice")));
        assert!(faults.iter().any(|f| f.contains("`memory` is missing")));
    }

    #[test]
    fn a_disk_file_that_a_loop_device_would_cut_short_is_refused() {
        let disk = tempfile::NamedTempFile::new().expect("a file");
        disk.as_file().set_len(1000).expect("a size");
        let line = format!("name = \"a\"\nmemory = 8\ndisk = [ \"{},raw,xvda\" ]\n", disk.path().display());
        assert!(faults(&line)[0].contains("multiple of 512"));
    }
}
