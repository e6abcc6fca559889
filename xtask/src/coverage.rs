// SPDX-License-Identifier: GPL-3.0-only
//! Line coverage of the library's error paths, by the tests that need no Xen: cargo-tarpaulin, installed once.
//!
//! Counted are the files in which a failure is met, undone, recorded or told. What talks to a real Xen (`host/xen.rs` and
//! the files beside it) is proven in the dom0 ring, where nothing counts lines.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{packages, tools, workspace};

/// Below libstub's `src`.
const COUNTED: &[&str] =
    &["lifecycle/", "journal/", "xenbus/", "supervisor/", "qmp/mod.rs", "qmp/wire.rs", "console.rs"];

/// Of all counted lines together.
const WANTED: f64 = 95.0;

/// Seconds that one test binary may take while it is followed.
const LIMIT: &str = "1200";

pub(crate) fn run() -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD])?;
    let program = tools::ensure(&tools::CARGO_TARPAULIN)?;
    let report = tempfile::tempdir()?;
    let mut tarpaulin = Command::new(program);
    tarpaulin
        .current_dir(workspace())
        .args(["tarpaulin", "--engine", "ptrace", "--locked", "--skip-clean", "--timeout", LIMIT])
        .args(["--packages", "libstub", "--packages", "stub-tests", "--packages", "stubctl"])
        .args(["--features", "libstub/fake"])
        // Other flags than those of a plain build: in a directory of its own neither undoes the other's work.
        .args([
            "--lib",
            "--bins",
            "--tests",
            "--target-dir",
            "target/coverage",
            "--out",
            "Json",
            "--output-dir",
        ])
        .arg(report.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if !tarpaulin.status().context("cannot run cargo-tarpaulin")?.success() {
        bail!("cargo-tarpaulin failed");
    }
    let report = std::fs::read(report.path().join("tarpaulin-report.json")).context("no report")?;
    let files = counted(&serde_json::from_slice(&report)?)?;
    for file in &files {
        let missing: Vec<String> = file.missing.iter().map(u64::to_string).collect();
        println!("{:6.1} %  {}  {}", file.percent(), file.path.display(), missing.join(" "));
    }
    let (covered, coverable) =
        files.iter().fold((0, 0), |sum, file| (sum.0 + file.covered, sum.1 + file.coverable));
    let all = percent(covered, coverable);
    println!("{all:6.1} %  of {coverable} lines in {} files", files.len());
    Ok(if all > WANTED { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A source file and what of it ran.
struct File {
    path: PathBuf,
    covered: u32,
    coverable: u32,
    /// The lines that did not run.
    missing: Vec<u64>,
}

impl File {
    fn percent(&self) -> f64 {
        percent(self.covered, self.coverable)
    }
}

fn percent(covered: u32, coverable: u32) -> f64 {
    f64::from(covered) * 100.0 / f64::from(coverable.max(1))
}

/// The files that count, of all in a report of cargo-tarpaulin.
fn counted(report: &Value) -> Result<Vec<File>> {
    let files = report["files"].as_array().context("a report without files")?;
    let mut counted = Vec::new();
    for file in files {
        let path: PathBuf = file["path"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let source = workspace().join("libstub/src");
        let Ok(path) = path.strip_prefix(source).map(Path::to_owned) else { continue };
        if !COUNTED.iter().any(|part| path.to_string_lossy().starts_with(part)) {
            continue;
        }
        let traces = file["traces"].as_array().context("a file without lines")?;
        let missing: Vec<u64> = traces
            .iter()
            .filter(|trace| trace["stats"]["Line"] == 0)
            .filter_map(|trace| trace["line"].as_u64())
            .collect();
        let coverable = u32::try_from(traces.len())?;
        let covered = coverable - u32::try_from(missing.len())?;
        counted.push(File { path, covered, coverable, missing });
    }
    if counted.is_empty() {
        bail!("the report has none of the files that count");
    }
    counted.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(path: &str) -> Value {
        let whole = workspace().join("libstub/src").join(path);
        let parts: Vec<String> = whole.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let line = |number: u32, hits: u32| json!({ "line": number, "stats": { "Line": hits } });
        json!({ "path": parts, "traces": [line(3, 1), line(4, 0), line(9, 7)] })
    }

    #[test]
    fn only_the_files_of_error_paths_count_and_lines_that_never_ran_are_named() {
        let report = json!({ "files": [file("journal/mod.rs"), file("host/xen.rs"), file("code.rs")] });
        let files = counted(&report).unwrap();
        let [file] = files.as_slice() else { panic!("{} files", files.len()) };
        assert_eq!((file.covered, file.coverable, file.missing.as_slice()), (2, 3, [4].as_slice()));
        assert!(counted(&json!({ "files": [] })).is_err(), "nothing counted is no coverage");
    }
}
