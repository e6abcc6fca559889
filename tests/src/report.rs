// SPDX-License-Identifier: GPL-3.0-only
//! What a bench found: tables of text and numbers, handed to `cargo xtask bench` as one line.

use serde_json::{Value, json};

/// A figure that may not be larger than another.
#[derive(Debug)]
struct Goal {
    what: String,
    value: f64,
    most: f64,
}

impl Goal {
    fn is_reached(&self) -> bool {
        // What cannot be measured is not reached either.
        self.value <= self.most
    }
}

/// A report under way.
#[derive(Debug)]
pub struct Report {
    title: String,
    tables: Vec<Value>,
    bars: Vec<Value>,
    goals: Vec<Goal>,
    notes: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            tables: Vec::new(),
            bars: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a table; every row has as many cells as there are columns.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: &[Vec<String>]) {
        self.tables.push(json!({ "title": title, "columns": columns, "rows": rows }));
    }

    /// Adds a drawing: a bar for each name and value.
    pub fn bars(&mut self, title: &str, bars: &[(String, f64)]) {
        let bars: Vec<Value> = bars.iter().map(|(name, value)| json!([name, value])).collect();
        self.bars.push(json!({ "title": title, "bars": bars }));
    }

    /// Adds what was to be reached: a value, and the most that it may be.
    pub fn goal(&mut self, what: &str, value: f64, most: f64) {
        self.goals.push(Goal { what: what.to_owned(), value, most });
    }

    /// The goals that were not reached.
    pub fn missed(&self) -> Vec<String> {
        self.goals.iter().filter(|goal| !goal.is_reached()).map(|goal| goal.what.clone()).collect()
    }

    /// Adds a sentence below the tables.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Hands it over.
    pub fn publish(mut self) {
        if !self.goals.is_empty() {
            let verdict = |goal: &Goal| if goal.is_reached() { "reached" } else { "MISSED" };
            let row = |goal: &Goal| {
                vec![
                    goal.what.clone(),
                    format!("{:.3}", goal.value),
                    format!("{:.2}", goal.most),
                    verdict(goal).into(),
                ]
            };
            let rows: Vec<Vec<String>> = self.goals.iter().map(row).collect();
            self.table("Goals", &["goal", "measured", "at most", "verdict"], &rows);
        }
        let Self { title, tables, bars, notes, .. } = self;
        let report = json!({ "title": title, "tables": tables, "bars": bars, "notes": notes });
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
    fn a_goal_is_missed_by_more_and_by_what_is_no_number() {
        let mut report = Report::new("Goals");
        for (what, value) in [("equal", 0.5), ("more", 0.51), ("none", f64::NAN)] {
            report.goal(what, value, 0.5);
        }
        assert_eq!(report.missed(), ["more", "none"]);
    }

    #[test]
    fn the_middle_is_between_the_two_of_an_even_count() {
        assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])], [2.0, 2.5, 0.0]);
    }
}
