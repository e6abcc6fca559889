// SPDX-License-Identifier: GPL-3.0-only
//! The commands of the image builder, for `stub-image` and for `stubctl image`.

mod build;
mod diff;
mod inspect;
mod list;
mod verify;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use crate::Root;
use crate::kernel::only_release;
use crate::ramdisk::{self, Packing, Ramdisk, Wanted};

/// What to build.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds an image directory: kernel, ramdisk, root filesystem and manifest.
    Build(Box<build::Arguments>),
    /// Shows what an image is and holds.
    Inspect {
        /// The image directory.
        #[arg(value_name = "DIR")]
        image: PathBuf,
        /// Prints the manifest.
        #[arg(long)]
        json: bool,
    },
    /// Shows what differs between two images.
    Diff {
        /// An image directory.
        #[arg(value_name = "A")]
        left: PathBuf,
        /// Another.
        #[arg(value_name = "B")]
        right: PathBuf,
        /// Prints the differences as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Checks the files of an image against the digests in its manifest.
    Verify {
        /// The image directory.
        #[arg(value_name = "DIR")]
        image: PathBuf,
    },
    /// Shows the images at the well-known places, and which of them a create takes.
    List {
        /// The Xen release to choose for, if not this host's.
        #[arg(long, value_name = "RELEASE")]
        xen: Option<String>,
        /// Another directory in place of `/`.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Prints the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists what programs need, and who needs it, without building anything.
    Closure(Box<build::Collect>),
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
        Command::Build(arguments) => arguments.run()?,
        Command::Closure(collect) => print(&collect.run()?)?,
        Command::Inspect { image, json } => print(&inspect::show(&image, json)?)?,
        Command::Diff { left, right, json } => print(&diff::show(&left, &right, json)?)?,
        Command::Verify { image } => println!("{}", verify::check(&image)?),
        Command::List { xen, root, json } => print(&list::show(&root, xen.as_deref(), json)?)?,
        Command::Ramdisk { root, init, modules, files, out, kernel_release } => {
            let root = Root::new(root);
            let release = match kernel_release {
                Some(release) => release,
                None => only_release(&root)?,
            };
            let tree = Ramdisk { init, modules, files, rootfs: None }.tree(&root, &release)?;
            let packed = ramdisk::pack(&tree, Packing::Gzip)?;
            fs::write(&out, &packed).with_context(|| format!("writing {} failed", out.display()))?;
            let sizes = format!("{} bytes packed, {} unpacked", packed.len(), tree.size());
            println!("{}: kernel {release}, {sizes}", out.display());
        }
    }
    Ok(())
}

/// Prints what may be long; a reader such as `head` may have had enough of it.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
