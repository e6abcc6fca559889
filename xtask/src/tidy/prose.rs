// SPDX-License-Identifier: GPL-3.0-only
//! House rules about what people read: links and paths lead somewhere, the book has all its pages, the changelog goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::Fault;
use crate::markdown::{Kind, pieces};

const CHANGELOG: &str = "CHANGELOG.md";
const SUMMARY: &str = "docs/src/SUMMARY.md";
const BOOK: &str = "docs/src";

/// The pages of the repository, and what they may lead to.
pub(crate) struct Pages {
    texts: BTreeMap<String, String>,
    /// Files, and all directories that have some.
    places: BTreeSet<PathBuf>,
    version: String,
}

impl Pages {
    /// Reads those of this workspace.
    pub(super) fn of_workspace() -> Result<Self> {
        let texts = super::tracked(&["*.md"])?
            .into_iter()
            .map(|file| Ok((file.clone(), super::read(&file)?)))
            .collect::<Result<_>>()?;
        Ok(Self::new(texts, super::tracked(&["*"])?, env!("CARGO_PKG_VERSION")))
    }

    fn new(texts: BTreeMap<String, String>, files: Vec<String>, version: &str) -> Self {
        let places = files
            .iter()
            .flat_map(|file| Path::new(file).ancestors())
            .filter(|place| *place != Path::new(""))
            .map(Path::to_owned)
            .collect();
        Self { texts, places, version: version.to_owned() }
    }
}

pub(super) fn faults(pages: &Pages) -> Vec<Fault> {
    let mut faults = Vec::from_iter(changelog(pages));
    for (page, text) in &pages.texts {
        faults.extend(leads(pages, page, text));
    }
    faults.extend(book(pages));
    faults
}

/// Every change has a place to be told at.
fn changelog(pages: &Pages) -> Option<Fault> {
    let current = format!("## {}", pages.version);
    let text = pages.texts.get(CHANGELOG).map(String::as_str).unwrap_or_default();
    let told = text.lines().any(|line| line.starts_with("## Unreleased") || line.starts_with(&current));
    (!told).then(|| format!("{CHANGELOG}: it has neither `## Unreleased` nor `{current}`"))
}

/// Links to files, and paths in `code`, lead to something in the repository.
fn leads(pages: &Pages, page: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for piece in pieces(text) {
        let (what, place) = match &piece.kind {
            Kind::Link(to) => match target(page, to) {
                Some(place) => (to, place),
                None => continue,
            },
            // Older entries may name what is no more.
            Kind::Code(code) if page != CHANGELOG && pages.is_path(code) => (code, PathBuf::from(code)),
            _ => continue,
        };
        if !pages.places.contains(&place) {
            faults.push(format!("{page}:{}: {what} leads nowhere", piece.line));
        }
    }
    faults
}

/// The file in the repository that a link of a page is for; links to other places are not ours to judge.
fn target(page: &str, link: &str) -> Option<PathBuf> {
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() || file.contains(':') {
        return None;
    }
    let mut place = PathBuf::from(page);
    place.pop();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir if place.pop() => {}
            Component::ParentDir => return Some(PathBuf::from("..").join(file)),
            Component::Normal(name) => place.push(name),
            _ => {}
        }
    }
    Some(place)
}

impl Pages {
    /// Whether a piece of code is a path that begins at the repository's root.
    fn is_path(&self, code: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let begins = code.split_once('/').is_some_and(|(first, _)| self.places.contains(Path::new(first)));
        begins && code.chars().all(plain)
    }
}

/// Each page of the book is in its summary.
fn book(pages: &Pages) -> Vec<Fault> {
    let mut listed = BTreeSet::new();
    for piece in pieces(pages.texts.get(SUMMARY).map(String::as_str).unwrap_or_default()) {
        if let Kind::Link(to) = &piece.kind {
            listed.extend(target(SUMMARY, to));
        }
    }
    let unlisted = |page: &&String| {
        let path = Path::new(page.as_str());
        path.starts_with(BOOK) && page.as_str() != SUMMARY && !listed.contains(path)
    };
    pages.texts.keys().filter(unlisted).map(|page| format!("{page}: {SUMMARY} does not list it")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(texts: &[(&str, &str)]) -> Pages {
        let texts: BTreeMap<String, String> =
            texts.iter().map(|(page, text)| (page.to_string(), text.to_string())).collect();
        let mut files: Vec<String> = texts.keys().cloned().collect();
        files.push("xtask/src/lab/mod.rs".to_owned());
        Pages::new(texts, files, "0.1.0")
    }

    #[test]
    fn the_changelog_tells_of_what_is_new() {
        let found = |text| changelog(&pages(&[("CHANGELOG.md", text)])).is_some();
        assert!(!found("# Changelog\n\n## Unreleased\n"));
        assert!(!found("# Changelog\n\n## 0.1.0 - today\n"));
        assert!(found("# Changelog\n\n## 0.0.9\n"));
        assert!(changelog(&pages(&[])).is_some());
    }

    #[test]
    fn links_and_paths_lead_somewhere() {
        let found = |text| {
            let pages =
                pages(&[("README.md", text), ("docs/src/a.md", "[up](../../README.md#top), [b](b.md)")]);
            leads(&pages, "README.md", text).len()
        };
        assert_eq!(
            found("[a](docs/src/a.md#x) [here](#y) [there](https://example.org/a.md) `xtask/src/lab/`"),
            0
        );
        assert_eq!(found("[a](docs/a.md)"), 1);
        assert_eq!(found("[out](../secret.md)"), 1);
        assert_eq!(found("`xtask/src/lob/`"), 1);
        assert_eq!(found("`xtask/src/*.rs` `target/lab/up/` `cargo xtask`"), 0);
        let pages = pages(&[("README.md", ""), ("docs/src/a.md", "[up](../../README.md#top), [b](b.md)")]);
        assert_eq!(
            leads(&pages, "docs/src/a.md", &pages.texts["docs/src/a.md"]),
            ["docs/src/a.md:1: b.md leads nowhere"]
        );
    }

    #[test]
    fn a_page_that_no_reader_would_find_is_found() {
        let summary = "# Summary\n\n- [A](a.md)\n- [C](sub/c.md)\n";
        let whole = [("docs/src/SUMMARY.md", summary), ("docs/src/a.md", ""), ("docs/src/sub/c.md", "")];
        assert_eq!(book(&pages(&whole)).len(), 0);
        let more = [whole[0], whole[1], whole[2], ("docs/src/lost.md", "")];
        assert_eq!(book(&pages(&more)), ["docs/src/lost.md: docs/src/SUMMARY.md does not list it"]);
        let less = pages(&[whole[0], whole[1]]);
        assert_eq!(leads(&less, "docs/src/SUMMARY.md", summary).len(), 1);
    }
}
