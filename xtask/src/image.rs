// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain image of the lab, from the lab's own packages: its QEMU must fit its Xen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::lab::{Root, Xen, newest};
use crate::{build, cache, packages, step, workspace};

/// The most bytes that the default root filesystem may have, with Debian 12's unmodified QEMU.
const ROOTFS_LIMIT: u64 = 16_000_000;
/// The most bytes that the ramdisk of Debian's kernel may have when it only leads to a root filesystem.
const RAMDISK_LIMIT: u64 = 1_000_000;

/// The most bytes that PID 1 may have.
const INIT_LIMIT: u64 = 2_000_000;

/// The kernel of a stubdomain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Kernel {
    /// Debian's for virtual machines, with a ramdisk of its modules
    #[default]
    Distro,
    /// One with only what a stubdomain needs, built from Debian's source (minutes, once)
    Minimal,
}

/// The form of a stubdomain's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A root filesystem for blkback
    #[default]
    Erofs,
    /// Another one
    Squashfs,
    /// Another one
    Ext4,
    /// A ramdisk, which is what upstream's xl can start
    Ramdisk,
}

/// The word for an image with a shell in the names of images.
const SHELL: &str = "shell";

/// Which image, and with its Xen which lab.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Which {
    /// The Xen release
    #[arg(long, value_enum, default_value_t)]
    pub(crate) xen: Xen,
    /// The stubdomain's kernel
    #[arg(long, value_enum, default_value_t)]
    kernel: Kernel,
    /// The form of its files
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// With a shell on the stubdomain's console
    #[arg(long)]
    debug_shell: bool,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// One for every Xen release and kernel
    #[arg(long, conflicts_with_all = ["xen", "kernel", "format"])]
    all: bool,
}

/// The chore.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let every = Xen::value_variants().iter().flat_map(|&xen| {
        let debug_shell = false;
        let format = Format::default();
        Kernel::value_variants().iter().map(move |&kernel| Which { xen, kernel, format, debug_shell })
    });
    let wanted = if args.all { every.collect() } else { vec![args.which] };
    for which in wanted {
        println!("{}", ensure(which)?.display());
    }
    Ok(ExitCode::SUCCESS)
}

impl Which {
    /// As directories of images are called: `4.17`, or `4.17-minimal-ramdisk`; what is the default is not named.
    pub(crate) fn name(self) -> String {
        let mut name = self.xen.release().to_owned();
        if self.kernel != Kernel::default() {
            name.push_str(&format!("-{}", word(self.kernel)));
        }
        if self.format != Format::default() {
            name.push_str(&format!("-{}", word(self.format)));
        }
        if self.debug_shell {
            name.push_str(&format!("-{SHELL}"));
        }
        name
    }

    /// Finds it by its name again.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let mut words = name.split('-').peekable();
        let xen = words.next().unwrap_or_default();
        let xen = Xen::from_str(xen, false).map_err(anyhow::Error::msg)?;
        let kernel = words.next_if_map(choice).unwrap_or_default();
        let format = words.next_if_map(choice).unwrap_or_default();
        let debug_shell = words.next_if_eq(&SHELL).is_some();
        ensure!(words.next().is_none(), "no image is called {name}");
        Ok(Self { xen, kernel, format, debug_shell })
    }

    /// The one with the minimal kernel.
    pub(crate) fn as_minimal(self) -> Self {
        Self { kernel: Kernel::Minimal, ..self }
    }

    /// The one that is all ramdisk.
    pub(crate) fn as_ramdisk(self) -> Self {
        Self { format: Format::Ramdisk, ..self }
    }

    /// One of each kernel and form, by their names: `minimal-squashfs`.
    pub(crate) fn of_every_kind(self) -> impl Iterator<Item = (String, Self)> {
        Kernel::value_variants().iter().flat_map(move |&kernel| {
            Format::value_variants().iter().map(move |&format| {
                (format!("{}-{}", word(kernel), word(format)), Self { kernel, format, ..self })
            })
        })
    }

    /// The one with a shell on its console.
    pub(crate) fn with_shell(self) -> Self {
        Self { debug_shell: true, ..self }
    }

    /// Where the image is.
    fn place(self) -> PathBuf {
        workspace().join("target/image").join(self.name())
    }

    /// The file that names what the image was made of.
    pub(crate) fn stamp(self) -> PathBuf {
        self.place().with_file_name(format!("{}.key", self.name()))
    }
}

/// Builds `target/image/NAME/` unless it is there and made of the same things.
pub(crate) fn ensure(which: Which) -> Result<PathBuf> {
    packages::ensure(&[packages::IMAGE])?;
    let root = Root::ensure(which.xen)?;
    let init = build::inits()?.stubdom;
    let builder = build::stub_image()?;
    let (image, stamp) = (which.place(), which.stamp());
    let kernel = match which.kernel {
        Kernel::Distro => vec!["--kernel-release".into(), root.cloud_release()?.into()],
        Kernel::Minimal => {
            packages::ensure(&[packages::KERNEL])?;
            let source = kernel_source(which.xen)?;
            vec!["--kernel".into(), "minimal".into(), "--kernel-source".into(), source.into_os_string()]
        }
    };
    let of = kernel.iter().map(|word| word.as_encoded_bytes()).collect::<Vec<_>>().concat();
    let key = cache::key(&[root.key().as_bytes(), &of, &build::bytes(&init)?, &build::bytes(&builder)?]);
    if image.join("manifest.json").exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(image);
    }
    fs::create_dir_all(workspace().join("target/image"))?;
    step::quiet(
        &format!("build the stubdomain image {}", which.name()),
        Command::new(&builder)
            .arg("build")
            .arg("--root")
            .arg(root.tree())
            .arg("--init")
            .arg(&init)
            .args(&kernel)
            .args(["--format", &word(which.format)])
            .args(which.debug_shell.then_some("--debug-shell"))
            .arg("--out")
            .arg(&image),
    )?;
    // Before the stamp: an image that is too large is built, and refused, again.
    check_sizes(which, &init, &image)?;
    fs::write(stamp, key)?;
    Ok(image)
}

/// Fails if PID 1 or a file of the image is larger than what the project promises.
fn check_sizes(which: Which, init: &Path, image: &Path) -> Result<()> {
    let mut limits = vec![(init.to_owned(), INIT_LIMIT)];
    // Debian 13's QEMU is larger; its root filesystem is only reported.
    if which.xen == Xen::V4_17 && which.format == Format::default() && !which.debug_shell {
        limits.push((image.join("rootfs.img"), ROOTFS_LIMIT));
    }
    if which.kernel == Kernel::Distro && which.format != Format::Ramdisk {
        limits.push((image.join("ramdisk"), RAMDISK_LIMIT));
    }
    for (file, limit) in limits {
        let size = file.metadata().with_context(|| format!("no {}", file.display()))?.len();
        ensure!(size <= limit, "{} has {size} bytes, and may have {limit}", file.display());
    }
    Ok(())
}

/// What a choice is called on the command line.
fn word(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The choice that is called so, or the word again.
fn choice<T: ValueEnum>(word: &str) -> Result<T, &str> {
    T::from_str(word, false).map_err(|_| word)
}

/// The archive of the source of Debian's kernel.
fn kernel_source(xen: Xen) -> Result<PathBuf> {
    let name = format!("linux-source-{}", xen.debian());
    let dir = cache::dir(&name, &[], |dir| {
        let tar = dir.join("packages.tar");
        let mut download = Command::new("mmdebstrap");
        download.args(["--variant=extract", "--include=linux-source", xen.debian()]).arg(&tar);
        step::quiet(&format!("the kernel's source of Debian {}", xen.debian()), &mut download)?;
        let mut unpack = Command::new("tar");
        unpack.arg("-C").arg(dir).args(["--strip-components=3", "-xf"]).arg(&tar).arg("./usr/src");
        step::quiet("unpack it", &mut unpack)?;
        Ok(fs::remove_file(tar)?)
    })?;
    newest(&dir, "linux-source-", |name| name.ends_with(".tar.xz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_its_name_again() {
        for name in
            ["4.17", "4.17-minimal", "4.20", "4.17-ramdisk", "4.20-minimal-squashfs", "4.17-ext4-shell"]
        {
            assert_eq!(Which::named(name).unwrap().name(), name);
        }
        assert!(Which::named("4.18").is_err() && Which::named("4.17-large").is_err());
    }
}
