// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl show`: all that is known of one pair.

use std::time::SystemTime;

use comfy_table::{Cell, Table};
use libstub::{ConsoleLogs, DiskDetails, Journal, LogSource, Name, PairDetails, XenHost};

use super::list;
use crate::output::{self, Tone, or_dash, say, seconds, toned};
use crate::report::Failure;
use crate::schema::{LogFile, Shown, timestamp};

/// The kernel's number for loop devices.
const LOOP_MAJOR: u32 = 7;

pub(crate) fn show(journal: &Journal, name: &str, as_json: bool) -> Result<(), Failure> {
    let name = Name::new(name).map_err(|error| Failure::name(&error))?;
    let details = libstub::show(&XenHost::open()?, journal, &name)?;
    let logs = ConsoleLogs::new(&name, &LogSource::ALL);
    let logs = logs.files().into_iter().map(|(domain, path)| LogFile { domain, path: path.to_owned() });
    let logs: Vec<LogFile> = logs.collect();
    if as_json {
        output::json(&Shown::new(&details, logs));
    } else {
        say(table(&details, &logs));
        if !details.disks.is_empty() {
            say("");
            say(disks(&details.disks));
        }
    }
    Ok(())
}

fn table(details: &PairDetails, logs: &[LogFile]) -> Table {
    let info = &details.info;
    let mut table = output::table();
    let mut row = |name: &str, value: Cell| {
        table.add_row([toned(name, Tone::Quiet), value]);
    };
    row("name", Cell::new(&info.name));
    row("uuid", Cell::new(info.uuid));
    row("state", list::state(info.state));
    row("supervised", Cell::new(if info.supervised { "yes" } else { "no" }));
    for (what, reason) in
        [("guest ended by", details.guest_shutdown), ("stubdom ended by", details.stubdom_shutdown)]
    {
        if let Some(reason) = reason {
            row(what, toned(reason, Tone::Bad));
        }
    }
    row("created", Cell::new(or_dash(details.created_at.map(since))));
    row("config", Cell::new(or_dash(details.config.as_ref().map(|path| path.display()))));
    let guest = format!(
        "domain {}, {} MiB, vcpus {}, {} s of CPU",
        or_dash(info.guest),
        info.memory_kib / 1024,
        info.vcpus,
        seconds(info.cpu_ms),
    );
    row("guest", Cell::new(guest));
    let stubdom = format!(
        "{}, domain {}, {} MiB, {} s of CPU",
        details.stubdom_name,
        or_dash(info.stubdom),
        info.stubdom_memory_kib / 1024,
        seconds(info.stubdom_cpu_ms),
    );
    row("stubdom", Cell::new(stubdom));
    let report = &details.report;
    let report = [
        ("protocol", report.protocol.clone()),
        ("stage", report.stage.map(|stage| stage.to_string())),
        ("QEMU", report.state.clone()),
        ("failed", report.failed.clone()),
        ("QEMU ended", report.qemu_exit.clone()),
    ];
    let report: Vec<String> =
        report.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
    row("it says", Cell::new(if report.is_empty() { "-".to_owned() } else { report.join(", ") }));
    if let Some(image) = &details.image {
        let directory = image.directory.as_ref().unwrap_or(&image.kernel).display();
        let of = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!(", {name} {value}")).unwrap_or_default()
        };
        let text = format!("{directory}{}{}", of("kernel", &image.kernel_release), of("QEMU", &image.qemu));
        row("image", Cell::new(text));
    }
    for log in logs {
        row(&format!("{}'s log", log.domain.as_str()), Cell::new(log.path.display()));
    }
    table
}

/// A moment, and how long ago it was.
fn since(at: SystemTime) -> String {
    let ago = at.elapsed().map(|ago| std::time::Duration::from_secs(ago.as_secs()));
    let ago = ago.map(|ago| format!(", {} ago", humantime::format_duration(ago))).unwrap_or_default();
    format!("{}{ago}", timestamp(at))
}

fn disks(disks: &[DiskDetails]) -> Table {
    let mut table = output::table();
    table.set_header(["DISK", "IN STUBDOM", "MODE", "DEVICE", "GUEST'S END", "STUBDOM'S END", "TARGET"]);
    let end = |state: &Option<String>| match state.as_deref() {
        Some("connected") => toned("connected", Tone::Good),
        Some(state) => toned(state, Tone::Uneasy),
        None => toned("-", Tone::Quiet),
    };
    for disk in disks {
        let device = disk.device.map(|(major, minor)| match major {
            LOOP_MAJOR => format!("loop{minor}"),
            _ => format!("{major}:{minor}"),
        });
        table.add_row([
            Cell::new(disk.vdev.as_deref().unwrap_or("rootfs")),
            Cell::new(or_dash(disk.stubdom_vdev.as_ref())),
            Cell::new(&disk.mode),
            Cell::new(or_dash(device)),
            end(&disk.guest_backend),
            end(&disk.stubdom_backend),
            Cell::new(disk.target.display()),
        ]);
    }
    table
}
