// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain's kernel: the distribution's, one built for the purpose, or a ready one.

pub mod minimal;
pub mod vmlinux;

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proto::manifest::KernelOrigin;

use crate::image::digest;
use crate::packages::Packages;
use crate::{ImageError, Root};
use minimal::Minimal;
use vmlinux::Vmlinux;

/// Which kernel to take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The distribution's, with a ramdisk of its modules.
    #[default]
    Distro,
    /// One that is built from the distribution's source package, and needs no module.
    Minimal,
    /// This file, a bzImage or an ELF file; it gets a ramdisk if the root has its modules.
    File(PathBuf),
}

impl FromStr for Choice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "distro" => Self::Distro,
            "minimal" => Self::Minimal,
            file => Self::File(file.into()),
        })
    }
}

/// A kernel with all that the image needs to know of it.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What Xen loads.
    pub vmlinux: Vmlinux,
    /// Where it is from.
    pub origin: KernelOrigin,
    /// Whether the root filesystem is reached only through modules.
    pub modular: bool,
}

/// What a kernel is looked for with.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which one.
    pub choice: Choice,
    /// The distribution's release to take, if the root has several.
    pub release: Option<String>,
    /// The source of the minimal one, if not the root's.
    pub source: Option<PathBuf>,
}

impl Wanted {
    /// Finds or builds it.
    pub fn take(&self, root: &Root, packages: &Packages) -> Result<Kernel, ImageError> {
        match &self.choice {
            Choice::Distro => {
                let release = match &self.release {
                    Some(release) => release.clone(),
                    None => only_release(root)?,
                };
                let path = format!("/boot/vmlinuz-{release}");
                let bytes = root.read(&path)?.ok_or_else(|| ImageError::Missing {
                    what: "the kernel",
                    searched: vec![path.clone().into()],
                    root: root.directory().to_owned(),
                    help: "choose another with --kernel-release",
                })?;
                let mut vmlinux = vmlinux::read(&root.outer(Path::new(&path)), &bytes)?;
                // Its modules are found by the name of the package, whatever the banner says.
                vmlinux.release = release;
                let package = packages.of(Path::new(&path)).map(str::to_owned);
                let origin = KernelOrigin { file: path, sha256: digest(&bytes), package };
                Ok(Kernel { vmlinux, origin, modular: true })
            }
            Choice::Minimal => {
                let mut minimal = match &self.source {
                    Some(source) => Minimal { source: source.clone(), cache: minimal::cache() },
                    None => Minimal::new(root)?,
                };
                let inside = minimal.source.strip_prefix(root.directory()).ok();
                let package = inside.and_then(|inside| packages.of(&Path::new("/").join(inside)));
                let package = package.map(str::to_owned);
                // A symbolic link would name the same source differently.
                minimal.source = fs::canonicalize(&minimal.source)
                    .map_err(ImageError::file("looking for", &minimal.source))?;
                let bytes =
                    fs::read(&minimal.source).map_err(ImageError::file("reading", &minimal.source))?;
                let origin = KernelOrigin { file: name(&minimal.source), sha256: digest(&bytes), package };
                Ok(Kernel { vmlinux: minimal.build()?, origin, modular: false })
            }
            Choice::File(path) => {
                let bytes = fs::read(path).map_err(ImageError::file("reading", path))?;
                let vmlinux = vmlinux::read(path, &bytes)?;
                let origin = KernelOrigin { file: name(path), sha256: digest(&bytes), package: None };
                let modules = format!("/lib/modules/{}/modules.dep", vmlinux.release);
                let modular = root.resolve(modules)?.is_some();
                Ok(Kernel { vmlinux, origin, modular })
            }
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The kernel release of `root` if it has exactly one.
pub fn only_release(root: &Root) -> Result<String, ImageError> {
    let names = root.list("/lib/modules")?;
    let mut found: Vec<String> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    match found.pop() {
        Some(release) if found.is_empty() => Ok(release),
        None => Err(ImageError::Missing {
            what: "a kernel's modules",
            searched: vec!["/lib/modules".into()],
            root: root.directory().to_owned(),
            help: "install the kernel's package into the root, or check its path",
        }),
        Some(last) => {
            found.push(last);
            Err(ImageError::Kernels { root: root.directory().to_owned(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_exactly_one_kernel_asks_for_a_choice() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let install =
            |release| fs::create_dir_all(directory.path().join("lib/modules").join(release)).unwrap();
        assert!(matches!(only_release(&root), Err(ImageError::Missing { .. })));
        install("6.1");
        assert_eq!(only_release(&root).unwrap(), "6.1");
        install("6.12");
        assert!(
            matches!(only_release(&root), Err(ImageError::Kernels { found, .. }) if found == ["6.1", "6.12"])
        );
    }

    #[test]
    fn a_word_that_names_no_kind_of_kernel_is_a_file() {
        let choice = |text: &str| text.parse::<Choice>().unwrap();
        assert_eq!(["distro", "minimal"].map(choice), [Choice::Distro, Choice::Minimal]);
        assert_eq!(choice("./minimal"), Choice::File("./minimal".into()));
    }
}
