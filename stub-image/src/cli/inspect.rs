// SPDX-License-Identifier: GPL-3.0-only
//! `inspect`: what an image is and holds.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use proto::manifest::{self, Entry, EntryKind, Manifest};

/// The manifest of the image in `directory`.
pub(super) fn read(directory: &Path) -> anyhow::Result<Manifest> {
    let path = directory.join(manifest::FILE);
    let text = fs::read(&path).with_context(|| format!("{} is no image", directory.display()))?;
    Manifest::from_json(&text).with_context(|| format!("{} cannot be read", path.display()))
}

/// A table without lines, as wide as the terminal.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    // A serial line is a terminal that says it has no columns.
    if table.width().is_some_and(|width| width >= 40) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.add_rows(rows);
    table
}

/// The image's description, and the table of its contents.
pub(super) fn show(directory: &Path, json: bool) -> anyhow::Result<String> {
    let manifest = read(directory)?;
    if json {
        return Ok(String::from_utf8(manifest.to_json())?);
    }
    let rows = manifest.contents.iter().filter(|entry| entry.kind != EntryKind::Dir).map(row).collect();
    let contents = table(&["FILE", "SIZE", "PACKAGE", "NEEDED BY"], rows);
    Ok(format!("{}\n\n{contents}\n", table(&["", ""], facts(directory, &manifest))))
}

fn facts(directory: &Path, manifest: &Manifest) -> Vec<Vec<String>> {
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let origin = manifest.kernel_origin.as_ref().map(|origin| match &origin.package {
        Some(package) => format!("{}, from {} ({package})", manifest.kernel, origin.file),
        None => format!("{}, from {}", manifest.kernel, origin.file),
    });
    let files = manifest.contents.iter().filter(|entry| entry.kind != EntryKind::Dir).count();
    let mut rows = vec![
        fact("Xen", manifest.xen.clone()),
        fact("QEMU", manifest.qemu.clone()),
        fact("kernel", origin.unwrap_or_else(|| manifest.kernel.clone())),
        fact("root filesystem", format!("{}, {files} files", manifest.rootfs)),
        fact("command line", manifest.cmdline.clone()),
        fact("memory", format!("{} MiB, at least {}", manifest.memory_mib(), manifest.min_memory_mib)),
        fact("stubdom protocol", manifest.protocol.to_string()),
    ];
    if manifest.debug_shell {
        rows.push(fact(
            "DEBUG SHELL",
            "who reaches its console controls the stubdomain and its guest".to_owned(),
        ));
    }
    for (name, digest) in &manifest.digests {
        let size = fs::metadata(directory.join(name)).map_or("missing".to_owned(), |file| size(file.len()));
        rows.push(fact(name, format!("{size}, SHA-256 {digest}")));
    }
    rows
}

fn row(entry: &Entry) -> Vec<String> {
    let what = match &entry.kind {
        EntryKind::File { size: bytes, .. } => size(*bytes),
        EntryKind::Link { .. } | EntryKind::Dir => String::new(),
    };
    let path = match &entry.kind {
        EntryKind::Link { target } => format!("{} -> {target}", entry.path),
        EntryKind::File { .. } | EntryKind::Dir => entry.path.clone(),
    };
    vec![path, what, entry.package.clone().unwrap_or_default(), some(&entry.needed_by)]
}

/// The first of those that need something, and how many more there are; the manifest has all.
pub(super) fn some(needed_by: &[String]) -> String {
    match needed_by {
        [] => String::new(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
