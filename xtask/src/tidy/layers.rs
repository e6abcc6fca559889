// SPDX-License-Identifier: GPL-3.0-only
//! The crates of the workspace: who may depend on whom, where `unsafe` may be, what each inherits.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, Package, TargetKind};

use super::Fault;

/// A member, and the members it may depend on; for whatever purpose. `xtask` runs cargo for the others instead.
/// `stubctl image` is the image builder's own command line.
const LAYERS: [(&str, &[&str]); 10] = [
    ("xen-sys", &[]),
    ("proto", &[]),
    ("vchan", &[]),
    ("libstub", &["proto", "vchan", "xen-sys"]),
    ("stubctl", &["libstub", "stub-image"]),
    ("stub-image", &["proto"]),
    ("stub-init", &["proto", "vchan"]),
    ("guest-init", &["stub-init"]),
    ("stub-tests", &["libstub", "proto", "stub-init", "vchan", "xen-sys"]),
    ("xtask", &[]),
];

/// Crates of others that belong to one member, and that member.
const CONFINED: [(&str, &str); 2] = [("xenctrl-sys", "xen-sys"), ("xenstore-rs", "stub-init")];

/// Crates of others that a member must do without: a library decides nothing for its caller, raw bindings know no policy.
const REFUSED: [(&str, &[&str]); 4] = [
    ("libstub", &["anyhow", "clap", "tokio", "tracing-subscriber"]),
    ("proto", &["anyhow", "libc", "nix", "rustix"]),
    ("stub-init", &["anyhow", "clap", "serde_json", "tokio"]),
    ("xen-sys", &["anyhow", "clap", "mio", "tokio"]),
];

/// Roots that have `unsafe` code: the owners of C handles with their tests, the ring that breaks such handles, and
/// PID 1 with its own ioctls (`sys.rs`, alone: the crate denies it elsewhere).
const UNSAFE: [&str; 3] = ["xen-sys/", "tests/dom0/", "stub-image/init/src/lib.rs"];

/// The attribute that each other root has.
const FORBID: &str = "#![forbid(unsafe_code)]";

/// A member, as far as the rules look at it.
struct Member {
    name: String,
    manifest: String,
    licence: Option<String>,
    /// Files that rustc is given.
    roots: Vec<String>,
    dependencies: BTreeSet<String>,
}

pub(super) fn faults(metadata: &Metadata, read: impl Fn(&str) -> Result<String>) -> Result<Vec<Fault>> {
    let members: Vec<Member> =
        metadata.workspace_packages().into_iter().map(|package| member(package, metadata)).collect();
    let names: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
    let mut faults = Vec::new();
    for member in &members {
        faults.extend(dependencies(member, &names));
        faults.extend(inherited(member, &read(&member.manifest)?)?);
        for root in &member.roots {
            faults.extend(unsafe_code(root, &read(root)?));
        }
    }
    Ok(faults)
}

fn member(package: &Package, metadata: &Metadata) -> Member {
    let relative = |path: &cargo_metadata::camino::Utf8Path| {
        path.strip_prefix(&metadata.workspace_root).unwrap_or(path).to_string()
    };
    let rust = |kind: &TargetKind| *kind != TargetKind::CustomBuild;
    Member {
        name: package.name.to_string(),
        manifest: relative(&package.manifest_path),
        licence: package.license.clone(),
        roots: package
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(rust))
            .map(|target| relative(&target.src_path))
            .collect(),
        dependencies: package.dependencies.iter().map(|dependency| dependency.name.clone()).collect(),
    }
}

fn dependencies(member: &Member, members: &BTreeSet<String>) -> Vec<Fault> {
    let Member { name, manifest, .. } = member;
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| layer == name) else {
        return vec![format!("{manifest}: {name} has no place among the layers (xtask/src/tidy/layers.rs)")];
    };
    let refused = REFUSED.iter().find(|(layer, _)| layer == name).map_or(&[][..], |(_, refused)| refused);
    let mut faults = Vec::new();
    for dependency in &member.dependencies {
        if members.contains(dependency) && !allowed.contains(&dependency.as_str()) {
            faults.push(format!("{manifest}: {name} must not depend on {dependency}: layers point one way"));
        }
        if refused.contains(&dependency.as_str()) {
            faults.push(format!("{manifest}: {name} does without {dependency}"));
        }
        if let Some((_, owner)) =
            CONFINED.iter().find(|(of_others, owner)| of_others == dependency && owner != name)
        {
            faults.push(format!("{manifest}: {dependency} is for {owner} only"));
        }
    }
    faults
}

fn inherited(member: &Member, manifest: &str) -> Result<Vec<Fault>> {
    let Member { manifest: file, licence, .. } = member;
    let table: toml::Table = toml::from_str(manifest).with_context(|| file.clone())?;
    let lints = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    let mut faults = Vec::new();
    if lints != Some(true) {
        faults.push(format!("{file}: the workspace's lints are not inherited"));
    }
    if licence.as_deref() != Some("GPL-3.0-only") {
        faults.push(format!("{file}: the workspace's licence is not inherited"));
    }
    Ok(faults)
}

fn unsafe_code(root: &str, text: &str) -> Option<Fault> {
    let allowed = UNSAFE.iter().any(|place| root.starts_with(place));
    (!allowed && !text.lines().any(|line| line == FORBID)).then(|| format!("{root}: it lacks {FORBID}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            manifest: format!("{name}/Cargo.toml"),
            licence: Some("GPL-3.0-only".to_owned()),
            roots: Vec::new(),
            dependencies: set(dependencies),
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn found(name: &str, depends_on: &[&str]) -> usize {
        let members: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
        dependencies(&member(name, depends_on), &set(&members)).len()
    }

    #[test]
    fn dependencies_point_one_way() {
        assert_eq!(found("libstub", &["proto", "xen-sys", "mio"]), 0);
        assert_eq!(found("xen-sys", &["libstub"]), 1);
        assert_eq!(found("stubctl", &["libstub", "xen-sys"]), 1);
        assert_eq!(found("xtask", &["proto"]), 1);
        assert_eq!(found("newcomer", &[]), 1);
    }

    #[test]
    fn crates_of_others_have_their_place() {
        assert_eq!(found("xen-sys", &["xenctrl-sys"]), 0);
        assert_eq!(found("libstub", &["xenctrl-sys"]), 1);
        assert_eq!(found("libstub", &["xenstore-rs"]), 1);
        assert_eq!(found("libstub", &["anyhow"]), 1);
        assert_eq!(found("xtask", &["anyhow"]), 0);
    }

    #[test]
    fn lints_and_licence_are_inherited() {
        let mut one = member("a", &[]);
        assert_eq!(inherited(&one, "[lints]\nworkspace = true\n").unwrap().len(), 0);
        assert_eq!(inherited(&one, "[lints]\nworkspace = false\n").unwrap().len(), 1);
        assert_eq!(inherited(&one, "[lints.rust]\nmissing_docs = \"allow\"\n").unwrap().len(), 1);
        one.licence = None;
        assert_eq!(inherited(&one, "").unwrap().len(), 2);
    }

    #[test]
    fn unsafe_code_is_forbidden_by_every_root_outside_its_places() {
        assert!(unsafe_code("stubctl/src/main.rs", "fn main() {}").is_some());
        assert!(unsafe_code("stubctl/src/main.rs", "// #![forbid(unsafe_code)]").is_some());
        assert!(unsafe_code("stubctl/src/main.rs", "#![forbid(unsafe_code)]\nfn main() {}").is_none());
        assert!(unsafe_code("xen-sys/src/lib.rs", "").is_none());
    }
}
