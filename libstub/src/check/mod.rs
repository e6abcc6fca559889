// SPDX-License-Identifier: GPL-3.0-only
//! Whether this host can start pairs: what was found, what it means, what to do about it.
//!
//! `machine` has what every pair needs, and [`unfit`] makes a create's preflight of the same list; `store` and
//! `stock` have what only a person asks for. Works where there is no Xen at all.

mod machine;
mod stock;
mod store;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use xen_sys::PhysInfo;

use crate::host::{HostError, Hypervisor as _, Machine as _, Unfit, XenHost, late_store};
use crate::journal::Journal;

/// How long xenstored may take for its answer: it needs less than a millisecond.
const ANSWER: Duration = Duration::from_secs(3);

/// What to check.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Where the records of pairs are kept.
    pub journal: Journal,
    /// How long to wait for a xenstored that is started late.
    pub wait: Option<Duration>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// All findings, in the order in which things depend on each other.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; the same in every release.
    pub name: &'static str,
    /// What it means.
    pub status: FindingStatus,
    /// What was seen.
    pub what: String,
    /// What to do about it, unless it is well.
    pub remedy: Option<String>,
}

/// What a [`Finding`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingStatus {
    /// It is as it should be.
    Ok,
    /// Pairs start, and something is worse than it could be.
    Warning,
    /// A pair would be refused.
    Failure,
}

impl FindingStatus {
    /// The status as users and scripts read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl CheckReport {
    /// Whether a pair can be started: nothing failed.
    pub fn usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.status != FindingStatus::Failure)
    }
}

impl Finding {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, status: FindingStatus::Ok, what: what.into(), remedy: None }
    }

    fn warning(name: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: FindingStatus::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn failure(name: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: FindingStatus::Failure, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn failed(&self) -> bool {
        self.status == FindingStatus::Failure
    }
}

/// What Xen says about itself and its host.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// As in directory names: `4.17`.
    pub(crate) release: String,
    /// With everything that its builder added.
    pub(crate) version: String,
    pub(crate) abilities: PhysInfo,
}

/// Looks at this host. Changes nothing; waits for xenstored if it is told to, and for nothing else.
pub fn check(options: &CheckOptions) -> CheckReport {
    let root = Path::new("/");
    let deadline = Instant::now() + options.wait.unwrap_or_default();
    let mut findings = vec![machine::hypervisor(root)];
    if findings.iter().any(Finding::failed) {
        findings.extend(machine::without_xen(root));
        findings.push(stock::image(xen_sys::BUILT_FOR, &options.journal, None));
        findings.push(stock::journal(&options.journal, None));
        return CheckReport { findings };
    }
    findings.extend(machine::devices(root));
    let socket = late_store::socket();
    // Whether somebody is there is the next finding's to tell, and why not.
    let _ = late_store::wait(&socket, deadline);
    let open = XenHost::open();
    let facts =
        open.as_ref().map_err(describe).and_then(|host| host.facts().map_err(|error| describe(&error)));
    findings.push(machine::version(&facts));
    findings.push(store::server(root, &socket));
    if let Ok(host) = &open {
        let limit = ANSWER.max(deadline.saturating_duration_since(Instant::now()));
        findings.push(store::answer(host.store_domain(limit).map_err(|error| describe(&error))));
    }
    let facts = facts.as_ref().ok();
    findings.extend(machine::needed(root, facts));
    findings.push(machine::console_log(root));
    let boot_id = open.as_ref().ok().and_then(|host| host.boot_id().ok());
    findings.push(stock::image(machine::release(facts), &options.journal, boot_id.as_deref()));
    findings.push(stock::journal(&options.journal, boot_id.as_deref()));
    if let Ok(host) = &open {
        let free = host.free_memory().map_err(|error| describe(&error));
        findings.push(stock::memory(free, machine::release(facts)));
    }
    CheckReport { findings }
}

/// What every pair needs and this host lacks.
pub(crate) fn unfit(root: &Path, facts: &Facts) -> Vec<Unfit> {
    let failed = machine::needed(root, Some(facts)).into_iter().filter(Finding::failed);
    failed.map(|finding| Unfit { what: finding.what, remedy: finding.remedy.unwrap_or_default() }).collect()
}

/// An error and its causes in one line.
fn describe(error: &HostError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
