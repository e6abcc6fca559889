// SPDX-License-Identifier: GPL-3.0-only
//! `diff`: what differs between two images, as their manifests tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proto::manifest::{EntryKind, KernelOrigin, Manifest};
use serde::Serialize;

use super::inspect::{read, table};

/// One thing that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Difference {
    what: String,
    left: Option<String>,
    right: Option<String>,
}

/// The differences, as a table or as JSON.
pub(super) fn show(left: &Path, right: &Path, json: bool) -> anyhow::Result<String> {
    let found = differences(&read(left)?, &read(right)?);
    if json {
        return Ok(serde_json::to_string_pretty(&found)? + "\n");
    }
    if found.is_empty() {
        return Ok("no difference\n".to_owned());
    }
    let cell = |side: Option<String>| side.unwrap_or_else(|| "-".to_owned());
    let rows = found.into_iter().map(|row| vec![row.what, cell(row.left), cell(row.right)]).collect();
    Ok(format!("{}\n", table(&["", &left.display().to_string(), &right.display().to_string()], rows)))
}

fn differences(left: &Manifest, right: &Manifest) -> Vec<Difference> {
    let (left, right) = (flat(left), flat(right));
    let names: BTreeSet<&(u8, String)> = left.keys().chain(right.keys()).collect();
    names
        .into_iter()
        .filter(|name| left.get(*name) != right.get(*name))
        .map(|name| Difference {
            what: name.1.clone(),
            left: left.get(name).cloned(),
            right: right.get(name).cloned(),
        })
        .collect()
}

fn origin(origin: &KernelOrigin) -> String {
    let KernelOrigin { file, sha256, package } = origin;
    format!("{file} of {}, {sha256}", package.as_deref().unwrap_or("no package"))
}

/// Everything that a manifest says, by group and name.
fn flat(manifest: &Manifest) -> BTreeMap<(u8, String), String> {
    let facts = [
        ("stubdom protocol", manifest.protocol.to_string()),
        ("kind", format!("{:?}", manifest.kind)),
        ("arguments", format!("{:?}", manifest.arguments)),
        ("kernel's origin", manifest.kernel_origin.as_ref().map_or_else(String::new, origin)),
        ("Xen", manifest.xen.clone()),
        ("QEMU", manifest.qemu.clone()),
        ("kernel release", manifest.kernel.clone()),
        ("root filesystem", manifest.rootfs.clone()),
        ("command line", manifest.cmdline.clone()),
        ("debug shell", manifest.debug_shell.to_string()),
        ("memory", format!("{} MiB", manifest.memory_mib())),
        ("smallest memory", format!("{} MiB", manifest.min_memory_mib)),
    ];
    let facts = facts.into_iter().map(|(name, value)| ((0, name.to_owned()), value));
    let digests = manifest.digests.iter().map(|(name, digest)| ((1, name.clone()), digest.clone()));
    let packages =
        manifest.packages.iter().map(|(name, version)| ((2, format!("package {name}")), version.clone()));
    let contents = manifest.contents.iter().map(|entry| {
        let value = match &entry.kind {
            EntryKind::Dir => "directory".to_owned(),
            EntryKind::Link { target } => format!("link to {target}"),
            EntryKind::File { size, sha256 } => format!("{size} bytes, {sha256}"),
        };
        ((3, entry.path.clone()), value)
    });
    facts.chain(digests).chain(packages).chain(contents).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_in_one_and_what_changed_is_told() {
        let manifest = |xen: &str, file: &str| {
            let text = format!(
                r#"{{"protocol": 1, "xen": "{xen}", "qemu": "7.2", "kernel": "6.1", "rootfs": "erofs",
                "cmdline": "quiet", "min_memory_mib": 64, "digests": {{"kernel": "aa"}},
                "contents": [{{"path": "/init", "kind": "dir"}}, {{"path": "{file}", "kind": "link", "target": "x"}}]}}"#
            );
            Manifest::from_json(text.as_bytes()).unwrap()
        };
        assert!(differences(&manifest("4.17", "/a"), &manifest("4.17", "/a")).is_empty());
        let found = differences(&manifest("4.17", "/a"), &manifest("4.20", "/b"));
        let row = |what: &str, left: Option<&str>, right: Option<&str>| Difference {
            what: what.into(),
            left: left.map(str::to_owned),
            right: right.map(str::to_owned),
        };
        assert_eq!(
            found,
            [
                row("Xen", Some("4.17"), Some("4.20")),
                row("/a", Some("link to x"), None),
                row("/b", None, Some("link to x"))
            ]
        );
    }
}
