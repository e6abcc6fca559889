// SPDX-License-Identifier: GPL-3.0-only
//! `build` and `closure`: what goes into an image.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use super::inspect::{some, table};
use crate::closure::Options;
use crate::collector::Collector;
use crate::contents::Contents;
use crate::format::Format;
use crate::image::Build;
use crate::kernel::{Choice, Wanted};
use crate::tree::{Links, Node};
use crate::{ImageError, Root};

/// What `build` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A distribution's root directory that has QEMU for Xen and a kernel.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// PID 1 of the stubdomain, linked statically.
    #[arg(long, value_name = "FILE")]
    init: PathBuf,
    /// The image directory, which is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// `distro`, with a ramdisk of its modules; `minimal`, built from the root's kernel source; or a kernel's file.
    #[arg(long, value_name = "KIND|FILE", default_value = "distro")]
    kernel: Choice,
    /// The distribution's kernel to take if the root has several.
    #[arg(long, value_name = "RELEASE")]
    kernel_release: Option<String>,
    /// The source of the minimal kernel, if not the root's newest `/usr/src/linux-source-*.tar.xz`.
    #[arg(long, value_name = "ARCHIVE")]
    kernel_source: Option<PathBuf>,
    /// The form of the root filesystem.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Another program for the root filesystem, with all that it needs.
    #[arg(long = "program", value_name = "PATH")]
    programs: Vec<PathBuf>,
    /// Adds the root's shell and some tools, on the console of every stubdomain that starts from the image: for debugging.
    #[arg(long)]
    debug_shell: bool,
    #[command(flatten)]
    what: What,
}

/// What `closure` takes.
#[derive(Debug, Args)]
pub struct Collect {
    /// The root directory that has the programs.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// A program.
    #[arg(value_name = "PROGRAM")]
    programs: Vec<PathBuf>,
    #[command(flatten)]
    what: What,
    /// Prints only the paths.
    #[arg(long)]
    paths: bool,
}

/// What both take.
#[derive(Debug, Args)]
struct What {
    /// Another file of the root.
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// A library that QEMU opens at run time, by name or absolute path.
    #[arg(long = "dlopen", value_name = "LIBRARY")]
    opened: Vec<String>,
    /// A list of more: lines `program PATH`, `file PATH`, `opens LIBRARY`.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Takes libraries' variants for newer CPUs along.
    #[arg(long)]
    hwcaps: bool,
    /// Gives each file the name it is asked for by, in place of links from name to name.
    #[arg(long)]
    flatten_links: bool,
    /// Who follows the programs' needs.
    #[arg(long, value_enum, default_value_t)]
    collector: Collector,
}

impl What {
    fn contents(self, programs: Vec<PathBuf>) -> Result<Contents, ImageError> {
        let mut contents = Contents {
            programs,
            files: self.files,
            libraries: Options { opened: self.opened, hwcaps: self.hwcaps },
            links: if self.flatten_links { Links::Flatten } else { Links::Keep },
            collector: self.collector,
        };
        if let Some(list) = &self.list {
            contents.read_list(list)?;
        }
        Ok(contents)
    }
}

impl Arguments {
    /// Builds, and says what came out.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let kernel = Wanted { choice: self.kernel, release: self.kernel_release, source: self.kernel_source };
        let contents = self.what.contents(self.programs)?;
        let (root, init, out) = (self.root, self.init, self.out);
        let (format, debug_shell) = (self.format, self.debug_shell);
        let build = Build { root, init, out, kernel, format, contents, debug_shell };
        let built = build.run().with_context(|| format!("no image in {}", build.out.display()))?;
        let manifest = built.manifest;
        println!(
            "{}: Xen {}, QEMU {}, kernel {}, {} files, {:.1} s",
            build.out.display(),
            manifest.xen,
            manifest.qemu,
            manifest.kernel,
            manifest.contents.len(),
            begin.elapsed().as_secs_f64(),
        );
        if manifest.debug_shell {
            println!("DEBUG SHELL: who reaches the console of a stubdomain controls it and its guest");
        }
        if !built.absent.is_empty() {
            println!("not in the root, so devices that read them do not work: {}", built.absent.join(", "));
        }
        Ok(())
    }
}

impl Collect {
    /// Collects, and lists the files.
    pub(super) fn run(self) -> anyhow::Result<String> {
        let contents = self.what.contents(Vec::new())?;
        let tree = contents.collect(&Root::new(&self.root), &self.programs, "the command line")?;
        let rows: Vec<Vec<String>> = tree
            .nodes()
            .filter(|(_, node)| **node != Node::Dir)
            .map(|(path, node)| {
                let target =
                    if let Node::Link(target) = node { target.display().to_string() } else { String::new() };
                let by: Vec<String> = tree.needed_by(path).map(str::to_owned).collect();
                vec![path.display().to_string(), target, some(&by)]
            })
            .collect();
        if self.paths {
            return Ok(rows.into_iter().map(|row| row[0].clone() + "\n").collect());
        }
        Ok(format!("{}\n", table(&["FILE", "LINK TO", "NEEDED BY"], rows)))
    }
}
