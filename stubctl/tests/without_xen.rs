// SPDX-License-Identifier: GPL-3.0-only
//! What works on a machine that runs no Xen, and how the rest is refused there.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `stubctl` with a journal of its own, which must not come into being.
fn stubctl(args: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_stubctl"))
        .arg("--journal")
        .arg(&journal)
        .args(args)
        .output()
        .expect("it runs");
    assert!(!journal.exists(), "{args:?} left a journal");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// On a machine with Xen these claims are others.
fn has_xen() -> bool {
    fs::read_to_string("/sys/hypervisor/type").is_ok_and(|text| text.trim_end() == "xen")
}

fn config(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    Path::to_str(file.path()).expect("text")
}

#[test]
fn check_names_what_is_missing_and_exits_with_3() {
    if has_xen() {
        return;
    }
    let (status, stdout, _) = stubctl(&["--json", "check"]);
    assert_eq!(status, 3, "{stdout}");
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&report["version"], &report["usable"]), (&1.into(), &false.into()));
    assert_eq!(report["findings"][0]["name"], "hypervisor");
    assert_eq!(report["findings"][0]["status"], "failure");
    assert!(report["findings"][0]["remedy"].is_string(), "{report:#}");
    let (status, stdout, _) = stubctl(&["check"]);
    assert_eq!(status, 3);
    assert!(stdout.contains("this host cannot start pairs"), "{stdout}");
    assert!(!stdout.contains('\x1b'), "colours where there is no terminal: {stdout:?}");
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let (_, stdout, _) = stubctl(&["--color", "always", "check"]);
    assert!(stdout.contains("\x1b["), "{stdout:?}");
}

#[test]
fn a_wrong_config_is_told_before_anything_else() {
    let wrong = config("name = \"g\"\nmemroy = 64\n");
    for args in [&["create"][..], &["create", "-n"], &["--json", "create", "-n"]] {
        let (status, stdout, stderr) = stubctl(&[args, &[path(&wrong)]].concat());
        assert_eq!(status, 2, "{stdout}{stderr}");
        assert!(format!("{stdout}{stderr}").contains("memroy"), "{stdout}{stderr}");
    }
}

#[test]
fn what_needs_xen_is_refused_with_3() {
    if has_xen() {
        return;
    }
    let right = config("name = \"g\"\ntype = \"hvm\"\nvga = \"none\"\nmemory = 64\n");
    for args in [&["create", "-n", path(&right)][..], &["create", path(&right)], &["list"], &["show", "g"]] {
        let (status, _, stderr) = stubctl(args);
        assert_eq!(status, 3, "{args:?}: {stderr}");
        assert!(stderr.contains("what to do"), "{args:?}: {stderr}");
    }
}

#[test]
fn help_and_image_need_no_xen() {
    for args in [&["--help"][..], &["image", "--help"], &["image", "build", "--help"]] {
        assert_eq!(stubctl(args).0, 0, "{args:?}");
    }
    let (status, _, stderr) =
        stubctl(&["image", "build", "--root", "/nowhere", "--init", "/nowhere", "--out", "/proc/no"]);
    assert_eq!(status, 1, "{stderr}");
    assert!(stderr.starts_with("error[image-failed]: "), "{stderr}");
}

#[test]
fn an_unknown_command_suggests_a_known_one() {
    let (status, _, stderr) = stubctl(&["lsit"]);
    assert_eq!(status, 2);
    assert!(stderr.contains("'list'"), "{stderr}");
}
