// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain image of the lab, from the lab's own packages: its QEMU must fit its Xen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::lab::{Root, Xen};
use crate::{build, cache, packages, step, workspace};

/// The file that names what `target/image/` was made of.
pub(crate) fn stamp() -> PathBuf {
    workspace().join("target/image.key")
}

/// Builds `target/image/` unless it is there and made of the same things.
pub(crate) fn ensure(xen: Xen) -> Result<PathBuf> {
    let image = workspace().join("target/image");
    built(xen, "build the stubdomain image", &image, &stamp(), &[])?;
    Ok(image)
}

/// The same for the image that has everything in its ramdisk, which is what upstream's `xl` can start.
pub(crate) fn ramdisk(xen: Xen) -> Result<PathBuf> {
    let image = workspace().join("target/image-ramdisk");
    let stamp = image.with_extension("key");
    built(xen, "build the stubdomain image for xl", &image, &stamp, &["--format", "ramdisk"])?;
    Ok(image)
}

fn built(xen: Xen, name: &str, image: &Path, stamp: &Path, more: &[&str]) -> Result<()> {
    packages::ensure(&[packages::IMAGE])?;
    let root = Root::ensure(xen)?;
    let init = build::inits()?.stubdom;
    let builder = build::stub_image()?;
    let key = cache::key(&[root.key().as_bytes(), &build::bytes(&init)?, &build::bytes(&builder)?]);
    if image.join("manifest.json").exists() && fs::read_to_string(stamp).is_ok_and(|old| old == key) {
        return Ok(());
    }
    step::quiet(
        name,
        Command::new(&builder)
            .arg("build")
            .arg("--root")
            .arg(root.tree())
            .arg("--init")
            .arg(&init)
            .args(["--kernel-release", &root.cloud_release()?])
            .args(more)
            .arg("--out")
            .arg(image),
    )?;
    fs::write(stamp, key)?;
    Ok(())
}
