// SPDX-License-Identifier: GPL-3.0-only
//! The dom0 lab: a real Xen with a real Linux dom0, booted in QEMU's software emulation.
//!
//! `root` makes dom0's root filesystem (cached), `boot` boots it once and runs a script there, `up` keeps one running for people.

mod boot;
mod disks;
mod machine;
mod qmp;
mod root;
mod ssh;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

pub(crate) use boot::{LIMIT, Lab};
pub(crate) use root::{Root, newest};
pub(crate) use ssh::quoted;

use crate::image::{self, Which};
use crate::{build, packages};

/// The Xen releases that the lab boots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Xen {
    /// Debian 12
    #[default]
    #[value(name = "4.17")]
    V4_17,
    /// Debian 13
    #[value(name = "4.20")]
    V4_20,
}

impl Xen {
    /// As in `/usr/lib/xen-<release>`.
    pub(crate) fn release(self) -> &'static str {
        match self {
            Self::V4_17 => "4.17",
            Self::V4_20 => "4.20",
        }
    }

    /// The release of Debian that has it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::V4_17 => "bookworm",
            Self::V4_20 => "trixie",
        }
    }
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Boot a fresh dom0, run SCRIPT there as root, end with its status
    Run(Run),
    /// Boot a fresh dom0 in the background, to work in
    Up(Machine),
    /// Run a command in the dom0 that is up, as root in /root, and end with its status
    ///
    /// One word is a line for dom0's shell; of several words each arrives as it is. Without a command there is a shell.
    /// Several may run at once.
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Copy files into the dom0 that is up, as /lab/put/NAME
    Put {
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Build the binaries and the image, and bring them into the dom0 that is up
    Update,
    /// Power off the dom0 that is up; its logs stay in target/lab/up/
    Down,
}

#[derive(clap::Args)]
pub(crate) struct Machine {
    #[command(flatten)]
    which: Which,
    /// Memory of the emulated machine; dom0 has 1 GiB of it
    #[arg(long, default_value = "4G")]
    mem: String,
    /// Copy PATH into dom0, as /lab/put/NAME
    #[arg(long, value_name = "PATH")]
    put: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    machine: Machine,
    /// Seconds after which the script is ended
    #[arg(long, default_value_t = LIMIT)]
    deadline: u64,
    /// A script for /bin/sh in dom0
    script: PathBuf,
}

impl Machine {
    /// A lab with the project in it.
    fn lab(&self, name: &str, deadline: u64) -> Result<Lab> {
        packages::ensure(&[packages::BUILD, packages::LAB, packages::IMAGE])?;
        let xen = self.which.xen;
        let mut lab = Lab::new(name, xen, &self.mem, deadline);
        lab.install(&build::release(xen)?, &image::ensure(self.which)?);
        for path in &self.put {
            lab.put(path)?;
        }
        Ok(lab)
    }
}

pub(crate) fn command(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Run(run) => return self::run(run),
        Command::Up(machine) => up::up(machine.which, || machine.lab("up", 0))?,
        Command::Exec { command } => ssh::exec(&up::running()?, command)?,
        Command::Put { paths } => ssh::copy(&up::running()?, paths, "/lab/put")?,
        Command::Update => up::update()?,
        Command::Down => up::down()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run(run: &Run) -> Result<ExitCode> {
    let script = std::fs::read_to_string(&run.script)
        .map_err(|error| anyhow::anyhow!("cannot read the script {}: {error}", run.script.display()))?;
    let lab = run.machine.lab("run", run.deadline)?;
    let status = lab.run(&script, |line| println!("{line}"))?;
    Ok(ExitCode::from(status))
}
