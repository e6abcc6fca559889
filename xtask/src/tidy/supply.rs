// SPDX-License-Identifier: GPL-3.0-only
//! The crates of others, by the rules of `deny.toml`: where they come from, their licences, one version of each; and the toolchain.
//!
//! cargo-deny is the judge. It takes minutes to compile, so what cargo's own metadata can tell is looked at here as well,
//! on machines that have no cargo-deny.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::Metadata;
use spdx::{Expression, ParseMode};

use super::Fault;
use crate::workspace;

/// How Cargo.lock begins the place that crates come from; which registry that is, deny.toml and cargo say.
const REGISTRY: &str = "registry+";

/// What cargo-deny says when the database of advisories is out of reach.
const NO_DATABASE: &str = "failed to fetch advisory database";

/// Runs cargo-deny. Without a way to the database of advisories that part is left out, and it says so.
pub(super) fn cargo_deny(program: &Path) -> Result<()> {
    let mut deny = Command::new(program);
    deny.current_dir(workspace()).args(["--locked", "check", "bans", "licenses", "sources"]);
    if !deny.status().context("cannot run cargo-deny")?.success() {
        bail!("cargo-deny found something");
    }
    let mut deny = Command::new(program);
    deny.current_dir(workspace()).args(["--locked", "check", "advisories"]).stdin(Stdio::null());
    let out = deny.output().context("cannot run cargo-deny")?;
    let text = String::from_utf8_lossy(&out.stderr);
    match out.status.success() {
        true => println!("advisories ok"),
        false if text.contains(NO_DATABASE) => {
            println!("advisories: not looked at, the database is out of reach")
        }
        false => bail!("cargo-deny found an advisory:\n{text}"),
    }
    Ok(())
}

/// A crate of others, as far as the rules look at it.
struct Crate {
    name: String,
    version: String,
    source: String,
    licence: Option<String>,
}

/// What of `deny.toml` is looked at without cargo-deny.
struct Policy {
    licences: BTreeSet<String>,
    /// `name` or `name@version` of crates that may be there twice.
    skipped: BTreeSet<String>,
}

pub(super) fn faults(metadata: &Metadata, policy: &str) -> Result<Vec<Fault>> {
    let policy = Policy::parse(policy)?;
    let resolved = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
    let used: BTreeSet<_> = resolved.nodes.iter().map(|node| &node.id).collect();
    let crates: Vec<Crate> = metadata
        .packages
        .iter()
        .filter(|package| used.contains(&package.id))
        .filter_map(|package| {
            Some(Crate {
                name: package.name.to_string(),
                version: package.version.to_string(),
                source: package.source.as_ref()?.repr.clone(),
                licence: package.license.clone(),
            })
        })
        .collect();
    Ok(crates.iter().filter_map(|one| one.fault(&policy)).chain(duplicates(&crates, &policy)).collect())
}

/// The toolchain is one release, the one that the manifests promise: rustup takes what is installed and asks nobody.
pub(super) fn toolchain(text: &str, promised: &str) -> Result<Option<Fault>> {
    let table: toml::Table = toml::from_str(text).context("rust-toolchain.toml")?;
    let channel = table.get("toolchain").and_then(|table| table.get("channel")).and_then(toml::Value::as_str);
    let channel = channel.unwrap_or_default();
    let pinned =
        channel.split('.').count() == 3 && channel.split('.').all(|part| part.parse::<u16>().is_ok());
    let kept = channel.strip_prefix(promised).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    Ok((!pinned || !kept).then(|| format!("rust-toolchain.toml: {channel:?} is no release of {promised}")))
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).context("deny.toml")?;
        let list = |section: &str, key: &str| {
            table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array)
        };
        let licences = list("licenses", "allow").context("deny.toml allows no licence")?;
        let skipped = list("bans", "skip").map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            licences: licences.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            skipped: skipped
                .iter()
                .filter_map(|one| one.get("crate").unwrap_or(one).as_str().map(str::to_owned))
                .collect(),
        })
    }

    fn skips(&self, one: &Crate) -> bool {
        self.skipped.contains(&one.name) || self.skipped.contains(&format!("{}@{}", one.name, one.version))
    }
}

impl Crate {
    fn fault(&self, policy: &Policy) -> Option<Fault> {
        let Self { name, version, source, licence } = self;
        if !source.starts_with(REGISTRY) {
            return Some(format!("Cargo.lock: {name} {version} comes from {source}"));
        }
        let Some(licence) = licence else {
            return Some(format!("Cargo.lock: {name} {version} names no licence"));
        };
        match Expression::parse_mode(licence, ParseMode::LAX) {
            Err(error) => Some(format!(
                "Cargo.lock: {name} {version}: the licence {licence} is not understood: {error}"
            )),
            Ok(expression) if expression.evaluate(|one| policy.licences.contains(&one.to_string())) => None,
            Ok(_) => {
                Some(format!("Cargo.lock: {name} {version}: deny.toml does not allow the licence {licence}"))
            }
        }
    }
}

fn duplicates(crates: &[Crate], policy: &Policy) -> Vec<Fault> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in crates.iter().filter(|one| !policy.skips(one)) {
        versions.entry(&one.name).or_default().push(&one.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| {
            format!("Cargo.lock: {name} is there more than once: {}", versions.join(", "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [bans]\nskip = [{ crate = \"old@1.0.0\", reason = \"x\" }, \"any\"]\n",
        )
        .unwrap()
    }

    fn one(name: &str, version: &str, licence: &str) -> Crate {
        let (name, version) = (name.to_owned(), version.to_owned());
        Crate { name, version, source: REGISTRY.to_owned(), licence: Some(licence.to_owned()) }
    }

    #[test]
    fn licences_are_judged_as_expressions() {
        for good in ["MIT", "MIT/Apache-2.0", "GPL-2.0-only OR MIT", "Apache-2.0 WITH LLVM-exception AND MIT"]
        {
            assert_eq!(one("a", "1.0.0", good).fault(&policy()), None, "{good}");
        }
        for bad in ["GPL-2.0-only", "MIT AND GPL-2.0-only", "Proprietary", ""] {
            assert!(one("a", "1.0.0", bad).fault(&policy()).is_some(), "{bad}");
        }
        assert!(Crate { licence: None, ..one("a", "1.0.0", "MIT") }.fault(&policy()).is_some());
    }

    #[test]
    fn the_toolchain_is_one_release() {
        let found = |channel| {
            toolchain(&format!("[toolchain]\nchannel = \"{channel}\"\n"), "1.95").unwrap().is_some()
        };
        assert!(!found("1.95.0"));
        for bad in ["stable", "1.95", "1.94.0", "1.950.0", "1.95.0-beta"] {
            assert!(found(bad), "{bad}");
        }
        assert!(toolchain("", "1.95").unwrap().is_some());
    }

    #[test]
    fn crates_come_from_the_registry_only() {
        let git = "git+https://example.org/a#0123".to_owned();
        assert!(Crate { source: git, ..one("a", "1.0.0", "MIT") }.fault(&policy()).is_some());
    }

    #[test]
    fn a_second_version_of_a_crate_needs_a_reason() {
        let found = |crates: &[Crate]| duplicates(crates, &policy()).len();
        assert_eq!(found(&[one("a", "1.0.0", "MIT"), one("b", "2.0.0", "MIT")]), 0);
        assert_eq!(found(&[one("a", "1.0.0", "MIT"), one("a", "2.0.0", "MIT")]), 1);
        assert_eq!(found(&[one("old", "1.0.0", "MIT"), one("old", "2.0.0", "MIT")]), 0);
        assert_eq!(found(&[one("any", "1.0.0", "MIT"), one("any", "2.0.0", "MIT")]), 0);
    }
}
