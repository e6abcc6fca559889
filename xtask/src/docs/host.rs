// SPDX-License-Identifier: GPL-3.0-only
//! Commands that pages show for the developer's machine: our own programs must know them. They are not run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;

use super::Page;
use super::script::Step;

/// A command of a page, and what is known of it.
#[derive(Debug)]
pub(super) struct Checked {
    place: String,
    pub(super) words: Vec<String>,
    /// How it was checked, or what is wrong with it.
    pub(super) verdict: Result<&'static str, String>,
}

/// Words that end the first command of a line.
const ENDS: [&str; 7] = ["|", "||", "&&", ";", "&", ">", "<"];

/// Checks the page's commands; of `programs` each is asked for its help.
pub(super) fn check(page: &Page, programs: &[PathBuf]) -> Vec<Checked> {
    page.steps
        .iter()
        .filter_map(|step| match step {
            Step::Host { line, command } => Some((format!("{}:{line}", page.file), command)),
            _ => None,
        })
        .map(|(place, command)| {
            let Some(words) = shlex::split(command) else {
                let verdict = Err("no shell reads this".to_owned());
                return Checked { place, words: vec![command.clone()], verdict };
            };
            Checked { place, verdict: known(&first(&words), programs), words }
        })
        .collect()
}

/// The first command of a line, without what stands before its program.
fn first(words: &[String]) -> Vec<&str> {
    let assigns = |word: &&str| word.contains('=') || *word == "sudo";
    let command = words.iter().map(String::as_str).take_while(|word| !ENDS.contains(word));
    command.skip_while(assigns).collect()
}

fn known(words: &[&str], programs: &[PathBuf]) -> Result<&'static str, String> {
    let [program, arguments @ ..] = words else { return Err("there is no command".to_owned()) };
    if let ["cargo", "xtask", ..] = words {
        let parsed = crate::Args::command().try_get_matches_from(&words[1..]);
        return match parsed {
            Err(error) if error.use_stderr() => {
                Err(error.to_string().lines().next().unwrap_or_default().to_owned())
            }
            _ => Ok("parsed"),
        };
    }
    let name = Path::new(program).file_name();
    let Some(program) = programs.iter().find(|ours| ours.file_name() == name) else {
        return Ok("shown only");
    };
    let mut help = Command::new(program);
    help.args(arguments.iter().find(|word| !word.starts_with('-'))).arg("--help");
    match help.output() {
        Ok(out) if out.status.success() => Ok("has help"),
        Ok(out) => Err(String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or_default().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A line for each.
pub(super) fn table(checked: &[Checked]) -> String {
    let width = checked.iter().map(|command| command.place.len()).max().unwrap_or(0);
    let mut table = String::new();
    for Checked { place, words, verdict } in checked {
        let verdict =
            verdict.as_ref().map_or_else(|wrong| format!("WRONG: {wrong}"), |how| (*how).to_owned());
        let _ = writeln!(table, "  {place:width$}  {verdict:10}  {}", words.join(" "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(command: &str) -> Result<&'static str, String> {
        let page = Page::parse("page.md", &format!("```console\n$ {command}\n```\n")).unwrap();
        // A program that knows one subcommand.
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("stubctl");
        std::fs::write(
            &program,
            "#!/bin/sh\n[ \"$1 $2\" = 'list --help' ] || { echo no such verb >&2; exit 2; }\n",
        )
        .unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, executable).unwrap();
        check(&page, &[program]).remove(0).verdict
    }

    #[test]
    fn chores_are_parsed_with_all_their_arguments() {
        assert_eq!(verdict("cargo xtask test --ring dom0 docs::README"), Ok("parsed"));
        assert_eq!(verdict("cargo xtask dom0 exec xl list | head"), Ok("parsed"));
        assert!(verdict("cargo xtask test --ring none").is_err());
        assert!(verdict("cargo xtask fly").is_err());
    }

    #[test]
    fn programs_of_ours_are_asked_for_help() {
        assert_eq!(verdict("RUST_LOG=debug sudo target/release/stubctl list --json"), Ok("has help"));
        assert_eq!(verdict("stubctl fly"), Err("no such verb".to_owned()));
        assert_eq!(verdict("git clone x"), Ok("shown only"));
        assert!(verdict("echo 'a").is_err());
    }
}
