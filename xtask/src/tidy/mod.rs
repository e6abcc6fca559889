// SPDX-License-Identifier: GPL-3.0-only
//! What a change must pass beside its tests: formatting, lints, documentation, and the house rules that no lint knows.
//!
//! `text` looks at one source file, `paths` at its string literals, `layers` at the crates, `supply` at those of others,
//! `shell` at scripts, `prose` at what people read.

mod layers;
mod paths;
mod prose;
mod shell;
mod supply;
mod text;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::lab::Xen;
use crate::{build, packages, tools, workspace};

/// What breaks a house rule, as `file: what`.
type Fault = String;

pub(crate) fn run() -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD, packages::SHELL])?;
    let xen = Xen::default();
    phase("cargo fmt", || command(build::cargo(xen)?.args(["fmt", "--all", "--check"])))?;
    phase("house rules", || {
        let faults = house_rules()?;
        if faults.is_empty() { Ok(()) } else { bail!("\n  {}", faults.join("\n  ")) }
    })?;
    let workspace = ["--quiet", "--workspace", "--features", "stub-tests/dom0"];
    phase("cargo clippy", || {
        let deny = ["--all-targets", "--", "--deny", "warnings"];
        command(build::cargo(xen)?.arg("clippy").args(workspace).args(deny))
    })?;
    phase("cargo doc", || {
        // As users see it, where a link to a private item leads nowhere; then with private items, whose links rot unseen.
        for private in [&[][..], &["--document-private-items"]] {
            let mut doc = build::cargo(xen)?;
            doc.env("RUSTDOCFLAGS", "--deny warnings")
                .arg("doc")
                .args(workspace)
                .arg("--no-deps")
                .args(private);
            command(&mut doc)?;
        }
        Ok(())
    })?;
    match tools::find(&tools::CARGO_DENY) {
        Some(deny) => phase("cargo deny", || supply::cargo_deny(&deny))?,
        None => println!("== cargo deny is left out: `cargo xtask deny` installs it once"),
    }
    println!("tidy");
    Ok(ExitCode::SUCCESS)
}

/// Runs the real cargo-deny, which is installed first if it is not there.
pub(crate) fn deny() -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD])?;
    supply::cargo_deny(&tools::ensure(&tools::CARGO_DENY)?)?;
    Ok(ExitCode::SUCCESS)
}

fn phase(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let started = Instant::now();
    check().with_context(|| name.to_owned())?;
    println!("   ok ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

fn command(command: &mut Command) -> Result<()> {
    if !command.status().context("cannot run cargo")?.success() {
        bail!("it found something");
    }
    Ok(())
}

fn house_rules() -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for file in tracked(&["*.rs"])? {
        let text = read(&file)?;
        faults.extend(text::faults(&file, &text));
        faults.extend(paths::faults(&file, &text));
    }
    for file in tracked(&["*.sh", ".ci/run"])? {
        faults.extend(shell::faults(&file, &read(&file)?));
    }
    faults.extend(shell::shellcheck(&tracked(&["*.sh", ".ci/run"])?)?);
    let metadata = metadata()?;
    faults.extend(layers::faults(&metadata, read)?);
    faults.extend(supply::faults(&metadata, &read("deny.toml")?)?);
    faults.extend(supply::toolchain(&read("rust-toolchain.toml")?, env!("CARGO_PKG_RUST_VERSION"))?);
    faults.extend(prose::faults(&prose::Pages::of_workspace()?));
    Ok(faults)
}

fn metadata() -> Result<Metadata> {
    let platform = ["--locked", "--filter-platform", build::TARGET].map(str::to_owned);
    MetadataCommand::new()
        .current_dir(workspace())
        .other_options(platform)
        .exec()
        .context("cargo metadata: is Cargo.lock up to date?")
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(workspace().join(file)).with_context(|| format!("cannot read {file}"))
}

/// The files that git knows, and those that it would take if they were added.
fn tracked(patterns: &[&str]) -> Result<Vec<String>> {
    let out = Command::new("git")
        .current_dir(workspace())
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .args(patterns)
        .output()
        .context("cannot run git")?;
    if !out.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let files = String::from_utf8(out.stdout)?;
    Ok(files.lines().filter(|file| workspace().join(file).exists()).map(str::to_owned).collect())
}
