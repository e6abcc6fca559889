// SPDX-License-Identifier: GPL-3.0-only
//! Measurements in one dom0, ours against upstream's: each is a program of `tests/bench/`, and its report a table.

mod bars;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::image::{self, Which};
use crate::lab::{Lab, quoted};
use crate::{build, guest, packages};

/// How a program of `tests/bench/` starts the line that is its report.
const REPORT: &str = "bench-report: ";

/// Seconds that one may take.
const DEADLINE: u64 = 14_400;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Faults of host and stubdomain: how soon a create ends, whether it names the cause, what it leaves
    Faults,
    /// Images: CPU and wall time of their boot by kernel and format, against a shell as PID 1; the smallest memory
    Image,
    /// Starts and ends of guests: wall time, CPU, calls, memory; alone, and many at once
    Start,
    /// What of it has a goal, and no more: fails when one is missed
    Gate,
}

/// The parts of [`Bench::Start`] that have goals.
const GATE: &str = "same,best,at-once-10,processes,many";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which measurement
    #[arg(value_enum)]
    bench: Bench,
    #[command(flatten)]
    which: Which,
    /// Memory of the emulated machine; dom0 has 1 GiB of it, and what many guests need is the default
    #[arg(long)]
    mem: Option<String>,
    /// How often each thing is measured
    #[arg(long)]
    rounds: Option<u32>,
    /// Only these parts of the measurement, with commas between, if it has several
    #[arg(long)]
    only: Option<String>,
}

impl Bench {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The program of `tests/bench/` that measures it.
    fn program(self) -> String {
        if self == Self::Gate { Self::Start.name() } else { self.name() }
    }

    fn memory(self) -> &'static str {
        match self {
            Self::Faults | Self::Image => "4G",
            Self::Start | Self::Gate => "8G",
        }
    }

    /// What it needs in dom0 beside the image of the lab, by the names its program knows.
    fn needs(self, which: Which) -> Result<Vec<(String, PathBuf)>> {
        let images = match self {
            Self::Faults => vec![("image-ramdisk".to_owned(), which.as_ramdisk())],
            Self::Image => {
                which.of_every_kind().map(|(kind, which)| (format!("image-{kind}"), which)).collect()
            }
            Self::Start | Self::Gate => vec![
                ("image-ramdisk".to_owned(), which.as_ramdisk()),
                ("image-minimal-ramdisk".to_owned(), which.as_minimal().as_ramdisk()),
                ("image-minimal".to_owned(), which.as_minimal()),
            ],
        };
        let images = images.into_iter().map(|(name, which)| Ok((name, image::ensure(which)?)));
        let mut needs: Vec<_> = images.collect::<Result<_>>()?;
        if self == Self::Image {
            needs.push(("guest.img".to_owned(), guest::linux_disk(which.xen)?));
        }
        Ok(needs)
    }
}

/// The chore.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD, packages::LAB, packages::IMAGE])?;
    let (name, program, xen) = (args.bench.name(), args.bench.program(), args.which.xen);
    let built = build::benches(xen, &program)?;
    let program = built.first().with_context(|| format!("there is no bench {program} in tests/bench"))?;
    let memory = args.mem.as_deref().unwrap_or(args.bench.memory());
    let mut lab = Lab::new(&format!("bench-{name}"), xen, memory, DEADLINE);
    lab.install(&build::release(xen)?, &image::ensure(args.which)?);
    lab.put_as(&program.path, "bench");
    for (name, path) in args.bench.needs(args.which)? {
        lab.put_as(&path, &name);
    }
    let setting =
        |name: &str, value: Option<u32>| value.map(|value| format!("{name}={value} ")).unwrap_or_default();
    let mut settings = setting("ROUNDS", args.rounds);
    let only = args.only.as_deref().or((args.bench == Bench::Gate).then_some(GATE));
    if let Some(only) = only {
        settings += &format!("ONLY={} ", quoted(only));
    }
    let mut reported = None;
    let script = format!("{settings}/lab/put/bench {}", quoted(&name));
    let status = lab.run(&script, |line| match line.strip_prefix(REPORT) {
        Some(report) => reported = Some(report.to_owned()),
        None => println!("{line}"),
    })?;
    let report = reported.with_context(|| format!("the bench {name} gave no report (status {status})"))?;
    report::publish(&name, args.which, &report)?;
    if status != 0 {
        bail!("the bench {name} missed a goal");
    }
    Ok(ExitCode::SUCCESS)
}
