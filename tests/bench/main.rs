// SPDX-License-Identifier: GPL-3.0-only
//! What figures are measured with, in the lab's dom0. `cargo xtask bench NAME` boots it, runs this, and makes the report.
//!
//! A figure is a line `@figure {"case": …, "figure": …, "unit": …, "value": …}`; a line `@note TEXT` goes below the table.

mod boot;
mod memory;
mod start;

use std::process::ExitCode;

use serde_json::json;

/// Tells one measurement.
fn figure(case: &str, figure: &str, unit: &str, value: f64) {
    println!("@figure {}", json!({ "case": case, "figure": figure, "unit": unit, "value": value }));
}

/// Tells what a figure does not.
fn note(text: &str) {
    println!("@note {text}");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["boot", rounds, images] => boot::run(rounds.parse().expect("a number of rounds"), images.as_ref()),
        ["memory", images] => memory::run(images.as_ref()),
        _ => {
            eprintln!("usage: bench boot ROUNDS IMAGES | bench memory IMAGES");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
