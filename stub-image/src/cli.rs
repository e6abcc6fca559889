// SPDX-License-Identifier: GPL-3.0-only
//! The commands of the image builder, for `stub-image` and for `stubctl image`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use crate::image::{Build, only_release};
use crate::ramdisk::{self, Ramdisk, Wanted};
use crate::{Root, Tree, tree::Node};

/// What to build.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds an image directory: kernel, ramdisk, root filesystem and manifest.
    Build {
        /// A distribution's root directory that has QEMU for Xen and a kernel.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// PID 1 of the stubdomain, linked statically.
        #[arg(long, value_name = "FILE")]
        init: PathBuf,
        /// The image directory, which is replaced.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The kernel to take if the root has several.
        #[arg(long, value_name = "RELEASE")]
        kernel_release: Option<String>,
    },
    /// Builds a ramdisk of a PID 1 and kernel modules.
    Ramdisk {
        /// A distribution's root directory that has the kernel's modules.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// PID 1, linked statically.
        #[arg(long, value_name = "FILE")]
        init: PathBuf,
        /// A module to load, with its parameters; what it needs is added.
        #[arg(long = "module", value_name = "NAME [PARAMETER=VALUE…]")]
        modules: Vec<Wanted>,
        /// Another file, and its absolute path in the ramdisk.
        #[arg(long = "file", value_name = "SRC=DEST", value_parser = source_and_destination)]
        files: Vec<(PathBuf, PathBuf)>,
        /// The ramdisk.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The kernel whose modules to take if the root has several.
        #[arg(long, value_name = "RELEASE")]
        kernel_release: Option<String>,
    },
}

fn source_and_destination(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (source, destination) = text.rsplit_once('=').ok_or("expected SRC=DEST")?;
    Ok((source.into(), destination.into()))
}

/// Runs a command, and prints a line about what it built.
///
/// # Errors
/// When nothing was built; the error has the whole chain of causes.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Build { root, init, out, kernel_release } => {
            let build = Build { root, init, out, kernel_release };
            let manifest = build.run().with_context(|| format!("no image in {}", build.out.display()))?;
            println!(
                "{}: Xen {}, QEMU {}, kernel {}, {} files",
                build.out.display(),
                manifest.xen,
                manifest.qemu,
                manifest.kernel,
                manifest.contents.len(),
            );
        }
        Command::Ramdisk { root, init, modules, files, out, kernel_release } => {
            let root = Root::new(root);
            let release = match kernel_release {
                Some(release) => release,
                None => only_release(&root)?,
            };
            let tree = Ramdisk { init, modules, files }.tree(&root, &release)?;
            let packed = ramdisk::pack(&tree)?;
            fs::write(&out, &packed).with_context(|| format!("writing {} failed", out.display()))?;
            let sizes = format!("{} bytes packed, {} unpacked", packed.len(), unpacked(&tree));
            println!("{}: kernel {release}, {sizes}", out.display());
        }
    }
    Ok(())
}

fn unpacked(tree: &Tree) -> usize {
    let size = |(_, node): (_, &Node)| if let Node::File(bytes, _) = node { bytes.len() } else { 0 };
    tree.nodes().map(size).sum()
}
