// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl check`: whether this host can start pairs.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use libstub::{CheckOptions, CheckReport, FindingStatus, Journal};

use crate::exit_code::Status;
use crate::output::{self, Tone, say, toned};
use crate::schema::Checked;

pub(crate) fn check(journal: Journal, wait: Option<Duration>, as_json: bool) -> ExitCode {
    let report = libstub::check(&CheckOptions { journal, wait });
    if as_json {
        output::json(&Checked::from(&report));
    } else {
        print(&report);
    }
    if report.usable() { ExitCode::SUCCESS } else { Status::HostUnusable.into() }
}

fn print(report: &CheckReport) {
    let mut table = output::table();
    for finding in &report.findings {
        let tone = match finding.status {
            FindingStatus::Ok => Tone::Good,
            FindingStatus::Warning => Tone::Uneasy,
            FindingStatus::Failure => Tone::Bad,
        };
        let status = toned(finding.status.as_str(), tone);
        table.add_row([status, Cell::new(finding.name), Cell::new(&finding.what)]);
        if let Some(remedy) = &finding.remedy {
            table.add_row([Cell::new(""), toned("what to do:", Tone::Quiet), Cell::new(remedy)]);
        }
    }
    say(table);
    let count = |status| report.findings.iter().filter(|finding| finding.status == status).count();
    let (failures, warnings) = (count(FindingStatus::Failure), count(FindingStatus::Warning));
    let verdict = if report.usable() { "this host can start pairs" } else { "this host cannot start pairs" };
    say(format_args!("{verdict}: failures {failures}, warnings {warnings}"));
}
