// SPDX-License-Identifier: GPL-3.0-only
//! One start and end of some guests at once, measured.

use std::process::Child;
use std::time::{Duration, Instant};

use stub_tests::guest::Guest;
use stub_tests::report::{Report, median};
use stub_tests::stamps::Clocks;
use stub_tests::wait_for;
use xen_sys::{Ctrl, DomId, DomainKind};

use crate::dom0::Reading;
use crate::way::{Comparison, Way};

/// What it took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    create: f64,
    first_output: f64,
    dom0_cpu: f64,
    stubdom_cpu: f64,
    hypercalls: f64,
    store_requests: f64,
    forks: f64,
    processes_mib: f64,
    kernel_mib: f64,
    xen_mib: f64,
    destroy: f64,
    destroy_cpu: f64,
}

/// A column of the table: its title and a sample's value.
type Column = (&'static str, fn(&Sample) -> f64);

const CREATE: Column = ("create, s", |sample| sample.create);
const DOM0_CPU: Column = ("dom0's CPU, s", |sample| sample.dom0_cpu);
const DESTROY: Column = ("destroy, s", |sample| sample.destroy);
const COLUMNS: [Column; 12] = [
    CREATE,
    ("to the guest's first output, s", |sample| sample.first_output),
    DOM0_CPU,
    ("stubdoms' CPU, s", |sample| sample.stubdom_cpu),
    ("calls into Xen", |sample| sample.hypercalls),
    ("requests to xenstored", |sample| sample.store_requests),
    ("forks", |sample| sample.forks),
    ("processes left in dom0, MiB", |sample| sample.processes_mib),
    ("dom0's kernel, MiB", |sample| sample.kernel_mib),
    ("memory of Xen, MiB", |sample| sample.xen_mib),
    DESTROY,
    ("dom0's CPU for destroy, s", |sample| sample.destroy_cpu),
];

/// The most that ours may take of upstream's.
const GOALS: [(&str, Column, f64); 2] =
    [("dom0's CPU of create", DOM0_CPU, 0.10), ("destroy", DESTROY, 0.25)];

/// Runs the same command for all guests at once; gives the seconds until the last one's end.
fn all(way: Way, verb: &str, words: &[String]) -> f64 {
    let began = Instant::now();
    let children: Vec<Child> = words.iter().map(|word| way.start(&[verb, word])).collect();
    for mut child in children {
        assert!(child.wait().expect("its end").success(), "{}: {verb} failed", way.what);
    }
    began.elapsed().as_secs_f64()
}

/// Starts and ends so many guests at once.
pub(crate) fn measure(ctrl: &Ctrl, clocks: &Clocks, way: Way, count: usize) -> Sample {
    let guests: Vec<Guest> = (0..count).map(|_| way.guest()).collect();
    let configs: Vec<String> = guests.iter().map(|guest| guest.config().display().to_string()).collect();
    let names: Vec<String> = guests.iter().map(|guest| guest.name.clone()).collect();
    let before = Reading::take(ctrl);
    let began = Instant::now();
    let create = all(way, "create", &configs);
    let created = Reading::take(ctrl);
    let domains = ctrl.domains().expect("the list of domains");
    let stubdoms = domains.iter().filter(|info| info.domid != DomId::DOM0 && info.kind == DomainKind::Pv);
    let stubdom_cpu = stubdoms.map(|info| info.cpu_time.as_secs_f64()).sum();
    let spoken = guests.iter().map(|guest| wait_for("the guest's word", || clocks.since(began, &guest.word)));
    let first_output = spoken.max().map_or(0.0, |at: Duration| at.as_secs_f64());
    let running = Reading::take(ctrl);
    let destroy = all(way, "destroy", &names);
    let destroyed = Reading::take(ctrl);
    // Upstream's processes end a moment after their guest.
    wait_for("an empty host", || (ctrl.domains().expect("domains").len() == 1).then_some(()));
    Sample {
        create,
        first_output,
        dom0_cpu: created.cpu - before.cpu,
        stubdom_cpu,
        hypercalls: created.hypercalls - before.hypercalls,
        store_requests: created.store_requests - before.store_requests,
        forks: created.forks - before.forks,
        processes_mib: running.processes - before.processes,
        kernel_mib: running.kernel - before.kernel,
        xen_mib: before.free - running.free,
        destroy,
        destroy_cpu: destroyed.cpu - running.cpu,
    }
}

/// The median of the ratios of runs that followed each other.
fn ratio(ours: &[Sample], theirs: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let ratios: Vec<f64> =
        ours.iter().zip(theirs).map(|(ours, theirs)| value(ours) / value(theirs)).collect();
    median(&ratios)
}

/// Measures ours and theirs in turns, so many guests at once, and reports on both.
pub(crate) fn compare(
    (ctrl, clocks): (&Ctrl, &Clocks),
    comparison: &Comparison,
    (count, rounds): (usize, usize),
    report: &mut Report,
) {
    let Comparison { title, ours, theirs, most } = comparison;
    let title = if count == 1 { (*title).to_owned() } else { format!("{title}, {count} at once") };
    println!("== {title}");
    // The first of each warms dom0's page cache, for both alike.
    for way in [*ours, *theirs] {
        measure(ctrl, clocks, way, 1);
    }
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (way, samples) in [(*ours, &mut of_ours), (*theirs, &mut of_theirs)] {
            let sample = measure(ctrl, clocks, way, count);
            println!("{}: {sample:?}", way.what);
            samples.push(sample);
        }
    }
    let columns: Vec<&str> = std::iter::once("way").chain(COLUMNS.iter().map(|(title, _)| *title)).collect();
    let cells = |name: &str, value: &dyn Fn(fn(&Sample) -> f64) -> f64| {
        let values = COLUMNS.iter().map(|(_, column)| format!("{:.2}", value(*column)));
        std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>()
    };
    let medians = |samples: &[Sample], value: fn(&Sample) -> f64| {
        median(&samples.iter().map(value).collect::<Vec<_>>())
    };
    let rows = [
        cells(ours.what, &|value| medians(&of_ours, value)),
        cells(theirs.what, &|value| medians(&of_theirs, value)),
        cells("ratio", &|value| ratio(&of_ours, &of_theirs, value)),
    ];
    report.table(&title, &columns, &rows);
    let bars = [(*ours, &of_ours), (*theirs, &of_theirs)];
    let bars = bars.map(|(way, samples)| (way.what.to_owned(), medians(samples, CREATE.1)));
    report.bars(&format!("{title}: {}", CREATE.0), &bars);
    report.goal(&format!("{title}: create, wall"), ratio(&of_ours, &of_theirs, CREATE.1), *most);
    for (what, (_, value), most) in GOALS {
        report.goal(&format!("{title}: {what}"), ratio(&of_ours, &of_theirs, value), most);
    }
}
