// SPDX-License-Identifier: GPL-3.0-only
//! The dom0 lab: a real Xen with a real Linux dom0, booted in QEMU's software emulation.
//!
//! `root` makes dom0's root filesystem (cached), `boot` boots it once and runs a script there.

mod boot;
mod root;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

pub(crate) use boot::{LIMIT, Lab};
pub(crate) use root::Root;

use crate::{build, image, packages};

/// The Xen releases that the lab boots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Xen {
    /// Debian 12
    #[default]
    #[value(name = "4.17")]
    V4_17,
}

impl Xen {
    /// As in `/usr/lib/xen-<release>`.
    pub(crate) fn release(self) -> &'static str {
        match self {
            Self::V4_17 => "4.17",
        }
    }

    fn debian(self) -> &'static str {
        match self {
            Self::V4_17 => "bookworm",
        }
    }
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Boot a fresh dom0, run SCRIPT there as root, end with its status
    Run(Run),
}

#[derive(clap::Args)]
pub(crate) struct Run {
    /// The Xen release
    #[arg(long, value_enum, default_value_t)]
    xen: Xen,
    /// Memory of the emulated machine; dom0 has 1 GiB of it
    #[arg(long, default_value = "4G")]
    mem: String,
    /// Copy PATH into dom0, as /lab/put/<its name>
    #[arg(long, value_name = "PATH")]
    put: Vec<PathBuf>,
    /// Seconds after which the script is ended
    #[arg(long, default_value_t = LIMIT)]
    deadline: u64,
    /// A script for /bin/sh in dom0
    script: PathBuf,
}

pub(crate) fn command(command: &Command) -> Result<ExitCode> {
    let Command::Run(run) = command;
    packages::ensure(&[packages::BUILD, packages::LAB, packages::IMAGE])?;
    let script = std::fs::read_to_string(&run.script)
        .map_err(|error| anyhow::anyhow!("cannot read the script {}: {error}", run.script.display()))?;
    let mut lab = Lab::new("run", run.xen, &run.mem, run.deadline);
    lab.install(&build::release(run.xen)?, &image::ensure(run.xen)?);
    for path in &run.put {
        lab.put(path)?;
    }
    let status = lab.run(&script, |line| println!("{line}"))?;
    Ok(ExitCode::from(status))
}
