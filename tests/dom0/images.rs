// SPDX-License-Identifier: GPL-3.0-only
//! Images: damaged ones are refused before there is a domain, whole ones are read once in a boot.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use stub_tests::guest::{Guest, image};
use stub_tests::probe::Probe;
use stub_tests::stubctl::{self, stubctl};

/// What a look at an image may read beside the image's own files.
const SMALL: u64 = 4 << 20;

/// The installed image once more: each file is a link to the installed one, until a test replaces it.
fn copy() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(image()).expect("the image").flatten() {
        symlink(entry.path(), directory.path().join(entry.file_name())).expect("a link");
    }
    directory
}

fn replace(path: &Path, content: &[u8]) {
    fs::remove_file(path).expect("removed");
    fs::write(path, content).expect("written");
}

fn installed(name: &str) -> Vec<u8> {
    fs::read(Path::new(&image()).join(name)).expect("a file of the image")
}

/// The digest as coreutils have it.
fn sha256sum(path: &Path) -> String {
    let out = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    String::from_utf8_lossy(&out.stdout).split(' ').next().expect("a digest").to_owned()
}

fn manifest() -> Value {
    serde_json::from_slice(&installed("manifest.json")).expect("a manifest")
}

/// Create and its dry run refuse this image before any domain is made, and tell why.
fn refused(image: &Path) -> Value {
    let probe = Probe::take();
    let guest = Guest::new().with(&format!("stubdomain_image = \"{}\"", image.display()));
    let config = guest.config().display().to_string();
    let mut errors = [&["--json", "create"][..], &["--json", "create", "-n"]].map(|verb| {
        let ran = stubctl(&[verb, &[&config]].concat());
        assert_eq!(ran.status, 3, "{ran:?}");
        ran.json()["error"].take()
    });
    probe.assert_restored();
    for error in &errors {
        assert_eq!(
            (&error["stage"], &error["guest"], &error["stubdom"]),
            (&json!("preflight"), &Value::Null, &Value::Null)
        );
        assert_eq!((&error["undone"], &error["owed"]), (&json!([]), &json!([])), "{error:#}");
    }
    errors[0].take()
}

/// It is refused for this file, with both digests.
fn refused_for(image: &Path, name: &str) {
    let error = refused(image);
    assert_eq!(error["code"], "image-corrupt", "{error:#}");
    let (text, path) = (error.to_string(), image.join(name));
    for part in [
        path.display().to_string().as_str(),
        &sha256sum(&path),
        manifest()["digests"][name].as_str().expect("a digest"),
    ] {
        assert!(text.contains(part), "no {part} in {error:#}");
    }
}

#[test]
fn a_truncated_rootfs_is_refused() {
    let image = copy();
    let whole = installed("rootfs.img");
    replace(&image.path().join("rootfs.img"), &whole[..whole.len() / 2]);
    refused_for(image.path(), "rootfs.img");
}

#[test]
fn one_wrong_bit_in_a_rootfs_is_refused() {
    let image = copy();
    let mut content = installed("rootfs.img");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    replace(&image.path().join("rootfs.img"), &content);
    refused_for(image.path(), "rootfs.img");
}

#[test]
fn swapped_files_are_refused() {
    let image = copy();
    let at = |name: &str| image.path().join(name);
    fs::rename(at("kernel"), at("other")).expect("renamed");
    fs::rename(at("rootfs.img"), at("kernel")).expect("renamed");
    fs::rename(at("other"), at("rootfs.img")).expect("renamed");
    refused_for(image.path(), "kernel");
}

#[test]
fn an_image_for_another_xen_or_of_another_protocol_is_refused() {
    let here = format!("linked for Xen 4.4, this is Xen {}", xen_sys::BUILT_FOR);
    for (key, value, told) in
        [("xen", json!("4.4"), here.as_str()), ("protocol", json!(2), "protocol 2, not 1")]
    {
        let image = copy();
        let mut manifest = manifest();
        manifest[key] = value;
        replace(&image.path().join("manifest.json"), manifest.to_string().as_bytes());
        let error = refused(image.path());
        assert_eq!(error["code"], "image-unusable", "{error:#}");
        let (text, path) = (error.to_string(), image.path().display().to_string());
        assert!(text.contains(told) && text.contains(&path), "{error:#}");
    }
}

/// The installed root filesystem, damaged until this is dropped.
struct Damaged(PathBuf);

impl Damaged {
    fn new() -> Self {
        let path = Path::new(&image()).join("rootfs.img");
        fs::rename(&path, path.with_extension("whole")).expect("moved away");
        fs::write(&path, "damaged").expect("written");
        Self(path)
    }
}

impl Drop for Damaged {
    fn drop(&mut self) {
        let _ = fs::rename(self.0.with_extension("whole"), &self.0);
    }
}

#[test]
fn check_finds_a_damaged_image() {
    let probe = Probe::take();
    let damaged = Damaged::new();
    let ran = stubctl(&["--json", "check"]);
    let digest = sha256sum(&damaged.0);
    drop(damaged);
    assert_eq!(ran.status, 3, "{ran:?}");
    let report = ran.json();
    let findings = report["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["name"] == "image").expect("the image");
    assert_eq!(finding["status"], "failure");
    assert!(finding["what"].as_str().expect("text").contains(&digest), "{finding:#}");
    assert_eq!(stubctl(&["check"]).status, 0, "it is whole again");
    probe.assert_restored();
}

/// Bytes that this process has read of anything.
fn read_so_far() -> u64 {
    let text = fs::read_to_string("/proc/self/io").expect("readable");
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a line");
    line.parse().expect("a number")
}

#[test]
fn a_whole_image_is_read_by_the_first_create_only() {
    let probe = Probe::take();
    let files = ["kernel", "ramdisk", "rootfs.img"].map(|name| Path::new(&image()).join(name));
    let size: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum();
    let host = libstub::XenHost::open().expect("a dom0");
    let guest = Guest::new();
    let config = libstub::GuestConfig::read(&guest.config()).expect("a valid config");
    let look = |journal: &Path| {
        let (before, began) = (read_so_far(), std::time::Instant::now());
        libstub::preflight(&host, &libstub::Journal::new(journal), &config).expect("it could be created");
        (read_so_far() - before, began.elapsed())
    };
    stubctl::create_running(&guest);
    stubctl::destroy(&guest);
    let (read, took) = look(Path::new(libstub::DIRECTORY));
    let fresh = tempfile::tempdir().expect("a directory");
    let (all, took_all) = look(fresh.path());
    println!(
        "figure: preflight reads {read} bytes in {took:.1?}; without the memory {all} in {took_all:.1?}"
    );
    assert!(all >= size, "{all} bytes were read of an image of {size}");
    assert!(read < SMALL, "{read} bytes were read again");
    assert_eq!(fs::read_dir(fresh.path()).expect("listed").count(), 0, "a dry run left something");
    drop((host, fresh));
    probe.assert_restored();
}
