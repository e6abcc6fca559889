// SPDX-License-Identifier: GPL-3.0-only
//! `list`: the images at the well-known places, and which of them a create takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proto::PROTOCOL;
use proto::manifest::Manifest;
use proto::places::{IMAGES, Place};
use serde::Serialize;

use super::inspect::{read, table};
use crate::{ImageError, Root};

/// Where libxl's are, by release.
const LIBXL: &str = "/usr/lib/xen-*/boot";
/// What the kernel of a Xen host says about its hypervisor.
const HYPERVISOR: &str = "/sys/hypervisor/version";

/// What is at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    xen: String,
    directory: String,
    what: String,
    /// Whether a create on a host with this release of Xen takes it.
    chosen: bool,
    why: String,
}

/// The images below `root`, as a table or as JSON; `xen` is this host's release if not given.
pub(super) fn show(root: &Path, xen: Option<&str>, json: bool) -> anyhow::Result<String> {
    let host = xen.map(str::to_owned).or_else(running);
    let rows = rows(root, host.as_deref())?;
    if json {
        return Ok(serde_json::to_string_pretty(&rows)? + "\n");
    }
    if rows.is_empty() {
        return Ok(format!("no image in {IMAGES}/*, and none of libxl's in {LIBXL}\n"));
    }
    let cells = |row: Row| {
        let chosen = if row.chosen { "*" } else { "" };
        vec![chosen.to_owned(), row.xen, row.directory, row.what, row.why]
    };
    Ok(format!("{}\n", table(&["", "XEN", "DIRECTORY", "IMAGE", ""], rows.into_iter().map(cells).collect())))
}

fn rows(root: &Path, host: Option<&str>) -> Result<Vec<Row>, ImageError> {
    let mut rows = Vec::new();
    for xen in releases(&Root::new(root), host)? {
        let mut first = true;
        for place in Place::all(root, &xen).into_iter().filter(Place::is_taken) {
            let (what, fault) = describe(&place, &xen);
            let here = host.is_none_or(|host| host == xen);
            let why = match (&fault, first, host) {
                (_, false, _) => "hidden by the one above".to_owned(),
                // A create does not go on to the next place: what is there was put there to be used.
                (Some(fault), true, _) => format!("a create with Xen {xen} is refused: {fault}"),
                (None, true, Some(host)) if !here => format!("this is Xen {host}"),
                (None, true, _) => format!("the first place for Xen {xen} that has one"),
            };
            rows.push(Row {
                directory: place.directory().display().to_string(),
                what,
                chosen: first && fault.is_none() && here,
                why,
                xen: xen.clone(),
            });
            first = false;
        }
    }
    Ok(rows)
}

/// The releases for which something may be there.
fn releases(root: &Root, host: Option<&str>) -> Result<BTreeSet<String>, ImageError> {
    let mut found: BTreeSet<String> =
        root.list(IMAGES)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
    for directory in root.glob(Path::new(LIBXL))? {
        let name = directory.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        found.extend(name.and_then(|name| name.strip_prefix("xen-")).map(str::to_owned));
    }
    found.extend(host.map(str::to_owned));
    Ok(found)
}

/// What is at a place, and why it cannot be used.
fn describe(place: &Place, xen: &str) -> (String, Option<String>) {
    match place {
        Place::Libxl { .. } => ("libxl's kernel and ramdisk".to_owned(), None),
        Place::Image(directory) => match read(directory) {
            Err(error) => ("?".to_owned(), Some(format!("{error:#}"))),
            Ok(manifest) => {
                let shell = if manifest.debug_shell { ", DEBUG SHELL" } else { "" };
                let Manifest { kernel, rootfs, qemu, .. } = &manifest;
                let what = format!("kernel {kernel}, {rootfs}, QEMU {qemu}{shell}");
                let gone = manifest.digests.keys().find(|name| !directory.join(name).is_file());
                let fault = manifest.fits(PROTOCOL, xen).err();
                (what, fault.or_else(|| gone.map(|name| format!("{name} is missing"))))
            }
        },
    }
}

/// The release of the hypervisor below this kernel.
fn running() -> Option<String> {
    let part = |name: &str| fs::read_to_string(Path::new(HYPERVISOR).join(name)).ok();
    Some(format!("{}.{}", part("major")?.trim(), part("minor")?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_chosen_and_what_is_unfit_or_hidden_says_so() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let manifest = |xen: &str| {
            format!(
                r#"{{"protocol": 1, "xen": "{xen}", "qemu": "7.2", "kernel": "6.1", "rootfs": "erofs", "cmdline": "",
                "min_memory_mib": 64, "digests": {{"kernel": "00"}}, "contents": []}}"#
            )
        };
        put("usr/lib/stubctl/image/4.17/kernel", "");
        put("usr/lib/stubctl/image/4.20/kernel", "");
        put("usr/lib/stubctl/image/4.17/manifest.json", &manifest("4.17"));
        put("usr/lib/stubctl/image/4.20/manifest.json", &manifest("4.17"));
        for file in ["stubdom-linux-kernel", "stubdom-linux-rootfs"] {
            put(&format!("usr/lib/xen-4.17/boot/{file}"), "");
        }
        let told = |host: Option<&str>| {
            let rows = rows(root.path(), host).unwrap();
            rows.into_iter().map(|row| (row.xen, row.chosen, row.why)).collect::<Vec<_>>()
        };
        let row = |xen: &str, chosen, why: &str| (xen.to_owned(), chosen, why.to_owned());
        let unfit = "a create with Xen 4.20 is refused: its QEMU was linked for Xen 4.17, this is Xen 4.20";
        assert_eq!(
            told(Some("4.17")),
            [
                row("4.17", true, "the first place for Xen 4.17 that has one"),
                row("4.17", false, "hidden by the one above"),
                row("4.20", false, unfit)
            ]
        );
        assert_eq!(told(Some("4.18"))[0], row("4.17", false, "this is Xen 4.18"));
    }
}
