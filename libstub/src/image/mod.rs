// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain's kernel, ramdisk, root filesystem and command line: from an image, from the config, or both.

pub(crate) mod verify;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proto::manifest::{self, Arguments, Kind, Manifest};
use proto::places::Place;
use xen_sys::Kib;

use crate::code::Code;
use crate::config::StubdomConfig;
use crate::journal::ImageOrigin;

/// A stubdomain that can be built: all files are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// Its root filesystem, for blkback.
    pub rootfs: Option<PathBuf>,
    /// Its kernel's command line.
    pub cmdline: String,
    /// Its memory.
    pub memory: Kib,
    /// Whether its PID 1 waits for `stub/go`; if not, all must be ready before it runs.
    pub waits_for_go: bool,
    /// Where it looks for QEMU's arguments.
    pub arguments: Arguments,
    /// Whether the manifest says that there is a shell on its console: who reaches that has the guest.
    pub debug_shell: bool,
    /// The image's directory, if it is one of ours.
    pub directory: Option<PathBuf>,
    /// The release of the kernel, if the manifest tells.
    pub kernel_release: Option<String>,
    /// The version of QEMU, if the manifest tells.
    pub qemu: Option<String>,
    /// The SHA-256 that the manifest gives, of each file above that is the image's own.
    pub digests: BTreeMap<PathBuf, String>,
}

/// Why there is no usable image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// None was named, and none is at the well-known places.
    #[error(
        "no stubdomain image found in {}; build one with stub-image, or name its files in the config \
         (stubdomain_image, or stubdomain_kernel and stubdomain_ramdisk)",
        shown(.0)
    )]
    NotFound(Vec<PathBuf>),
    /// The manifest cannot be used.
    #[error("the image {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The image's directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file is not the one that the manifest describes.
    #[error(
        "{} is damaged, or of another image: its SHA-256 is {found}, and the manifest beside it says {expected}",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest in the manifest.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
}

impl ImageError {
    /// The failure under its stable name.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::ImageNotFound,
            Self::Unusable { .. } => Code::ImageUnusable,
            Self::Corrupt { .. } => Code::ImageCorrupt,
        }
    }
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Image {
    /// What a stubdomain without an image gets if the config does not say: libxl's default.
    pub(crate) const DEFAULT_MEMORY: Kib = Kib::new(128 * 1024);

    /// What it is, for people.
    pub(crate) fn origin(&self) -> ImageOrigin {
        let Self { directory, kernel, kernel_release, qemu, .. } = self.clone();
        ImageOrigin { directory, kernel, kernel_release, qemu }
    }

    /// Finds what `config` asks for, for a hypervisor of this release (`4.17`).
    ///
    /// # Errors
    /// When no image is found, or the one found is for another Xen or another protocol.
    pub fn resolve(config: &StubdomConfig, xen: &str) -> Result<Self, ImageError> {
        let mut image = match &config.image {
            Some(directory) => Self::open(directory, xen)?,
            None if config.kernel.is_some() => Self::bare(PathBuf::new()),
            None => Self::look_up(xen)?,
        };
        // A part that is replaced may not know of stub/go.
        image.waits_for_go &= config.ramdisk.is_none() && config.rootfs.is_none();
        if let Some(kernel) = &config.kernel {
            image.kernel.clone_from(kernel);
            image.kernel_release = None;
            // It was the manifest's kernel that looks elsewhere; another comes with another image's habits.
            image.arguments = Arguments::DmArgv;
        }
        if config.rootfs.is_some() {
            image.qemu = None;
        }
        image.ramdisk = config.ramdisk.clone().or(image.ramdisk);
        image.rootfs = config.rootfs.clone().or(image.rootfs);
        if let Some(cmdline) = &config.cmdline {
            image.cmdline.clone_from(cmdline);
        }
        image.memory = config.memory.unwrap_or(image.memory);
        // A file that the config names is the user's own: there is nothing to compare it with.
        let used = [Some(&image.kernel), image.ramdisk.as_ref(), image.rootfs.as_ref()];
        image.digests.retain(|path, _| used.contains(&Some(path)));
        Ok(image)
    }

    fn look_up(xen: &str) -> Result<Self, ImageError> {
        let places = Place::all(Path::new("/"), xen);
        match places.iter().find(|place| place.is_taken()) {
            Some(Place::Image(directory)) => Self::open(directory, xen),
            Some(Place::Libxl { kernel, ramdisk, .. }) => {
                Ok(Self { ramdisk: Some(ramdisk.clone()), ..Self::bare(kernel.clone()) })
            }
            None => Err(ImageError::NotFound(places.map(|place| place.directory().to_owned()).to_vec())),
        }
    }

    fn bare(kernel: PathBuf) -> Self {
        let cmdline = String::from("console=hvc0 xen_privcmd.unrestricted=1 panic=-1 xen_legacy_crash");
        Self {
            kernel,
            ramdisk: None,
            rootfs: None,
            cmdline,
            memory: Self::DEFAULT_MEMORY,
            waits_for_go: false,
            arguments: Arguments::DmArgv,
            debug_shell: false,
            directory: None,
            kernel_release: None,
            qemu: None,
            digests: BTreeMap::new(),
        }
    }

    fn open(directory: &Path, xen: &str) -> Result<Self, ImageError> {
        let unusable = |reason: String| ImageError::Unusable { path: directory.to_owned(), reason };
        let file = directory.join(manifest::FILE);
        let text = fs::read(&file).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
        let manifest =
            Manifest::from_json(&text).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
        manifest.fits(proto::PROTOCOL, xen).map_err(unusable)?;
        let digests = BTreeMap::from_iter(
            manifest.digests.iter().map(|(name, digest)| (directory.join(name), digest.clone())),
        );
        let part = |name: &str| {
            let path = directory.join(name);
            if !path.is_file() {
                return Err(unusable(format!("{name} is missing")));
            }
            Ok(path)
        };
        let optional = |name: &str| manifest.digests.contains_key(name).then(|| part(name)).transpose();
        Ok(Self {
            kernel: part(manifest::KERNEL)?,
            ramdisk: optional(manifest::RAMDISK)?,
            rootfs: optional(manifest::ROOTFS)?,
            memory: Kib::from_mib(manifest.memory_mib().into()),
            cmdline: manifest.cmdline,
            // A kernel that is all of the image knows Xen's own page only.
            waits_for_go: manifest.kind == Kind::Linux,
            arguments: manifest.arguments,
            debug_shell: manifest.debug_shell,
            directory: Some(directory.to_owned()),
            kernel_release: Some(manifest.kernel),
            qemu: Some(manifest.qemu),
            digests,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image directory with these files, and this in its manifest beside what every manifest has.
    fn image(files: &[&str], more: &serde_json::Value) -> Result<Image, ImageError> {
        let directory = tempfile::tempdir().expect("a directory");
        let digests: BTreeMap<&str, &str> = files.iter().map(|name| (*name, "")).collect();
        let mut manifest = serde_json::json!({
            "protocol": proto::PROTOCOL, "xen": "4.17", "qemu": "", "kernel": "", "rootfs": "", "cmdline": "",
            "min_memory_mib": 16, "digests": digests, "contents": [],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            manifest[key] = value.clone();
        }
        fs::write(directory.path().join(manifest::FILE), manifest.to_string()).expect("written");
        for name in files {
            fs::write(directory.path().join(name), "").expect("written");
        }
        let image = Some(directory.path().to_owned());
        Image::resolve(&StubdomConfig { image, ..StubdomConfig::default() }, "4.17")
    }

    #[test]
    fn a_kernel_that_is_all_of_its_image_is_built_last_and_has_nothing_beside_it() {
        let kernel_only = serde_json::json!({ "kind": "kernel-only", "arguments": "dmargs" });
        let alone = image(&["kernel"], &kernel_only).expect("an image");
        assert_eq!((alone.waits_for_go, alone.arguments), (false, Arguments::Dmargs));
        assert_eq!((alone.ramdisk, alone.rootfs), (None, None));
        let error = image(&["kernel", "rootfs.img"], &kernel_only).expect_err("a contradiction").to_string();
        assert!(error.contains("rootfs.img as well"), "{error}");
        let linux = image(&["kernel", "rootfs.img"], &serde_json::json!({})).expect("an image");
        assert_eq!((linux.waits_for_go, linux.arguments), (true, Arguments::DmArgv));
    }
}
