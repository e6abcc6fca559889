// SPDX-License-Identifier: GPL-3.0-only
//! The three test rings: pure Rust, the FFI with broken handles, and a real dom0, where the documentation's commands run too.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::build::TestBinary;
use crate::image::{self, Which};
use crate::lab::{Lab, Root, Xen, quoted};
use crate::{build, docs, foreign, guest, packages};

/// What runs the test binaries in dom0.
const RUNNER: &str = include_str!("lab/run-tests.sh");

/// Seconds that the dom0 ring may take.
const DEADLINE: u64 = 2400;

/// The same with all points of the sweeps.
const THOROUGH_DEADLINE: u64 = 36_000;

/// The tests that need an image which is all ramdisk: for another toolstack, or to be changed.
const WITH_RAMDISK: [&str; 3] = ["foreign::", "faults::", "deaths::"];

/// The tests of a shell on the stubdomain's console.
const WITH_SHELL: [&str; 1] = ["shell::"];

/// Where a page finds the disk of a Linux guest, as the demo does.
const LINUX_DISK: &str = "/lab/put/guest.img";

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
    #[command(flatten)]
    which: Which,
    /// All points of the sweeps on a real Xen, not a choice: takes hours
    #[arg(long)]
    thorough: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD])?;
    let filter = args.filter.as_deref().unwrap_or_default();
    for ring in Ring::value_variants().iter().filter(|ring| args.ring.is_none_or(|only| only == **ring)) {
        let name = ring.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let started = Instant::now();
        println!("== ring {name}");
        match ring {
            Ring::Unit => {
                packages::ensure(&[packages::UNIT])?;
                cargo_test(args.which.xen, &["--workspace", "--exclude", "xen-sys"], filter, |cargo| {
                    // Images of the lab's own packages are compared here; a foreign root does not see them.
                    if foreign::is_native(args.which.xen)? {
                        cargo.env("STUBCTL_LAB_ROOT", Root::ensure(args.which.xen)?.tree());
                    }
                    Ok(())
                })?;
            }
            Ring::Ffi => cargo_test(args.which.xen, &["--package", "xen-sys"], filter, |_| Ok(()))?,
            Ring::Dom0 => dom0(args, filter)?,
        }
        println!("== ring {name} took {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo_test(
    xen: Xen,
    packages: &[&str],
    filter: &str,
    with: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<()> {
    let mut cargo = build::cargo(xen)?;
    with(&mut cargo)?;
    let status = cargo.arg("test").args(packages).arg("--").arg(filter).status()?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

fn dom0(args: &Args, filter: &str) -> Result<()> {
    let (xen, asked) = (args.which.xen, args.ring.is_some());
    packages::ensure(&[packages::LAB])?;
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
    // What is not wanted is not carried into dom0; a boot for nothing takes longer than to look.
    let mut wanted = Vec::new();
    for binary in binaries {
        if has_test(xen, &binary, filter)? {
            wanted.push(binary);
        }
    }
    let binaries = wanted;
    let all = docs::pages()?;
    let pages: Vec<(&str, String)> = all
        .iter()
        .filter(|page| format!("docs::{}", page.name()).contains(filter))
        .filter_map(|page| Some((page.name(), page.script()?)))
        .collect();
    if foreign::is_native(xen)? {
        docs::check_host_commands(&all, xen)?;
    }
    if binaries.is_empty() && pages.is_empty() {
        if asked {
            bail!("no test of the dom0 ring has {filter} in its name");
        }
        println!("no test has {filter} in its name");
        return Ok(());
    }
    let mut lab = Lab::new("test", xen, "4G", if args.thorough { THOROUGH_DEADLINE } else { DEADLINE });
    lab.may_reboot();
    let mut programs = build::release(xen)?;
    programs.extend(build::examples(xen)?);
    lab.install(&programs, &image::ensure(args.which)?);
    if has_any(xen, &binaries, &WITH_RAMDISK, filter)? {
        lab.put_as(&image::ensure(args.which.as_ramdisk())?, "image-ramdisk");
    }
    if has_any(xen, &binaries, &WITH_SHELL, filter)? {
        lab.put_as(&image::ensure(args.which.with_shell())?, "image-shell");
    }
    let dir = tempfile::tempdir()?;
    put_tests(&mut lab, &dir.path().join("tests"), &binaries)?;
    put_pages(&mut lab, &dir.path().join("docs"), &pages, xen)?;
    let filter = quoted(filter);
    let thorough = if args.thorough { "export THOROUGH=1\n" } else { "" };
    let status = lab.run(&format!("{thorough}FILTER={filter}\n{RUNNER}"), |line| println!("{line}"))?;
    if status != 0 {
        bail!("tests of the dom0 ring failed; its logs are in {}", lab.logs().display());
    }
    Ok(())
}

/// Whether a wanted test of any binary is one of these.
fn has_any(xen: Xen, binaries: &[TestBinary], these: &[&str], filter: &str) -> Result<bool> {
    for binary in binaries {
        if has_tests(xen, binary, |name| {
            these.iter().any(|these| name.contains(these)) && name.contains(filter)
        })? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the binary has a wanted test; one that does not run on this machine is taken to have some.
fn has_test(xen: Xen, binary: &TestBinary, filter: &str) -> Result<bool> {
    has_tests(xen, binary, |name| name.contains(filter))
}

fn has_tests(xen: Xen, binary: &TestBinary, wanted: impl Fn(&str) -> bool) -> Result<bool> {
    let Ok(out) = build::program(xen, &binary.path)?.args(["--list", "--format", "terse"]).output() else {
        return Ok(true);
    };
    let list = String::from_utf8_lossy(&out.stdout);
    let mut names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(!out.status.success() || names.any(wanted))
}

fn put_tests(lab: &mut Lab, dir: &Path, binaries: &[TestBinary]) -> Result<()> {
    fs::create_dir(dir)?;
    for binary in binaries {
        // Debug information would only make the lab's disk larger.
        let to = dir.join(&binary.name);
        let out = Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(&binary.path).output();
        if !out.is_ok_and(|out| out.status.success()) {
            fs::copy(&binary.path, &to).with_context(|| format!("cannot copy {}", binary.path.display()))?;
        }
    }
    lab.put(dir)
}

/// Puts the pages' scripts in, with a list of them in order; and the Linux guest's disk, if a page has a use for it.
fn put_pages(lab: &mut Lab, dir: &Path, pages: &[(&str, String)], xen: Xen) -> Result<()> {
    fs::create_dir(dir)?;
    let mut list = String::new();
    for (name, script) in pages {
        let file = dir.join(format!("{name}.sh"));
        fs::create_dir_all(file.parent().unwrap_or(dir))?;
        fs::write(file, script)?;
        list.push_str(&format!("{name}\n"));
    }
    fs::write(dir.join("pages"), list)?;
    if pages.iter().any(|(_, script)| script.contains(LINUX_DISK)) {
        lab.put_as(&guest::linux_disk(xen)?, "guest.img");
    }
    lab.put(dir)
}
