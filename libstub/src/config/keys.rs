// SPDX-License-Identifier: GPL-3.0-only
//! What each key of a config means.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;
use xen_sys::Kib;

use super::disk::Disk;
use super::fault::Mark;
use super::files::{self, Size};
use super::merge::Setting;
use super::policy::{Action, EndKind, Policy};
use super::reader::Reader;
use super::source::{Source, Spanned};
use super::spec::{self, Written};
use super::syntax::Value;
use super::table::{self, Only, Status};
use super::{DiskController, GuestConfig, MEMORY_MIB, Name, StubdomConfig};
use crate::code::Code;

/// Turns settings into a config; faults are added to `faults`.
pub(super) fn interpret<'a>(
    settings: &'a [Setting],
    sources: &'a [Source<'a>],
    faults: &'a mut Vec<Mark>,
) -> Option<GuestConfig> {
    let mut reader = Reader { settings, sources, faults };
    for setting in settings {
        reader.admit(setting);
    }
    let name = reader.name();
    reader.kind("type");
    reader.kind("builder");
    reader.one_of("vga", &["none"], |kind| {
        let known = matches!(kind, "stdvga" | "cirrus" | "qxl");
        let message = "a display is not supported yet: vga = \"none\"".to_owned();
        (if known { Code::ConfigNotYet } else { Code::ConfigValue }, message)
    });
    reader.device_model();
    let (memory, max_memory) = reader.memories();
    let vcpus = reader.number("vcpus", 1..=128).unwrap_or(1);
    let uuid = reader.uuid();
    let boot = reader.boot();
    let controller = reader.controller();
    let disks = reader.disks(controller);
    let stubdom = reader.stubdom();
    let policy = reader.policy();
    Some(GuestConfig {
        name: name?,
        uuid,
        memory: memory?,
        max_memory,
        vcpus: u32::try_from(vcpus).ok()?,
        boot,
        controller,
        disks,
        stubdom,
        policy,
        source: None,
    })
}

impl Reader<'_> {
    /// Whether a key may be set, and to this.
    fn admit(&mut self, Setting { key, value }: &Setting) {
        let name = key.value.as_str();
        let Some(known) = table::find(name) else {
            let message = format!("`{name}` is no key of xl.cfg");
            let near = table::nearest(name);
            self.faults.push(Mark::new(key.span, Code::ConfigUnknownKey, message).suggest(near));
            return;
        };
        match known.status {
            _ if value.value == Value::Broken => {}
            Status::Served { .. } => {}
            Status::NotYet { only } if only.iter().any(|only| self.is_only(&value.value, *only)) => {}
            Status::NotYet { only } => {
                let spared: Vec<String> = only.iter().map(ToString::to_string).collect();
                let mut message = format!("`{name}` is not supported yet");
                if !spared.is_empty() {
                    message += &format!("; so far it can only be {}", spared.join(" or "));
                }
                let words = only.iter().filter_map(|only| match only {
                    Only::Word(word) => Some(*word),
                    _ => None,
                });
                let near = match &value.value {
                    Value::Text(text) => table::nearest_of(text.as_str(), words),
                    _ => None,
                };
                // A value could be another one; a list, or a key that takes nothing yet, is refused as a whole.
                let whole = only.is_empty() || matches!(value.value, Value::List(_));
                let span = if whole { key.span } else { value.span };
                self.faults.push(Mark::new(span, Code::ConfigNotYet, message).suggest(near));
            }
            Status::NotWithStubdom { reason } => {
                let message = format!("`{name}` is not for a guest with a stubdomain: {reason}");
                self.fault(key.span, Code::ConfigNotWithStubdom, message);
            }
            Status::Ignored { reason } => {
                let message = format!("`{name}` changes nothing: {reason}");
                self.faults.push(Mark::warning(key.span, Code::ConfigIgnored, message));
            }
        }
    }

    fn name(&mut self) -> Option<Name> {
        let Some((text, span)) = self.text("name") else {
            self.missing("name", "what the guest is called");
            return None;
        };
        let name = text.as_str();
        Name::new(name)
            .map_err(|error| {
                let bad = name.find(|c| !Name::allowed(c));
                let bytes = bad.map(|at| at..at + name[at..].chars().next().map_or(1, char::len_utf8));
                let span = bytes.and_then(|bytes| text.span(bytes)).unwrap_or(span);
                self.fault(span, Code::ConfigValue, error.to_string());
            })
            .ok()
    }

    fn kind(&mut self, key: &str) {
        self.one_of(key, &["hvm"], |kind| {
            let message = format!("`{key}` is \"hvm\": only HVM guests have a QEMU to put into a stubdomain");
            let known = matches!(kind, "pv" | "pvh" | "generic");
            (if known { Code::ConfigNotWithStubdom } else { Code::ConfigValue }, message)
        });
    }

    fn device_model(&mut self) {
        self.one_of("device_model_version", &["qemu-xen"], |version| {
            let message = "only \"qemu-xen\" runs in a Linux stubdomain".to_owned();
            let known = version == "qemu-xen-traditional";
            (if known { Code::ConfigNotWithStubdom } else { Code::ConfigValue }, message)
        });
        let key = "device_model_stubdomain_override";
        if let Some(value) = self.find(key)
            && !self.is_only(&value.value, Only::On)
        {
            let message = "QEMU always runs in a stubdomain here: device_model_stubdomain_override = 1";
            self.fault(value.span, Code::ConfigNotWithStubdom, message);
        }
    }

    fn memories(&mut self) -> (Option<Kib>, Option<Kib>) {
        let memory = self.memory("memory", MEMORY_MIB);
        self.missing("memory", "how many MiB the guest has");
        let max_memory = self.memory("maxmem", MEMORY_MIB);
        if let (Some(memory), Some(most), Some(value)) = (memory, max_memory, self.find("maxmem"))
            && most < memory
        {
            let message = format!("`maxmem` is less than `memory`, which is {} MiB", memory.get() / 1024);
            self.fault(value.span, Code::ConfigConflict, message);
        }
        (memory, max_memory)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let (text, span) = self.string("uuid")?;
        let uuid = Uuid::parse_str(text).ok().filter(|uuid| !uuid.is_nil());
        if uuid.is_none() {
            self.fault(span, Code::ConfigValue, "`uuid` takes 32 hexadecimal digits, not all zero");
        }
        uuid
    }

    fn boot(&mut self) -> String {
        let Some((text, span)) = self.text("boot") else { return "cda".to_owned() };
        let order = text.as_str();
        // QEMU ends when a letter comes twice.
        let bad = order.char_indices().find(|(at, c)| !"acdn".contains(*c) || order[..*at].contains(*c));
        if bad.is_some() || order.is_empty() {
            let span = bad.and_then(|(at, c)| text.span(at..at + c.len_utf8())).unwrap_or(span);
            let message = "`boot` takes letters of a (floppy), c (disk), d (cdrom), n (network), each once";
            self.fault(span, Code::ConfigValue, message);
        }
        order.to_owned()
    }

    fn controller(&mut self) -> DiskController {
        let refusal = |_: &str| (Code::ConfigValue, "`hdtype` is \"ide\" or \"ahci\"".to_owned());
        match self.one_of("hdtype", &["ide", "ahci"], refusal) {
            Some("ahci") => DiskController::Ahci,
            _ => DiskController::Ide,
        }
    }

    fn disks(&mut self, controller: DiskController) -> Vec<Disk> {
        let Some(value) = self.find("disk") else { return Vec::new() };
        let Value::List(items) = &value.value else {
            let message = "`disk` takes a list: disk = [ \"/path,raw,xvda,rw\" ]";
            self.fault(value.span, Code::ConfigValue, message);
            return Vec::new();
        };
        let mut disks: Vec<Written> = Vec::new();
        for Spanned { value, span } in items {
            match value {
                Value::Text(line) => {
                    if let Some(disk) = spec::parse(line, *span, self.faults) {
                        self.check_disk(&disk, &disks);
                        disks.push(disk);
                    }
                }
                Value::Broken => {}
                _ => self.fault(*span, Code::ConfigValue, "a disk is a string in quotes"),
            }
        }
        let limit = controller.limit();
        if let Some(Spanned { span, .. }) = items.get(limit) {
            let message = format!("the emulated controller takes {limit} disks{}", controller.way_out());
            self.fault(*span, Code::ConfigConflict, message);
        }
        disks.into_iter().map(|written| written.disk).collect()
    }

    fn check_disk(&mut self, written: &Written, earlier: &[Written]) {
        let disk = &written.disk;
        if let Err(message) = files::check(&disk.target, Size::WholeSectors) {
            self.fault(written.target, Code::ConfigFile, message);
        }
        let others: Vec<&Disk> = earlier.iter().map(|written| &written.disk).collect();
        for unserved in disk.check_beside(&others) {
            let mut message = unserved.message;
            if let Some(first) = unserved.earlier.map(|index| earlier[index].span(unserved.part))
                && let Some(source) = self.sources.get(first.source)
            {
                let file = if first.source == 0 { "line" } else { "--set, line" };
                message += &format!("; the first is on {file} {}", source.line(first));
            }
            self.fault(written.span(unserved.part), unserved.code, message);
        }
    }

    fn file(&mut self, key: &str, size: Size) -> Option<PathBuf> {
        let (text, span) = self.string(key)?;
        let path = PathBuf::from(text);
        if !path.is_absolute() {
            self.fault(span, Code::ConfigValue, format!("`{key}` takes an absolute path"));
            return None;
        }
        files::check(&path, size).map_err(|message| self.fault(span, Code::ConfigFile, message)).ok()?;
        Some(path)
    }

    fn stubdom(&mut self) -> StubdomConfig {
        let image = self.string("stubdomain_image").and_then(|(text, span)| {
            let path = PathBuf::from(text);
            if path.join(proto::manifest::FILE).is_file() {
                return Some(path);
            }
            let message = format!("{text} is no image: it holds no {}", proto::manifest::FILE);
            self.fault(span, Code::ConfigFile, message);
            None
        });
        let cmdline = self.string("stubdomain_cmdline").and_then(|(text, span)| {
            if text.len() <= 1023 {
                return Some(text.to_owned());
            }
            self.fault(span, Code::ConfigValue, "Xen takes a kernel command line of at most 1023 bytes");
            None
        });
        let seconds = self.number("stubdomain_timeout", 1..=super::MAX_TIMEOUT.as_secs());
        let mut qemu_args = self.strings("device_model_args");
        qemu_args.extend(self.strings("device_model_args_hvm"));
        StubdomConfig {
            image,
            kernel: self.file("stubdomain_kernel", Size::Any),
            ramdisk: self.file("stubdomain_ramdisk", Size::Any),
            rootfs: self.file("stubdomain_rootfs", Size::WholeSectors),
            cmdline,
            memory: self.memory("stubdomain_memory", 16..=65_536),
            timeout: seconds.map_or(super::READY_TIMEOUT, Duration::from_secs),
            qemu_args,
        }
    }

    fn policy(&mut self) -> Policy {
        let words = Action::ALL.map(Action::as_str);
        let mut action = |kind: EndKind| {
            let key = kind.key();
            let word = self.one_of(key, &words, |word| {
                let why = match word {
                    "rename-restart" => "a pair keeps its name as long as it is there",
                    "coredump-destroy" | "coredump-restart" => "no core of a guest is written",
                    "soft-reset" => "QEMU in a stubdomain cannot be given a new platform",
                    _ => {
                        let message = format!("`{key}` is \"destroy\", \"restart\" or \"preserve\"");
                        return (Code::ConfigValue, message);
                    }
                };
                (Code::ConfigNotYet, format!("`{key}` = \"{word}\" is not supported yet: {why}"))
            });
            Action::ALL.into_iter().find(|action| Some(action.as_str()) == word)
        };
        Policy {
            poweroff: action(EndKind::Poweroff),
            reboot: action(EndKind::Reboot),
            watchdog: action(EndKind::Watchdog),
            crash: action(EndKind::Crash),
            soft_reset: action(EndKind::SoftReset),
            device_model_death: action(EndKind::DeviceModelDeath),
        }
    }

    /// A list of QEMU's arguments.
    fn strings(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Value::List(items) = &value.value else {
            self.fault(value.span, Code::ConfigValue, format!("`{key}` takes a list of strings"));
            return Vec::new();
        };
        let mut strings = Vec::new();
        for Spanned { value, span } in items {
            match value {
                Value::Text(text) | Value::Number(_, text) => strings.push(text.as_str().to_owned()),
                Value::Broken => {}
                Value::List(_) => self.fault(*span, Code::ConfigValue, format!("`{key}` takes strings")),
            }
        }
        if let Err(error) = proto::argv::encode(&strings) {
            self.fault(value.span, Code::ConfigValue, error.to_string());
        }
        strings
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ConfigError, Fault, Severity};
    use super::*;

    fn faults(text: &str) -> Vec<Fault> {
        match GuestConfig::parse(text, Path::new("guest.cfg")) {
            Err(ConfigError::Faults(faults)) => faults,
            other => panic!("no faults: {other:?}"),
        }
    }

    fn disk(bytes: u64) -> tempfile::NamedTempFile {
        let disk = tempfile::NamedTempFile::new().expect("a file");
        disk.as_file().set_len(bytes).expect("a size");
        disk
    }

    #[test]
    fn a_config_of_the_demo_is_understood() {
        let disk = disk(4096);
        let text = format!(
            "name = \"demo\"\ntype = \"hvm\"\nmemory = 64\nmaxmem = '1G'\nvga = \"none\"\nhdtype = \"ahci\"\nboot = \"c\"\ndisk = [ \"{},raw,xvda,rw\" ]\nstubdomain_memory = 96\n",
            disk.path().display()
        );
        let config = GuestConfig::parse(&text, Path::new("guest.cfg")).expect("valid");
        assert_eq!(config.memory, Kib::from_mib(64));
        assert_eq!(config.max_memory, Some(Kib::from_mib(1024)));
        assert_eq!(config.controller, DiskController::Ahci);
        assert_eq!(config.disks.len(), 1);
        assert_eq!(config.stubdom.memory, Some(Kib::from_mib(96)));
    }

    #[test]
    fn all_faults_of_a_file_come_at_once_with_their_places() {
        let faults = faults("name = \"a/b\"\nmemroy = 64\nvif = [ '' ]\nvcpus = 0\nvcpus = 500\n");
        let got: Vec<(usize, usize, &str)> =
            faults.iter().map(|fault| (fault.line, fault.column, fault.code.as_str())).collect();
        let want = [
            (1, 10, "config-value"),
            (2, 1, "config-unknown-key"),
            (3, 1, "config-not-yet"),
            (5, 1, "config-duplicate"),
            (5, 9, "config-value"),
        ];
        assert_eq!(got, want);
        assert_eq!(faults[1].suggestion.as_deref(), Some("memory"));
        assert_eq!(faults[3].severity, Severity::Warning);
    }

    #[test]
    fn a_disk_file_that_a_loop_device_would_cut_short_is_refused() {
        let disk = disk(1000);
        let line = format!("name = \"a\"\nmemory = 8\ndisk = [ \"{},raw,xvda\" ]\n", disk.path().display());
        let faults = faults(&line);
        assert_eq!((faults[0].code, faults[0].line, faults[0].column), (Code::ConfigFile, 3, 11));
        assert!(faults[0].message.contains("multiple of 512"));
    }

    #[test]
    fn qemus_arguments_for_all_guests_come_before_those_for_hvm_guests() {
        let text =
            "name = 'a'\nmemory = 8\ndevice_model_args_hvm = [ '-b', 2 ]\ndevice_model_args = [ '-a' ]\n";
        let config = GuestConfig::parse(text, Path::new("guest.cfg")).expect("valid");
        assert_eq!(config.stubdom.qemu_args, ["-a", "-b", "2"]);
    }

    #[test]
    fn a_key_that_is_not_served_may_say_what_happens_anyway() {
        for line in [
            "vnc = 0",
            "vnc = '0'",
            "acpi = 1",
            "vif = []",
            "firmware = 'bios'",
            "kernel = '/usr/lib/xen/boot/hvmloader'",
            "vcpus = 3\nmaxvcpus = 3",
            "maxvcpus = 1",
            "on_crash = 'preserve'",
        ] {
            let text = format!("name = 'a'\nmemory = 8\n{line}\n");
            let loaded = GuestConfig::parse(&text, Path::new("guest.cfg"));
            assert!(loaded.is_ok(), "{line}: {loaded:?}");
        }
        for line in ["vnc = 1", "acpi = 0", "vif = [ 'x' ]", "firmware = 'ovmf'", "vcpus = 3\nmaxvcpus = 4"] {
            let faults = faults(&format!("name = 'a'\nmemory = 8\n{line}\n"));
            assert_eq!(faults[0].code, Code::ConfigNotYet, "{line}");
        }
    }
}
