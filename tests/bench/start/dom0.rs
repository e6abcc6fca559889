// SPDX-License-Identifier: GPL-3.0-only
//! What dom0 has spent so far, and what it has left.

use std::fs;
use std::process::Command;

use stub_tests::probe::names;
use xen_sys::{Ctrl, DomId};

/// dom0's kernel counts in it how often an event came to pass.
const TRACING: &str = "/sys/kernel/tracing";
/// xenstored's own account of what it is asked.
const STORE_LOG: &str = "/run/bench-xenstored.log";

/// Readings of dom0 at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// CPU seconds by Xen's accounting.
    pub(crate) cpu: f64,
    pub(crate) forks: f64,
    /// Calls of dom0's programs into Xen.
    pub(crate) hypercalls: f64,
    pub(crate) store_requests: f64,
    /// Memory of all processes, what several share counted once, in MiB.
    pub(crate) processes: f64,
    /// Memory that is neither free nor a process's nor a file's, in MiB.
    pub(crate) kernel: f64,
    /// Xen's free memory in MiB.
    pub(crate) free: f64,
}

/// Has dom0's kernel count the calls into Xen, and xenstored its requests.
pub(crate) fn count_calls() {
    let mounted = Command::new("mount").args(["-t", "tracefs", "tracefs", TRACING]).status();
    assert!(mounted.expect("mount").success(), "no tracefs");
    let set = |file: &str, text: &str| fs::write(format!("{TRACING}/{file}"), text).expect(file);
    set("kprobe_events", "p:lab/xen privcmd_ioctl\n");
    set("events/lab/xen/enable", "1");
    for words in [["logfile", STORE_LOG], ["log", "on"]] {
        let told = Command::new("xenstore-control").args(words).output().expect("xenstore-control in PATH");
        assert!(told.status.success(), "{told:?}");
    }
}

impl Reading {
    pub(crate) fn take(ctrl: &Ctrl) -> Self {
        let dom0 = ctrl.domain_info(DomId::DOM0).expect("a domain").expect("dom0");
        let memory = ctrl.phys_info().expect("Xen's memory");
        let pages = u32::try_from(memory.free_pages + memory.scrub_pages).expect("a small machine");
        Self {
            cpu: dom0.cpu_time.as_secs_f64(),
            forks: number(&text("/proc/stat"), "processes "),
            hypercalls: hypercalls(),
            store_requests: store_requests(),
            processes: processes(),
            kernel: kernel(),
            free: f64::from(pages) / 256.0,
        }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).expect(path)
}

/// The number after `name` at a line's beginning.
fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)).expect(name);
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect(name)
}

fn hypercalls() -> f64 {
    number(&text(&format!("{TRACING}/kprobe_profile")), "xen ")
}

fn store_requests() -> f64 {
    let log = fs::read(STORE_LOG).unwrap_or_default();
    let requests = String::from_utf8_lossy(&log)
        .lines()
        .filter(|line| line.contains(" IN ") || line.starts_with("IN "))
        .count();
    f64::from(u32::try_from(requests).expect("few"))
}

fn processes() -> f64 {
    let pids = names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let kib: f64 = pids
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter(|text| text.contains("Pss:"))
        .map(|text| number(&text, "Pss:"))
        .sum();
    kib / 1024.0
}

fn kernel() -> f64 {
    let text = text("/proc/meminfo");
    let others = ["MemFree:", "Buffers:", "Cached:", "AnonPages:", "SReclaimable:"];
    let kib = others.iter().fold(number(&text, "MemTotal:"), |left, name| left - number(&text, name));
    kib / 1024.0
}
