// SPDX-License-Identifier: GPL-3.0-only
//! What a bench found: tables of text and numbers, handed to `cargo xtask bench` as one line.

use serde_json::{Value, json};

/// A report under way.
#[derive(Debug)]
pub struct Report {
    title: String,
    tables: Vec<Value>,
    notes: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), tables: Vec::new(), notes: Vec::new() }
    }

    /// Adds a table; every row has as many cells as there are columns.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: &[Vec<String>]) {
        self.tables.push(json!({ "title": title, "columns": columns, "rows": rows }));
    }

    /// Adds a sentence below the tables.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Hands it over.
    pub fn publish(self) {
        let report = json!({ "title": self.title, "tables": self.tables, "notes": self.notes });
        println!("bench-report: {report}");
    }
}

/// The middle of some values; zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// How often each thing is to be measured.
pub fn rounds(usual: usize) -> usize {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_between_the_two_of_an_even_count() {
        assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])], [2.0, 2.5, 0.0]);
    }
}
