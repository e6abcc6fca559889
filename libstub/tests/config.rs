// SPDX-License-Identifier: GPL-3.0-only
//! Config files, wrong and right ones, and the page of the documentation that lists the keys.
//!
//! A wrong file begins with one line for each of its faults, `# expect LINE:COLUMN CODE [near SUGGESTION]`, which
//! is checked apart from what is printed, so that a renewed `.expected` cannot hide a wrong place. A right file may
//! have such lines for its warnings. `UPDATE_EXPECT=1 cargo test -p libstub --test config` renews the rest.
#![forbid(unsafe_code)]

#[path = "config/invariants.rs"]
mod invariants;

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use libstub::config::{Fault, Loaded, Severity, reference};
use libstub::{ConfigError, GuestConfig};
use proptest::prelude::*;

/// What the files call the directory of the disks that they name; its real name has as many characters.
const NAMED: &str = "stub-config-XXXXXX";

/// The files that the configs name.
struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("stub-config-")
            .rand_bytes(6)
            .tempdir_in("/tmp")
            .expect("a directory");
        let at = |name: &str| directory.path().join(name);
        for name in ["disk0", "disk1", "disk2", "disk3", "disk4", "it's", "ü", "a,b=c", "kernel", "rootfs"] {
            fs::write(at(name), [0; 4096]).expect("a file");
        }
        fs::write(at("tail"), [0; 1000]).expect("a file");
        fs::write(at("empty"), []).expect("a file");
        fs::create_dir(at("directory")).expect("a directory");
        fs::create_dir(at("image")).expect("a directory");
        fs::write(at("image/manifest.json"), "{}").expect("a file");
        Self(directory)
    }

    fn real(&self) -> String {
        let name = self.0.path().file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(name.len(), NAMED.len());
        name
    }

    /// Reads a file of ours under its bare name.
    fn load(&self, file: &Path) -> Result<Loaded, ConfigError> {
        let text = fs::read_to_string(file).expect("a config").replace(NAMED, &self.real());
        let name = PathBuf::from(file.file_name().expect("a name"));
        GuestConfig::parse_with(&text, &name, &[])
    }
}

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(directory);
    let entries = fs::read_dir(directory).expect("the configs");
    let files = entries.map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "cfg")).collect();
    files.sort();
    files
}

/// What a file says of its faults.
fn claims(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a config");
    let claims = text.lines().map_while(|line| line.strip_prefix("# expect "));
    claims.map(|claim| claim.trim_end().to_owned()).collect()
}

/// A fault as a claim would have it.
fn claim(fault: &Fault) -> String {
    let near = fault.suggestion.as_ref().map_or(String::new(), |near| format!(" near {near}"));
    format!("{}:{} {}{near}", fault.line, fault.column, fault.code)
}

#[test]
fn every_wrong_config_is_refused_at_its_place_with_what_was_meant() {
    let fixture = Fixture::new();
    let files = files("wrong");
    assert!(files.len() >= 60, "{} wrong configs", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let Err(error) = fixture.load(file) else {
            wrong.push(format!("{} is taken", file.display()));
            continue;
        };
        let printed = error.to_string().replace(&fixture.real(), NAMED);
        let printed = printed.strip_prefix("the config cannot be used\n").expect("a heading");
        let ConfigError::Faults(faults) = error else { panic!("{}: {printed}", file.display()) };
        let got: Vec<String> = faults.iter().map(claim).collect();
        if got != claims(file) {
            wrong.push(format!("{}: expected {:#?}, got {got:#?}\n{printed}", file.display(), claims(file)));
        }
        expect_file![file.with_extension("expected")].assert_eq(&format!("{printed}\n"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_right_config_is_taken_with_the_warnings_that_it_claims() {
    let fixture = Fixture::new();
    let files = files("right");
    assert!(files.len() >= 15, "{} right configs", files.len());
    for file in &files {
        let loaded = fixture.load(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(
            loaded.warnings.iter().all(|fault| fault.severity == Severity::Warning),
            "{}",
            file.display()
        );
        let got: Vec<String> = loaded.warnings.iter().map(claim).collect();
        assert_eq!(got, claims(file), "{}", file.display());
        assert_eq!(loaded.config.faults(), Vec::<String>::new(), "{}", file.display());
        // Where this checkout lies is another on each machine.
        let config = libstub::GuestConfig { source: None, ..loaded.config };
        let printed = format!("{config:#?}\n").replace(&fixture.real(), NAMED);
        expect_file![file.with_extension("expected")].assert_eq(&printed);
    }
}

#[test]
fn the_documented_table_of_keys_is_the_codes_own() {
    expect_file!["../../docs/src/config-keys.md"].assert_eq(&reference());
}

/// Pieces of a config, and what could stand between them.
fn piece() -> impl Strategy<Value = String> {
    let key = prop::sample::select(libstub::config::keys()).prop_map(|key| key.name.to_owned());
    prop_oneof![
        3 => key,
        3 => Just(" = ".to_owned()),
        2 => "['\"]",
        2 => "[ \t\r\n;,#=+\\[\\]\\\\\u{0}]",
        2 => Just("\n".to_owned()),
        2 => "[0-9]{1,4}[KMGx]?",
        1 => "/dev/null|raw|qcow2|xvd[a-c]1?|hda|r[ow]|cdrom|hvm|ahci|none|target=|vdev=|d0p1|tap:",
        1 => "[a-zA-Z_]{1,8}",
        1 => "\\PC{0,3}",
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_text_is_read_or_refused_with_places_that_are_its_own(
        text in prop::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
    ) {
        invariants::check(&text);
    }
}

#[test]
fn every_config_of_these_tests_is_refused_with_places_that_are_its_own() {
    for file in files("wrong").into_iter().chain(files("right")) {
        let text = fs::read_to_string(&file).expect("a config");
        invariants::check(&text);
        // Cut short anywhere, too.
        for (end, _) in text.char_indices().step_by(11) {
            invariants::check(&text[..end]);
        }
    }
}
