// SPDX-License-Identifier: GPL-3.0-only
//! A page as steps, and its steps in dom0 as one shell script.
//!
//! | what the page has | what is done |
//! |---|---|
//! | a block `console` | each command of it must succeed |
//! | a block `console,fails` | each command of it must fail |
//! | a block `console,host` | all of its commands are for the developer's machine |
//! | a block with `file=PATH` | it is written to PATH before the commands that follow |
//! | a comment `dom0: COMMAND` or `host: COMMAND` | run unseen by readers: what they have already |

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::lab::quoted;
use crate::markdown::{Kind, pieces};

/// What a page's script says last: a page that ends its shell before has not been run.
const WHOLE: &str = "docs: the page is done";

/// What ends a file inside a script.
const END: &str = "END-OF-THE-FILE-THAT-THE-PAGE-SHOWS";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    File { path: String, text: String },
    Dom0 { line: usize, command: String, fails: bool },
    Host { line: usize, command: String },
}

/// The steps of a page, in order.
pub(super) fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for piece in pieces(page) {
        match piece.kind {
            Kind::Block { info, text } => block(piece.line, &info, &text, &mut steps)?,
            Kind::Comment(comment) => {
                if let Some(command) = comment.strip_prefix("dom0: ") {
                    steps.push(Step::Dom0 { line: piece.line, command: command.to_owned(), fails: false });
                } else if let Some(command) = comment.strip_prefix("host: ") {
                    steps.push(Step::Host { line: piece.line, command: command.to_owned() });
                }
            }
            Kind::Link(_) | Kind::Code(_) => {}
        }
    }
    Ok(steps)
}

fn block(fence: usize, info: &str, text: &str, steps: &mut Vec<Step>) -> Result<()> {
    let words: Vec<&str> = info.split([',', ' ']).filter(|word| !word.is_empty()).collect();
    if let Some(path) = words.iter().find_map(|word| word.strip_prefix("file=")) {
        steps.push(Step::File { path: path.to_owned(), text: text.to_owned() });
        return Ok(());
    }
    if words.first() != Some(&"console") {
        return Ok(());
    }
    let (mut fails, mut host) = (false, false);
    for word in &words[1..] {
        match *word {
            "fails" => fails = true,
            "host" => host = true,
            other => bail!("line {fence}: a console block knows no `{other}`"),
        }
    }
    let mut lines = (fence + 1..).zip(text.lines());
    while let Some((line, shown)) = lines.next() {
        let (in_dom0, first) = match (shown.strip_prefix("# "), shown.strip_prefix("$ ")) {
            (Some(command), _) => (!host, command),
            (_, Some(command)) => (false, command),
            _ => continue,
        };
        let mut command = first.to_owned();
        while command.ends_with('\\') {
            let Some((_, more)) = lines.next() else { bail!("line {line}: the command has no end") };
            command.push('\n');
            command.push_str(more.strip_prefix("> ").unwrap_or(more));
        }
        steps.push(if in_dom0 { Step::Dom0 { line, command, fails } } else { Step::Host { line, command } });
    }
    Ok(())
}

/// The steps in dom0 as a script for bash, which runs in a directory of its own; none if there are none.
pub(super) fn script(file: &str, steps: &[Step]) -> Option<String> {
    if !steps.iter().any(|step| matches!(step, Step::Dom0 { .. })) {
        return None;
    }
    let mut script = "cd \"$(mktemp -d)\" || exit\n".to_owned();
    for step in steps {
        let _ = match step {
            Step::File { path, text } => {
                let path = quoted(path);
                writeln!(
                    script,
                    "mkdir -p \"$(dirname {path})\" && cat >{path} <<'{END}' || exit\n{text}{END}"
                )
            }
            Step::Dom0 { line, command, fails } => {
                let wanted = if *fails { "-ne" } else { "-eq" };
                let shown = quoted(&format!("# {command}"));
                writeln!(
                    script,
                    "printf '%s\\n' {shown}\n{command}\nlab_status=$?\n\
                     [ $lab_status {wanted} 0 ] || {{ echo \"{file}:{line}: status $lab_status\"; exit 1; }}"
                )
            }
            Step::Host { .. } => Ok(()),
        };
    }
    script.push_str(&format!("echo '{WHOLE}'\n"));
    Some(script)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What bash makes of a page: whether it went well to its end, and what it said.
    fn run(page: &str) -> (bool, String) {
        let script = script("page.md", &steps(page).unwrap()).unwrap();
        let out = Command::new("bash").arg("-c").arg(script).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        (out.status.success() && text.ends_with(&format!("{WHOLE}\n")), text)
    }

    #[test]
    fn a_page_shows_a_file_and_uses_it_in_one_shell() {
        let page = "<!-- dom0: greeting=hello -->\n```text file=sub/a.cfg\nname = \"$x\"\n```\nNow:\n\n\
                    ```console\n# cat sub/a.cfg\nname = \"$x\"\n# echo $greeting \\\n> world\nhello world\n$ cargo xtask demo\n```\n";
        let (well, text) = run(page);
        assert!(well, "{text}");
        assert!(text.contains("# cat sub/a.cfg\nname = \"$x\"\n"), "{text}");
        assert!(text.contains("\nhello world\n"), "{text}");
        assert!(!text.contains("demo"), "{text}");
    }

    #[test]
    fn a_command_that_fails_ends_the_page_with_its_line() {
        let (well, text) = run("```console\n# true\n# (exit 3)\n# echo on\n```\n");
        assert!(!well);
        assert!(text.contains("page.md:3: status 3"), "{text}");
        assert!(!text.contains("\non\n"), "{text}");
    }

    #[test]
    fn a_block_that_shows_a_failure_must_fail() {
        assert!(run("```console,fails\n# false\n```\n").0);
        assert!(!run("```console,fails\n# true\n```\n").0);
    }

    #[test]
    fn a_page_that_leaves_its_shell_is_not_done() {
        assert!(!run("```console\n# exit 0\n# false\n```\n").0);
    }

    #[test]
    fn only_console_blocks_have_commands() {
        let page = "```text\n# no\n```\n```console,host\n# apt-get install x\n```\n```sh\n$ no\n```\n";
        let host = Step::Host { line: 5, command: "apt-get install x".to_owned() };
        let steps_of_page = steps(page).unwrap();
        assert_eq!(script("page.md", &steps_of_page), None);
        assert_eq!(steps_of_page, [host]);
        assert!(steps("```console,typo\n# true\n```\n").is_err());
        assert!(steps("```console\n# true \\\n```\n").is_err());
    }
}
