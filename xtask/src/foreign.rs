// SPDX-License-Identifier: GPL-3.0-only
//! Building for a Xen that this machine does not have: in a root of the Debian that does, with this machine's Rust.
//!
//! The root has the compiler, the headers and the libraries, so that what is built fits the dom0 it is for, and runs in
//! the root as it does there. The workspace, the toolchain and cargo's home are mounted at their own places, in a mount
//! namespace that ends with the command: paths mean the same inside and outside, and nothing stays mounted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

use crate::lab::Xen;
use crate::{build, cache, packages, step, workspace};

/// What enters the root.
const ENTER: &str = include_str!("foreign.sh");

/// A root to build in, in the cache.
pub(crate) struct Foreign {
    root: PathBuf,
    toolchain: PathBuf,
    cargo_home: PathBuf,
}

/// Whether this machine's own libraries are of the release.
pub(crate) fn is_native(xen: Xen) -> Result<bool> {
    packages::ensure(&[packages::BUILD])?;
    let out = Command::new("pkg-config").args(["--modversion", "xencontrol"]).output();
    let version = out.context("cannot run pkg-config")?.stdout;
    Ok(String::from_utf8_lossy(&version).starts_with(&format!("{}.", xen.release())))
}

impl Foreign {
    /// Finds it, or makes it (two to three minutes).
    pub(crate) fn ensure(xen: Xen) -> Result<Self> {
        packages::ensure(&[packages::LAB])?;
        let asked = Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace()).output();
        let sysroot = String::from_utf8(asked.context("cannot run rustc")?.stdout)?;
        let toolchain = PathBuf::from(sysroot.trim());
        ensure!(
            !toolchain.starts_with("/usr"),
            "to build for Xen {} the Rust of {} would have to run in another Debian: use one of rustup's",
            xen.release(),
            toolchain.display()
        );
        let list = [packages::BUILD, packages::UNIT].concat().join(",");
        let name = format!("build-{}", xen.release());
        let dir = cache::dir(&name, &[list.as_bytes()], |dir| {
            // An archive, because a directory is made by root only.
            let tar = dir.join("root.tar");
            step::quiet(
                &format!("Debian {} to build for Xen {} in", xen.debian(), xen.release()),
                Command::new("mmdebstrap")
                    .args(["--variant=minbase", &format!("--include={list}")])
                    .arg(xen.debian())
                    .arg(&tar),
            )?;
            unpack(&tar, &dir.join("root")).context("cannot unpack the root")
        })?;
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        Ok(Self { root: dir.join("root"), toolchain, cargo_home: cargo_home.context("cargo has no home")? })
    }

    /// This machine's cargo, in the root, which needs no network: the crates are fetched here.
    pub(crate) fn cargo(&self) -> Result<Command> {
        static FETCHED: OnceLock<()> = OnceLock::new();
        if FETCHED.get().is_none() {
            step::quiet("fetch crates", build::bare_cargo().args(["fetch", "--locked"]))?;
            FETCHED.get_or_init(|| ());
        }
        let mut cargo = self.command(&self.toolchain.join("bin/cargo"));
        cargo.env("CARGO_NET_OFFLINE", "true");
        Ok(cargo)
    }

    /// A program, run in the root from the workspace's directory; it lacks only its arguments.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        if !packages::is_root() {
            command.arg("--map-root-user");
        }
        let paths = [&self.root, &self.toolchain, &self.cargo_home, &workspace()];
        command.args(["--mount", "--", "sh", "-ec", ENTER, "foreign"]).args(paths).arg(program);
        command.env("CARGO_HOME", &self.cargo_home);
        command
    }
}

fn unpack(tar: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    // Device files are this machine's, mounted.
    let mut command = Command::new("tar");
    command.arg("-C").arg(to).args(["--exclude=./dev/*", "-xf"]).arg(tar);
    step::quiet("unpack it", &mut command)?;
    Ok(std::fs::remove_file(tar)?)
}
