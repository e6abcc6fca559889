// SPDX-License-Identifier: GPL-3.0-only
//! The leak probe: everything of a host that a pair could leave something in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use xen_sys::{Access as _, Ctrl, DomId, LoopDevice, Store};

use crate::guest::{Guest, xen_console, xl};
use crate::stubctl;

/// How long Xen may take to scrub pages, and dom0's kernel to end threads, after a destroy has returned.
const SETTLE: Duration = Duration::from_secs(15);

/// Written when this boot's first pair has come and gone.
const WARM: &str = "/run/stub-tests-warm";

/// The state of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// With the pages that Xen gives dom0 for its table of mappings when it needs them, and never takes back.
    free_pages: u64,
    /// The rest as lines, by what they are about.
    lines: BTreeMap<&'static str, Vec<String>>,
}

impl Probe {
    /// Looks at the host, after one pair has come and gone since its boot.
    ///
    /// # Panics
    /// When the host cannot be looked at.
    pub fn take() -> Self {
        if !Path::new(WARM).exists() {
            let guest = Guest::new();
            stubctl::create_running(&guest);
            stubctl::destroy(&guest);
            fs::write(WARM, "").expect("a mark");
        }
        Self::look()
    }

    /// Only what domains take: another toolstack leaves nodes and logs of its own where the next of its guests
    /// finds them again.
    #[must_use]
    pub fn of_domains(mut self) -> Self {
        for what in ["xenstore", "temporary files"] {
            self.lines.remove(what);
        }
        self
    }

    fn look() -> Self {
        let grants = Grants::look();
        let ctrl = Ctrl::open().expect("Xen's control interface");
        let memory = ctrl.phys_info().expect("Xen's memory");
        let domains = ctrl.domains().expect("the list of domains");
        let ports = ctrl.evtchn_ports(DomId::DOM0).expect("dom0's event channels").len();
        drop(ctrl);
        let one = |text: String| vec![text];
        let free_pages = memory.free_pages + memory.scrub_pages + grants.maptrack_frames;
        let lines = BTreeMap::from([
            ("domains", domains.iter().map(|info| format!("{} dying={}", info.domid, info.dying)).collect()),
            ("grants in use", grants.in_use),
            ("claimed pages", one(memory.outstanding_pages.to_string())),
            ("event channels of dom0", one(ports.to_string())),
            ("xenstore", store()),
            ("loop devices", loops()),
            ("backends", names("/sys/bus/xen-backend/devices")),
            ("processes", processes()),
            ("descriptors", names("/proc/self/fd").len().to_string().lines().map(str::to_owned).collect()),
            // What is remembered of images is no trace of a pair.
            ("records", names("/var/lib/stubctl").into_iter().filter(|name| name != "verified").collect()),
            ("run files", names("/run/stubctl")),
            ("temporary files", names("/tmp").into_iter().filter(|name| !name.starts_with(".tmp")).collect()),
        ]);
        Self { free_pages, lines }
    }

    /// Checks that the host is again as it was.
    ///
    /// # Panics
    /// When it is not, with the differences.
    pub fn assert_restored(&self) {
        self.assert_restored_but_for_pages(0);
    }

    /// What is left of what happened since, once all has settled; nothing if the host is as it was.
    pub fn left(&self) -> Option<String> {
        self.settled(0).err()
    }

    /// The same when Xen itself is known to keep up to this many pages.
    ///
    /// # Panics
    /// When the host is not as it was, with the differences.
    pub fn assert_restored_but_for_pages(&self, kept: u64) {
        if let Err(differences) = self.settled(kept) {
            panic!("the host is not as before:\n{differences}");
        }
    }

    /// Waits until the host is as it was, or for the differences to stay.
    fn settled(&self, kept: u64) -> Result<(), String> {
        let deadline = Instant::now() + SETTLE;
        let restored = |now: &Self| {
            self.lines.iter().all(|(what, lines)| now.lines.get(what) == Some(lines))
                && (self.free_pages - kept.min(self.free_pages)..=self.free_pages).contains(&now.free_pages)
        };
        let mut now = Self::look();
        while !restored(&now) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            now = Self::look();
        }
        if restored(&now) { Ok(()) } else { Err(self.differences(&now)) }
    }

    fn differences(&self, now: &Self) -> String {
        let mut text = format!("free pages: {} before, {} now\n", self.free_pages, now.free_pages);
        for (what, before) in &self.lines {
            let after = &now.lines[what];
            for line in before.iter().filter(|line| !after.contains(line)) {
                let _ = writeln!(text, "{what}: - {line}");
            }
            for line in after.iter().filter(|line| !before.contains(line)) {
                let _ = writeln!(text, "{what}: + {line}");
            }
        }
        text
    }
}

/// What Xen says of grants on its console when it is asked with the debug key `g`.
struct Grants {
    in_use: Vec<String>,
    maptrack_frames: u64,
}

impl Grants {
    fn look() -> Self {
        assert!(xl().args(["debug-keys", "g"]).status().expect("xl").success());
        let console = xen_console();
        let report = console.rsplit_once("gnttab_usage_print_all [").expect("a report on grants").1;
        let report: Vec<&str> = report.lines().take_while(|line| !line.contains("] done")).collect();
        // `      1 frames (64 max), 2 maptrack frames (1024 max)` is dom0's first.
        let frames = report
            .iter()
            .find_map(|line| line.split(" maptrack frames").next()?.rsplit(' ').next()?.parse().ok());
        let entries = report.iter().filter(|line| line.contains("0x"));
        let without_stamp =
            |line: &&str| line.rsplit_once("] ").map_or(*line, |(_, text)| text).trim().to_owned();
        Self {
            in_use: entries.map(without_stamp).collect(),
            maptrack_frames: frames.expect("dom0's mappings"),
        }
    }
}

/// Every node with its value and permissions.
fn store() -> Vec<String> {
    let store = Store::open().expect("xenstored");
    let mut lines = Vec::new();
    let mut todo = vec!["/".to_owned()];
    while let Some(path) = todo.pop() {
        let value = store.read(&path).expect("readable").unwrap_or_default();
        let permissions = store.permissions(&path).expect("readable").unwrap_or_default();
        lines.push(format!("{path} = {:?} {permissions:?}", String::from_utf8_lossy(&value)));
        let parent = if path == "/" { "" } else { &path };
        let names = store.list(&path).expect("listable").unwrap_or_default();
        todo.extend(names.iter().map(|name| format!("{parent}/{name}")));
    }
    lines.sort();
    lines
}

fn loops() -> Vec<String> {
    let attached =
        |number: &u32| LoopDevice::open(*number).is_ok_and(|device| matches!(device.status(), Ok(Some(_))));
    let numbers = LoopDevice::list().expect("loop devices");
    numbers.into_iter().filter(attached).map(|number| format!("loop{number}")).collect()
}

/// Names in a directory; none if there is no such directory.
pub fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Processes with a program, and the kernel's threads for disks of domains.
pub fn processes() -> Vec<String> {
    let pids = names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let lines = pids.filter_map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
        let program = fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        (program || name.contains(".xvd") || name.contains("vif")).then(|| format!("{pid} {name}"))
    });
    lines.collect()
}
