// SPDX-License-Identifier: GPL-3.0-only
//! What cargo builds for the lab: release binaries, static programs, test binaries.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::foreign::{self, Foreign};
use crate::lab::Xen;
use crate::{packages, step, workspace};

/// The only target: the stubdomain and the lab are x86-64.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// One target directory per Xen release: xenctrl-sys does not notice that headers changed.
pub(crate) fn target_dir(xen: Xen) -> PathBuf {
    workspace().join(format!("target/xen-{}", xen.release()))
}

/// A cargo command over the members that need Xen's headers, which may be those of another Debian.
pub(crate) fn cargo(xen: Xen) -> Result<Command> {
    let mut cargo = if foreign::is_native(xen)? { bare_cargo() } else { Foreign::ensure(xen)?.cargo()? };
    cargo.env("CARGO_TARGET_DIR", target_dir(xen));
    Ok(cargo)
}

/// A program that was built for `xen`, to be run on this machine; it lacks only its arguments.
pub(crate) fn program(xen: Xen, path: &Path) -> Result<Command> {
    Ok(if foreign::is_native(xen)? { Command::new(path) } else { Foreign::ensure(xen)?.command(path) })
}

/// A cargo command for the rest.
pub(crate) fn bare_cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Builds the release binaries that dom0 gets in its PATH.
pub(crate) fn release(xen: Xen) -> Result<Vec<PathBuf>> {
    packages::ensure(&[packages::BUILD])?;
    step::quiet("build stubctl", cargo(xen)?.args(["build", "--release", "--package", "stubctl"]))?;
    Ok(vec![target_dir(xen).join("release/stubctl")])
}

/// Builds the library's examples.
pub(crate) fn examples(xen: Xen) -> Result<Vec<PathBuf>> {
    packages::ensure(&[packages::BUILD])?;
    let arguments = ["build", "--release", "--package", "libstub", "--examples"];
    step::quiet("build the library's examples", cargo(xen)?.args(arguments))?;
    Ok(vec![target_dir(xen).join("release/examples/three_pairs")])
}

/// Builds the image builder for this machine.
pub(crate) fn stub_image() -> Result<PathBuf> {
    packages::ensure(&[packages::BUILD])?;
    step::quiet("build stub-image", bare_cargo().args(["build", "--release", "--package", "stub-image"]))?;
    Ok(workspace().join("target/release/stub-image"))
}

/// The static programs: PID 1 of the stubdomain and PID 1 of the Linux guest.
pub(crate) struct Inits {
    pub(crate) stubdom: PathBuf,
    pub(crate) guest: PathBuf,
}

/// Builds the static programs.
pub(crate) fn inits() -> Result<Inits> {
    packages::ensure(&[packages::BUILD])?;
    let target = workspace().join("target/static");
    step::quiet(
        "build the static inits",
        bare_cargo().env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-C target-feature=+crt-static").args(
            [
                "build",
                "--profile",
                "init",
                "--target",
                TARGET,
                "--package",
                "stub-init",
                "--package",
                "guest-init",
            ],
        ),
    )?;
    let dir = target.join(TARGET).join("init");
    Ok(Inits { stubdom: dir.join("stub-init"), guest: dir.join("guest-init") })
}

/// A test binary that cargo built.
pub(crate) struct TestBinary {
    /// The name of its target: `lifecycle`, or a crate's name for its unit tests.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Builds test binaries, chosen by cargo's own arguments, and says where they are.
pub(crate) fn tests(xen: Xen, name: &str, args: &[&str]) -> Result<Vec<TestBinary>> {
    packages::ensure(&[packages::BUILD])?;
    built(xen, name, &[&["test", "--no-run"], args].concat(), |message| message["profile"]["test"] == true)
}

/// The programs that a cargo command built.
fn built(
    xen: Xen,
    name: &str,
    args: &[&str],
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> Result<Vec<TestBinary>> {
    let out = step::output(name, cargo(xen)?.args(args).arg("--message-format=json-render-diagnostics"))?;
    let mut binaries = Vec::new();
    for message in out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let executable = message["executable"].as_str();
        if let (Some("compiler-artifact"), Some(path)) = (message["reason"].as_str(), executable)
            && wanted(&message)
        {
            let name = message["target"]["name"].as_str().context("a target without a name")?.to_owned();
            binaries.push(TestBinary { name, path: PathBuf::from(path) });
        }
    }
    binaries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(binaries)
}

/// Builds a program of `tests/bench/`, and says where it is.
pub(crate) fn benches(xen: Xen, name: &str) -> Result<Vec<TestBinary>> {
    packages::ensure(&[packages::BUILD])?;
    let args = ["build", "--release", "--package", "stub-tests", "--features", "dom0", "--bench", name];
    built(xen, &format!("build the bench {name}"), &args, |message| message["target"]["kind"][0] == "bench")
}

/// Bytes of a file, for keys of what is made from it.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
