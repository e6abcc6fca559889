// SPDX-License-Identifier: GPL-3.0-only
//! Starts and ends of guests, ours and upstream's in turns: wall time, CPU, forks, memory.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stub_tests::guest::{Guest, xl};
use stub_tests::probe::names;
use stub_tests::report::{Report, median, rounds};
use stub_tests::stamps::Clocks;
use stub_tests::{stubctl, wait_for};
use xen_sys::{Ctrl, DomId, DomainKind};

/// All ramdisk, Debian's kernel; all ramdisk, the minimal kernel; the default form, the minimal kernel.
const DISTRO_RAMDISK: &str = "/lab/put/image-ramdisk";
const MINIMAL_RAMDISK: &str = "/lab/put/image-minimal-ramdisk";
const MINIMAL: &str = "/lab/put/image-minimal";

/// The guest's memory, the least that `xl` can build.
const MEMORY: &str = "memory = 64";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toolstack {
    Stubctl,
    Xl,
}

/// A way to start a guest.
#[derive(Debug, Clone, Copy)]
struct Way {
    what: &'static str,
    toolstack: Toolstack,
    image: &'static str,
}

const fn way(what: &'static str, toolstack: Toolstack, image: &'static str) -> Way {
    Way { what, toolstack, image }
}

/// What is compared with what: ours first, then upstream's; and the most that ours may take of upstream's wall time.
const PAIRS: [(&str, Way, Way, f64); 3] = [
    (
        "a: the same kernel (Debian's) and ramdisk",
        way("stubctl, ramdisk", Toolstack::Stubctl, DISTRO_RAMDISK),
        way("xl, ramdisk", Toolstack::Xl, DISTRO_RAMDISK),
        0.45,
    ),
    (
        "a: the same kernel (minimal) and ramdisk",
        way("stubctl, minimal, ramdisk", Toolstack::Stubctl, MINIMAL_RAMDISK),
        way("xl, minimal, ramdisk", Toolstack::Xl, MINIMAL_RAMDISK),
        0.45,
    ),
    (
        "b: our image against xl with Debian's kernel",
        way("stubctl, minimal, erofs", Toolstack::Stubctl, MINIMAL),
        way("xl, ramdisk", Toolstack::Xl, DISTRO_RAMDISK),
        0.20,
    ),
];

/// What one start and end took.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    create: f64,
    first_output: f64,
    dom0_cpu: f64,
    stubdom_cpu: f64,
    forks: f64,
    processes_mib: f64,
    xen_mib: f64,
    destroy: f64,
    destroy_cpu: f64,
}

fn manifest(image: &str) -> proto::manifest::Manifest {
    let text = fs::read(Path::new(image).join(proto::manifest::FILE)).expect("an image");
    proto::manifest::Manifest::from_json(&text).expect("a manifest")
}

impl Way {
    fn guest(self) -> Guest {
        let guest = Guest::new().with(MEMORY).with("vnc = 0");
        let manifest = manifest(self.image);
        match self.toolstack {
            Toolstack::Stubctl => guest.with(&format!("stubdomain_image = \"{}\"", self.image)),
            Toolstack::Xl => guest
                .with("device_model_version = \"qemu-xen\"")
                .with("device_model_stubdomain_override = 1")
                .with(&format!("stubdomain_kernel = \"{}/kernel\"", self.image))
                .with(&format!("stubdomain_ramdisk = \"{}/ramdisk\"", self.image))
                .with(&format!("stubdomain_cmdline = \"{}\"", manifest.cmdline))
                .with(&format!("stubdomain_memory = {}", manifest.memory_mib())),
        }
    }

    fn command(self) -> Command {
        match self.toolstack {
            Toolstack::Stubctl => Command::new("stubctl"),
            Toolstack::Xl => xl(),
        }
    }

    fn start(self, words: &[&str]) -> Child {
        let mut command = self.command();
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a toolstack")
    }
}

/// CPU time of a domain by Xen's accounting.
fn cpu(ctrl: &Ctrl, domid: DomId) -> f64 {
    ctrl.domain_info(domid).expect("a domain").map_or(0.0, |info| info.cpu_time.as_secs_f64())
}

/// Processes that dom0 has started since its boot.
fn forks() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("readable");
    let line = stat.lines().find_map(|line| line.strip_prefix("processes ")).expect("a line");
    line.trim().parse().expect("a number")
}

/// Memory of all processes of dom0, pages that several share counted once, in MiB.
fn processes() -> f64 {
    let pids = names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let kib: f64 = pids
        .filter_map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        })
        .sum();
    kib / 1024.0
}

fn free_mib(ctrl: &Ctrl) -> f64 {
    let memory = ctrl.phys_info().expect("Xen's memory");
    let pages = u32::try_from(memory.free_pages + memory.scrub_pages).expect("a small machine");
    f64::from(pages) / 256.0
}

/// Starts and ends so many guests at once.
fn measure(ctrl: &Ctrl, clocks: &Clocks, way: Way, count: usize) -> Sample {
    let guests: Vec<Guest> = (0..count).map(|_| way.guest()).collect();
    let configs: Vec<String> = guests.iter().map(|guest| guest.config().display().to_string()).collect();
    let mut sample = Sample::default();
    let (cpu_before, forks_before, processes_before, free_before) =
        (cpu(ctrl, DomId::DOM0), forks(), processes(), free_mib(ctrl));
    let began = Instant::now();
    let children: Vec<Child> = configs.iter().map(|config| way.start(&["create", config])).collect();
    for mut child in children {
        assert!(child.wait().expect("its end").success(), "{} failed", way.what);
    }
    sample.create = began.elapsed().as_secs_f64();
    sample.dom0_cpu = cpu(ctrl, DomId::DOM0) - cpu_before;
    sample.forks = forks() - forks_before;
    let domains = ctrl.domains().expect("the list of domains");
    let stubdoms = domains.iter().filter(|info| info.domid != DomId::DOM0 && info.kind == DomainKind::Pv);
    sample.stubdom_cpu = stubdoms.map(|info| info.cpu_time.as_secs_f64()).sum();
    let spoken: Vec<Duration> = guests
        .iter()
        .map(|guest| wait_for("the guest's word", || clocks.since(began, &guest.word)))
        .collect();
    sample.first_output = spoken.iter().max().map_or(0.0, Duration::as_secs_f64);
    sample.processes_mib = processes() - processes_before;
    sample.xen_mib = free_before - free_mib(ctrl);
    let cpu_before = cpu(ctrl, DomId::DOM0);
    let began = Instant::now();
    let children: Vec<Child> = guests.iter().map(|guest| way.start(&["destroy", &guest.name])).collect();
    for mut child in children {
        assert!(child.wait().expect("its end").success(), "{} left a guest", way.what);
    }
    sample.destroy = began.elapsed().as_secs_f64();
    sample.destroy_cpu = cpu(ctrl, DomId::DOM0) - cpu_before;
    // Upstream's processes end a moment after their guest.
    wait_for("an empty host", || (ctrl.domains().expect("domains").len() == 1).then_some(()));
    sample
}

/// A column of the table: its title and a sample's value.
type Column = (&'static str, fn(&Sample) -> f64);

const COLUMNS: [Column; 9] = [
    ("create, s", |sample| sample.create),
    ("to the guest's first output, s", |sample| sample.first_output),
    ("dom0's CPU, s", |sample| sample.dom0_cpu),
    ("stubdoms' CPU, s", |sample| sample.stubdom_cpu),
    ("forks", |sample| sample.forks),
    ("processes left in dom0, MiB", |sample| sample.processes_mib),
    ("memory of Xen, MiB", |sample| sample.xen_mib),
    ("destroy, s", |sample| sample.destroy),
    ("dom0's CPU for destroy, s", |sample| sample.destroy_cpu),
];

fn rows(ours: &[Sample], theirs: &[Sample], names: [&str; 2]) -> Vec<Vec<String>> {
    let cells = |name: &str, samples: &[Sample]| {
        let values = COLUMNS.iter().map(|(_, value)| median(&samples.iter().map(value).collect::<Vec<_>>()));
        std::iter::once(name.to_owned()).chain(values.map(|value| format!("{value:.2}"))).collect()
    };
    let ratios = COLUMNS.iter().map(|(_, value)| format!("{:.2}", ratio(ours, theirs, *value)));
    let ratios = std::iter::once("ratio".to_owned()).chain(ratios).collect();
    vec![cells(names[0], ours), cells(names[1], theirs), ratios]
}

/// The median of the ratios of runs that followed each other.
fn ratio(ours: &[Sample], theirs: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let ratios: Vec<f64> =
        ours.iter().zip(theirs).map(|(ours, theirs)| value(ours) / value(theirs)).collect();
    median(&ratios)
}

fn main() {
    let ctrl = Ctrl::open().expect("a dom0");
    let clocks = Clocks::compare();
    let mut report = Report::new("Start and end of guests, stubctl against xl");
    let columns: Vec<&str> =
        std::iter::once("toolstack").chain(COLUMNS.iter().map(|(title, _)| *title)).collect();
    let mut missed = Vec::new();
    let count: usize = std::env::var("AT_ONCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for (title, ours, theirs, most) in PAIRS {
        // The first of each warms dom0's page cache, for both alike.
        for way in [ours, theirs] {
            measure(&ctrl, &clocks, way, count);
        }
        let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds(5) {
            of_ours.push(measure(&ctrl, &clocks, ours, count));
            of_theirs.push(measure(&ctrl, &clocks, theirs, count));
            let (ours, theirs) = (of_ours.last(), of_theirs.last());
            println!("{title}: {ours:?} against {theirs:?}");
        }
        let title = if count == 1 { title.to_owned() } else { format!("{title}, {count} at once") };
        report.table(&title, &columns, &rows(&of_ours, &of_theirs, [ours.what, theirs.what]));
        for (what, value, most) in [
            ("create", (|sample| sample.create) as fn(&Sample) -> f64, most),
            ("dom0's CPU of create", |sample| sample.dom0_cpu, 0.10),
            ("destroy", |sample| sample.destroy, 0.25),
        ] {
            let ratio = ratio(&of_ours, &of_theirs, value);
            let verdict = if ratio <= most { "reached" } else { "MISSED" };
            report.note(format!("{title}: {what}: {ratio:.3} of xl's, at most {most:.2}: {verdict}."));
            if ratio > most {
                missed.push(format!("{title}: {what}"));
            }
        }
    }
    report.note("Medians; ratios are medians of the ratios of runs that followed each other. CPU is Xen's own accounting.");
    report.publish();
    stubctl::stubctl(&["list"]);
    assert!(missed.is_empty(), "missed: {missed:?}");
}
