// SPDX-License-Identifier: GPL-3.0-only
//! Cargo's helpers that are compiled for minutes: installed once, kept outside the checkout, never needed by a build.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{build, cache, step};

/// A program from the registry, at one version: what it finds must not change under a commit.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    args: &'static [&'static str],
}

/// Bans, licences, sources and advisories; `deny.toml` is its configuration (3 minutes to compile).
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", args: &[] };

/// Makes the book in `docs/` (a minute and a half to compile, without its server and its search).
pub(crate) const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.4", args: &["--no-default-features"] };

/// Which lines ran (4 minutes to compile, without its ways to publish a report).
pub(crate) const CARGO_TARPAULIN: Tool =
    Tool { name: "cargo-tarpaulin", version: "0.37.5", args: &["--no-default-features"] };

impl Tool {
    fn cache_name(&self) -> String {
        format!("tool-{}-{}", self.name, self.version)
    }

    fn inputs(&self) -> Vec<&'static [u8]> {
        self.args.iter().map(|arg| arg.as_bytes()).collect()
    }

    fn program(&self, dir: &Path) -> PathBuf {
        dir.join("bin").join(self.name)
    }
}

/// The tool, if it was installed before.
pub(crate) fn find(tool: &Tool) -> Option<PathBuf> {
    cache::find(&tool.cache_name(), &tool.inputs()).map(|dir| tool.program(&dir))
}

/// The tool, installed first if it is not there.
pub(crate) fn ensure(tool: &Tool) -> Result<PathBuf> {
    let dir = cache::dir(&tool.cache_name(), &tool.inputs(), |dir| {
        let mut cargo = build::bare_cargo();
        cargo.args(["install", "--locked", "--version", tool.version, "--root"]).arg(dir);
        let build = tempfile::tempdir()?;
        cargo.env("CARGO_TARGET_DIR", build.path()).args(tool.args).arg(tool.name);
        step::quiet(&format!("install {} {} (minutes)", tool.name, tool.version), &mut cargo)
    })?;
    Ok(tool.program(&dir))
}
