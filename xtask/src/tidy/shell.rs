// SPDX-License-Identifier: GPL-3.0-only
//! House rules about shell scripts: each says what it is for, and shellcheck finds nothing wrong with it.

use std::process::Command;

use anyhow::{Context, Result};

use super::Fault;
use crate::workspace;

pub(super) fn faults(file: &str, text: &str) -> Option<Fault> {
    let mut lines = text.lines().skip_while(|line| line.starts_with("#!"));
    let said = lines.next().is_some_and(|line| line.starts_with("# "));
    (!said).then(|| format!("{file}: its head does not say what the script is for"))
}

/// What shellcheck warns of, a line each.
pub(super) fn shellcheck(files: &[String]) -> Result<Vec<Fault>> {
    let (named, plain): (Vec<&String>, Vec<&String>) =
        files.iter().partition(|file| super::read(file).is_ok_and(|text| text.starts_with("#!")));
    let mut faults = Vec::new();
    // Pieces without an interpreter of their own run in dom0's /bin/sh.
    for (files, shell) in [(named, None), (plain, Some("--shell=sh"))] {
        if !files.is_empty() {
            let mut check = Command::new("shellcheck");
            check
                .current_dir(workspace())
                .args(["--severity=warning", "--format=gcc"])
                .args(shell)
                .args(files);
            let out = check.output().context("cannot run shellcheck")?;
            faults.extend(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_it_is_for() {
        assert_eq!(faults("a.sh", "# Says hello.\necho hello\n"), None);
        assert_eq!(faults("a.sh", "#!/bin/sh\n# Says hello.\necho hello\n"), None);
        assert!(faults("a.sh", "#!/bin/sh\necho hello\n").is_some());
        assert!(faults("a.sh", "").is_some());
    }

    #[test]
    fn shellcheck_bites() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("a.sh");
        std::fs::write(&script, "#!/bin/sh\n# Goes nowhere.\ncd /nowhere\nrm -r a\n").unwrap();
        match shellcheck(&[script.display().to_string()]) {
            Ok(faults) => assert!(faults.iter().any(|fault| fault.contains("SC2164")), "{faults:?}"),
            Err(error) => eprintln!("{error:#}"),
        }
    }
}
