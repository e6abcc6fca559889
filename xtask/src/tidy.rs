// SPDX-License-Identifier: GPL-3.0-only
//! Formatting, lints, and the house rules that no lint knows.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::lab::Xen;
use crate::{build, packages, workspace};

/// A longer file holds more than one idea.
const MAX_LINES: usize = 400;

pub(crate) fn run() -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD])?;
    let xen = Xen::default();
    check("cargo fmt", build::cargo(xen).args(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--features", "stub-tests/dom0"];
    check("cargo clippy", build::cargo(xen).args(clippy).args(["--", "--deny", "warnings"]))?;
    let mut faults = Vec::new();
    for file in sources()? {
        let text =
            fs::read_to_string(workspace().join(&file)).with_context(|| format!("cannot read {file}"))?;
        faults.extend(rules(&file, &text).into_iter().map(|fault| format!("{file}: {fault}")));
    }
    if !faults.is_empty() {
        bail!("house rules:\n  {}", faults.join("\n  "));
    }
    println!("tidy");
    Ok(ExitCode::SUCCESS)
}

fn check(name: &str, command: &mut Command) -> Result<()> {
    println!("== {name}");
    if !command.status().with_context(|| format!("cannot run {name}"))?.success() {
        bail!("{name} found something");
    }
    Ok(())
}

/// The Rust files that git knows.
fn sources() -> Result<Vec<String>> {
    let out = Command::new("git").current_dir(workspace()).args(["ls-files", "*.rs"]).output()?;
    let files: Vec<String> = String::from_utf8(out.stdout)?.lines().map(str::to_owned).collect();
    Ok(files.into_iter().filter(|file| workspace().join(file).exists()).collect())
}

fn rules(file: &str, text: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let mut lines = text.lines();
    if lines.next() != Some("// SPDX-License-Identifier: GPL-3.0-only") {
        faults.push("the first line is not the SPDX line");
    }
    if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        faults.push("the second line does not say what the file is about");
    }
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    if code > MAX_LINES {
        faults.push("it is past 400 lines: split it by topic");
    }
    if Path::new(file).starts_with("libstub") && text.contains("xen_sys::raw") {
        faults.push("libstub uses raw bindings");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_house_rule_bites() {
        let good = "// SPDX-License-Identifier: GPL-3.0-only\n//! A file.\n";
        assert_eq!(rules("a.rs", good), Vec::<&str>::new());
        assert_eq!(rules("a.rs", "fn main() {}\n").len(), 2);
        assert_eq!(rules("a.rs", &format!("{good}{}", "\n".repeat(500))).len(), 1);
        assert_eq!(rules("libstub/src/a.rs", &format!("{good}use xen_sys::raw;\n")).len(), 1);
    }
}
