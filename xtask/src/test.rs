// SPDX-License-Identifier: GPL-3.0-only
//! The three test rings: pure Rust, the FFI with broken handles, and a real dom0.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::lab::{Lab, Xen};
use crate::{build, image, packages};

/// What runs the test binaries in dom0.
const RUNNER: &str = include_str!("lab/run-tests.sh");

/// Seconds that the dom0 ring may take.
const DEADLINE: u64 = 2400;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// Anywhere: pure functions, parsers, sweeps over the host in memory
    Unit,
    /// Where libxen-dev is: layouts, broken handles
    Ffi,
    /// In the lab: a real Xen
    Dom0,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this ring
    #[arg(long, value_enum)]
    ring: Option<Ring>,
    /// The Xen release
    #[arg(long, value_enum, default_value_t)]
    xen: Xen,
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD])?;
    let filter = args.filter.as_deref().unwrap_or_default();
    for ring in Ring::value_variants().iter().filter(|ring| args.ring.is_none_or(|only| only == **ring)) {
        println!(
            "== ring {}",
            ring.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        );
        match ring {
            Ring::Unit => cargo_test(args.xen, &["--workspace", "--exclude", "xen-sys"], filter)?,
            Ring::Ffi => cargo_test(args.xen, &["--package", "xen-sys"], filter)?,
            Ring::Dom0 => dom0(args.xen, filter)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo_test(xen: Xen, packages: &[&str], filter: &str) -> Result<()> {
    let status = build::cargo(xen).arg("test").args(packages).arg("--").arg(filter).status()?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

fn dom0(xen: Xen, filter: &str) -> Result<()> {
    packages::ensure(&[packages::LAB])?;
    let mut lab = Lab::new("test", xen, "4G", DEADLINE);
    let mut programs = build::release(xen)?;
    programs.extend(build::examples(xen)?);
    lab.install(&programs, &image::ensure(xen)?);
    let dir = tempfile::tempdir()?;
    let mut binaries = build::tests(
        xen,
        "build the dom0 ring",
        &["--release", "--package", "stub-tests", "--test", "dom0", "--features", "dom0"],
    )?;
    binaries.extend(build::tests(
        xen,
        "build the ffi ring",
        &["--release", "--package", "xen-sys", "--test", "*"],
    )?);
    for binary in &binaries {
        // Debug information would only make the lab's disk larger.
        let to = dir.path().join(&binary.name);
        let out = Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(&binary.path).output();
        if !out.is_ok_and(|out| out.status.success()) {
            fs::copy(&binary.path, &to).with_context(|| format!("cannot copy {}", binary.path.display()))?;
        }
    }
    lab.put_as(dir.path(), "tests");
    let status = lab.run(&format!("FILTER='{filter}'\n{RUNNER}"), |line| println!("{line}"))?;
    if status != 0 {
        bail!("tests of the dom0 ring failed; its logs are in {}", lab.logs().display());
    }
    Ok(())
}
