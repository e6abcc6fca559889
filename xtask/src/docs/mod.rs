// SPDX-License-Identifier: GPL-3.0-only
//! What the documentation shows is run: the commands of its pages, and the book made of them.
//!
//! In a fenced block of `console`, a line that begins with `# ` is a command in dom0 and one with `$ ` a command on the
//! developer's machine; all else is output. The dom0 ring runs the first kind page by page; of the second kind it is
//! checked that our programs know them. What the words behind a fence do is in `script`.

mod host;
mod person;
mod script;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::lab::Xen;
use crate::markdown::{Kind, pieces};
use crate::{build, tools, workspace};
use script::Step;

/// Where the book's pages are.
const BOOK: &str = "docs/src";

/// A page that shows commands.
pub(crate) struct Page {
    /// Its path in the repository.
    file: String,
    steps: Vec<Step>,
}

impl Page {
    fn parse(file: &str, text: &str) -> Result<Self> {
        let steps = script::steps(text).with_context(|| file.to_owned())?;
        Ok(Self { file: file.to_owned(), steps })
    }

    /// As in `docs::<name>`.
    pub(crate) fn name(&self) -> &str {
        let name = self.file.strip_suffix(".md").unwrap_or(&self.file);
        name.strip_prefix(BOOK).map_or(name, |name| name.trim_start_matches('/'))
    }

    /// A script of its commands in dom0; none if it has none.
    pub(crate) fn script(&self) -> Option<String> {
        script::script(&self.file, &self.steps)
    }
}

/// README and the book, in the order in which people read them.
pub(crate) fn pages() -> Result<Vec<Page>> {
    let mut files = vec!["README.md".to_owned()];
    let book = workspace().join(BOOK);
    if let Ok(summary) = fs::read_to_string(book.join("SUMMARY.md")) {
        let mut seen = BTreeSet::new();
        for piece in pieces(&summary) {
            if let Kind::Link(to) = piece.kind
                && book.join(&to).is_file()
                && seen.insert(to.clone())
            {
                files.push(format!("{BOOK}/{to}"));
            }
        }
    }
    files
        .iter()
        .map(|file| {
            let text =
                fs::read_to_string(workspace().join(file)).with_context(|| format!("cannot read {file}"))?;
            Page::parse(file, &text)
        })
        .collect()
}

/// Checks the commands for the developer's machine, and prints a table of them.
pub(crate) fn check_host_commands(pages: &[Page], xen: Xen) -> Result<()> {
    let programs = [build::release(xen)?, vec![build::stub_image()?]].concat();
    let checked: Vec<_> = pages.iter().flat_map(|page| host::check(page, &programs)).collect();
    if !checked.is_empty() {
        println!("commands that pages show for the developer's machine:");
        print!("{}", host::table(&checked));
    }
    match checked.iter().filter(|command| command.verdict.is_err()).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} commands in the documentation are not understood"),
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do all that this page shows, on this machine and in a dom0, as its reader would
    #[arg(long, value_name = "PAGE")]
    run: Option<String>,
}

/// The chore: checks what pages show, and makes the book.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let pages = pages()?;
    if let Some(name) = &args.run {
        let page = pages.iter().find(|page| page.name() == name);
        person::run(page.with_context(|| format!("there is no page {name}"))?)?;
        println!("1 passed, 0 failed");
        return Ok(ExitCode::SUCCESS);
    }
    check_host_commands(&pages, Xen::default())?;
    for page in &pages {
        let commands = page.steps.iter().filter(|step| matches!(step, Step::Dom0 { .. })).count();
        if commands > 0 {
            println!(
                "{}: {commands} commands for dom0; to run them: cargo xtask test --ring dom0 docs::{}",
                page.file,
                page.name()
            );
        }
    }
    if workspace().join("docs/book.toml").exists() {
        book(&workspace().join("target/book"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn book(to: &Path) -> Result<()> {
    let mdbook = tools::ensure(&tools::MDBOOK)?;
    let mut make = Command::new(mdbook);
    let status = make.args(["build", "docs", "--dest-dir"]).arg(to).current_dir(workspace()).status();
    if !status.context("cannot run mdbook")?.success() {
        bail!("the book cannot be made");
    }
    println!("the book is {}", to.join("index.html").display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_named_as_readers_know_them() {
        let name = |file| Page::parse(file, "").unwrap().name().to_owned();
        assert_eq!(name("README.md"), "README");
        assert_eq!(name("docs/src/guide/first.md"), "guide/first");
    }

    #[test]
    fn the_readme_shows_commands_that_our_programs_understand() {
        let pages = pages().unwrap();
        let checked: Vec<_> = pages.iter().flat_map(|page| host::check(page, &[])).collect();
        assert!(checked.iter().any(|command| command.words.starts_with(&["cargo".into(), "xtask".into()])));
        for command in checked {
            assert!(command.verdict.is_ok(), "{command:?}");
        }
    }
}
