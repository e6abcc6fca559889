// SPDX-License-Identifier: GPL-3.0-only
//! Why an image could not be built.

use std::io;
use std::path::PathBuf;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file could not be read, written or made.
    #[error("{operation} {path} failed")]
    File {
        /// What was tried, such as `reading`.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path's symbolic links lead nowhere.
    #[error("{path} has a loop of symbolic links")]
    LinkLoop {
        /// The path.
        path: PathBuf,
    },
    /// A path is needed in two ways at once.
    #[error("{path} would be two different things in the image")]
    Conflict {
        /// The path in the image.
        path: PathBuf,
    },
    /// A file is no ELF file that the loader could use.
    #[error("{path} is no usable ELF file: {reason}")]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A library is nowhere.
    #[error(
        "{needed_by} needs {library}, which is in none of {searched:?}; install its package into the root"
    )]
    MissingLibrary {
        /// Its name.
        library: String,
        /// The file that needs it.
        needed_by: PathBuf,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// A file is nowhere.
    #[error("found {what} at none of {searched:?} below {root}; {help}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        searched: Vec<PathBuf>,
        /// The root that was searched.
        root: PathBuf,
        /// What to do about it.
        help: &'static str,
    },
    /// More than one kernel, and none was chosen.
    #[error("{root} holds the kernels {found:?}; choose one with --kernel-release")]
    Kernels {
        /// The root.
        root: PathBuf,
        /// The releases found.
        found: Vec<String>,
    },
    /// A module is neither a file nor part of the kernel.
    #[error("kernel {release} has module {module} neither built in nor as a file")]
    NoModule {
        /// The kernel.
        release: String,
        /// The module.
        module: String,
    },
    /// A file is no kernel that Xen could start.
    #[error("{path} cannot be the stubdomain's kernel: {reason}")]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A kernel's source does not have what our configuration asks for.
    #[error("the kernel in {source_archive} does not take these lines of our configuration: {}", lost.join("; "))]
    ConfigLost {
        /// The source.
        source_archive: PathBuf,
        /// The lines.
        lost: Vec<String>,
    },
    /// A list of files has a line that cannot be read.
    #[error("{path}:{line}: expected `program PATH`, `file PATH` or `opens LIBRARY`, found {found:?}")]
    List {
        /// The list.
        path: PathBuf,
        /// The line's number.
        line: usize,
        /// The line.
        found: String,
    },
    /// A collector was chosen that does not work here.
    #[error("{collector} cannot collect from {root}: {reason}; the builtin collector can")]
    Collector {
        /// The collector.
        collector: &'static str,
        /// The root.
        root: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file or an archive is larger than its format allows.
    #[error("{path} is too large for a ramdisk")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// PID 1 must run before any library is there.
    #[error("{path} is not linked statically; build it with RUSTFLAGS='-C target-feature=+crt-static'")]
    NotStatic {
        /// The program.
        path: PathBuf,
    },
    /// A tool could not be started.
    #[error("starting {tool} failed; install the package {package}")]
    NoTool {
        /// The tool.
        tool: &'static str,
        /// The Debian package it is in.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A tool ended with an error.
    #[error("{tool} failed with {status}: {output}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it printed.
        output: String,
    },
    /// QEMU does not tell what the manifest has to hold.
    #[error("{path} does not tell its {what}")]
    Unidentified {
        /// QEMU.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
    },
}

impl ImageError {
    /// For `map_err` on an operation on `path`.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }
}
