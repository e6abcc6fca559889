// SPDX-License-Identifier: GPL-3.0-only
//! The table of keys as a page of the documentation.

use std::fmt::Write as _;

use super::table::{Key, Only, Status, keys};

/// The reference of all keys, in Markdown.
pub fn reference() -> String {
    let mut page = "<!-- Made from libstub/src/config/rows.rs by `libstub::config::reference`. -->\n\
         # Config keys\n\n\
         A config is an xl.cfg(5) file. Every key of Xen 4.17 to 4.22 has a row here; any other key is an error.\n\
         A key that is set twice has its last value, and a warning tells so. `+=` adds to a string or a list.\n"
        .to_owned();
    section(&mut page, "Served", "", ["Key", "Takes", "Default", "Meaning"], |key| match key.status {
        Status::Served { takes, default } => Some([takes.to_owned(), default.to_owned()].to_vec()),
        _ => None,
    });
    section(
        &mut page,
        "Not supported yet",
        "These are refused, because a guest without them is another guest. A value under *only* says what \
         happens anyway, and is taken.\n",
        ["Key", "Only", "Meaning", ""],
        |key| match key.status {
            Status::NotYet { only } => {
                let values = only.iter().map(|value| match value {
                    Only::Same(key) => format!("what `{key}` is"),
                    value => format!("`{value}`"),
                });
                Some(vec![values.collect::<Vec<_>>().join(", ")])
            }
            _ => None,
        },
    );
    section(
        &mut page,
        "Not with a stubdomain",
        "These are refused, and will be.\n",
        ["Key", "Why", "Meaning", ""],
        |key| match key.status {
            Status::NotWithStubdom { reason } => Some(vec![reason.to_owned()]),
            _ => None,
        },
    );
    section(
        &mut page,
        "Ignored",
        "These change nothing for a guest with a stubdomain, and are ignored with a warning.\n",
        ["Key", "Why", "Meaning", ""],
        |key| match key.status {
            Status::Ignored { reason } => Some(vec![reason.to_owned()]),
            _ => None,
        },
    );
    page
}

/// A heading and the table of those keys that `cells` takes.
fn section(
    page: &mut String,
    title: &str,
    text: &str,
    head: [&str; 4],
    cells: impl Fn(&Key) -> Option<Vec<String>>,
) {
    let head: Vec<&str> = head.into_iter().filter(|cell| !cell.is_empty()).collect();
    let rule = vec!["---"; head.len()].join(" | ");
    let _ = write!(page, "\n## {title}\n\n{text}");
    if !text.is_empty() {
        page.push('\n');
    }
    let _ = writeln!(page, "| {} |\n| {rule} |", head.join(" | "));
    let mut rows: Vec<&Key> = keys().iter().collect();
    rows.sort_by_key(|key| key.name);
    for key in rows {
        if let Some(cells) = cells(key) {
            let cells = cells.join(" | ");
            let _ = writeln!(page, "| `{}` | {cells} | {} |", key.name, key.meaning);
        }
    }
}
