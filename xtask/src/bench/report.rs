// SPDX-License-Identifier: GPL-3.0-only
//! What a bench found, with the machine, the versions and the date: as JSON, and as a page to read.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::bars;
use crate::image::Which;
use crate::workspace;

/// Writes `target/bench/NAME.json` and `NAME.md`, and shows the page.
pub(super) fn publish(name: &str, which: Which, report: &str) -> Result<()> {
    let mut report: Value = serde_json::from_str(report).context("the report of a bench")?;
    report["about"] = about(which);
    let directory = workspace().join("target/bench");
    fs::create_dir_all(&directory)?;
    let mut page = page(&report);
    if let Some(drawing) = bars::draw(&report) {
        fs::write(directory.join(format!("{name}.svg")), drawing)?;
        let _ = write!(page, "\n![The same as a drawing]({name}.svg)\n");
    }
    fs::write(directory.join(format!("{name}.json")), format!("{report:#}\n"))?;
    fs::write(directory.join(format!("{name}.md")), &page)?;
    println!("{page}\n{}", directory.join(format!("{name}.md")).display());
    Ok(())
}

/// Where and of what it was measured.
fn about(which: Which) -> Value {
    let said = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).current_dir(workspace()).output().ok();
        let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> =
        cpu.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    json!({
        "date": said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        "commit": said("git", &["describe", "--always", "--dirty"]),
        "machine": format!("{} x {}", models.len(), models.first().copied().unwrap_or("unknown CPU")),
        "emulator": said("qemu-system-x86_64", &["--version"]),
        "image": which.name(),
    })
}

/// The report as Markdown.
fn page(report: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut page = format!("# {}\n\n", text(&report["title"]));
    for (key, value) in report["about"].as_object().into_iter().flatten() {
        let _ = writeln!(page, "- {key}: {}", text(value));
    }
    for table in list(&report["tables"]) {
        let _ = writeln!(page, "\n## {}\n", text(&table["title"]));
        let row = |cells: &[Value]| format!("| {} |", cells.iter().map(text).collect::<Vec<_>>().join(" | "));
        let columns = list(&table["columns"]);
        let _ = writeln!(page, "{}\n|{}", row(&columns), " --- |".repeat(columns.len()));
        for cells in list(&table["rows"]) {
            let _ = writeln!(page, "{}", row(&list(&cells)));
        }
    }
    for note in list(&report["notes"]) {
        let _ = write!(page, "\n{}\n", text(&note));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_becomes_a_page() {
        let report = json!({
            "title": "Sizes", "about": { "date": "today" }, "notes": ["Lower is better."],
            "tables": [{ "title": "Files", "columns": ["file", "bytes"], "rows": [["kernel", 12]] }],
        });
        let expected = "# Sizes\n\n- date: today\n\n## Files\n\n| file | bytes |\n| --- | --- |\n| kernel | 12 |\n\
                        \nLower is better.\n";
        assert_eq!(page(&report), expected);
    }
}
