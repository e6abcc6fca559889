// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl create`: starts a pair, or tells what it would do.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::Cell;
use libstub::config::Loaded;
use libstub::host::Machine as _;
use libstub::{Code, Event, GuestConfig, Image, Journal, Preflight, XenHost};

use crate::output::{self, note, or_dash, say};
use crate::report::Failure;
use crate::run::Loop;
use crate::schema::{Created, DryRun};
use crate::timeline;

/// What to create.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// The config
    cfg: PathBuf,
    /// Set a key of the config, in place of what the file says; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Config {
    /// Reads it, and tells its author what he should know.
    pub(super) fn read(&self) -> Result<GuestConfig, Failure> {
        let Loaded { config, warnings } = GuestConfig::read_with(&self.cfg, &self.set)?;
        for warning in &warnings {
            eprintln!("{warning}");
        }
        Ok(config)
    }
}

/// How to create.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    config: Config,
    /// Check everything and tell what would be done; do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Tell what happens, each with its time
    #[arg(long)]
    timings: bool,
    /// Draw what happens, each with its time, into this file as SVG
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Wait this long for a xenstored that is started late
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds)]
    wait: Option<Duration>,
}

pub(crate) fn create(journal: Journal, create: &Create, as_json: bool) -> Result<(), Failure> {
    // Before anything else: a config is wrong where there is no Xen as well.
    let config = create.config.read()?;
    let host = match create.wait {
        Some(limit) => XenHost::open_waiting(limit)?,
        None => XenHost::open()?,
    };
    warn_of_shell(&config, &host);
    if create.dry_run {
        let preflight = libstub::preflight(&host, &journal, &config)?;
        if as_json {
            output::json(&DryRun::from(&preflight));
        } else {
            print(&preflight);
        }
        return Ok(());
    }
    let name = config.name.clone();
    // A file that cannot be written is no reason to have started a guest.
    let drawing = create.timeline.as_deref().map(Drawing::open).transpose()?;
    let mut event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let operation =
        libstub::create(Box::new(host), journal, config).map_err(|error| Failure::internal(&error))?;
    let mut events: Vec<Event> = Vec::new();
    let tell = |event: Event| {
        if create.timings && !as_json {
            say(format_args!("{:8.3} s  {}", event.at.as_secs_f64(), event.milestone));
        }
        events.push(event);
    };
    let result = event_loop.run(operation, tell).map_err(|error| Failure::interrupted(&error, Some(&name)));
    if let Some(drawing) = drawing {
        drawing.write(&timeline::draw(&name, &events));
    }
    let pair = result??;
    if as_json {
        output::json(&Created::new(&pair, &events));
    } else {
        say(format_args!("{} runs: guest {}, stubdom {}", pair.name, pair.guest, pair.stubdom));
    }
    Ok(())
}

/// Where the timeline goes.
struct Drawing<'a> {
    file: fs::File,
    path: &'a Path,
}

impl<'a> Drawing<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        let file = fs::File::create(path).map_err(|error| Failure::unwritable(path, &error))?;
        Ok(Self { file, path })
    }

    /// The guest's fate does not hang on it.
    fn write(mut self, text: &str) {
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            note(format_args!("warning: the timeline is not in {}: {error}", self.path.display()));
        }
    }
}

/// What cannot be used is the create's to tell.
fn warn_of_shell(config: &GuestConfig, host: &XenHost) {
    let image = Image::resolve(&config.stubdom, &host.xen_release());
    if image.is_ok_and(|image| image.debug_shell) {
        let code = Code::ImageDebugShell;
        note(format_args!("warning[{code}]: {} What to do: {}", code.meaning(), code.remedy()));
    }
}

fn print(preflight: &Preflight) {
    let Preflight { name, stubdom_name, image, memory, free, .. } = preflight;
    let mib = |kib: libstub::Kib| format!("{} MiB", kib.get().div_ceil(1024));
    let parts = [Some(&image.kernel), image.ramdisk.as_ref(), image.rootfs.as_ref()];
    let parts: Vec<String> = parts.into_iter().flatten().map(|path| path.display().to_string()).collect();
    say(output::properties([
        ("guest", name.to_string()),
        ("stubdom", stubdom_name.clone()),
        ("uuid", preflight.uuid.map_or_else(|| "a new one".to_owned(), |uuid| uuid.to_string())),
        ("image", or_dash(image.directory.as_ref().map(|directory| directory.display()))),
        ("its files", parts.join("\n")),
        ("kernel", or_dash(image.kernel_release.as_ref())),
        ("QEMU", or_dash(image.qemu.as_ref())),
        (
            "memory",
            format!(
                "{} of {} that are free: guest {}, its page tables {}, stubdom {}, Xen's own {}",
                mib(memory.total()),
                mib(*free),
                mib(memory.guest),
                mib(memory.paging_pool),
                mib(memory.stubdom),
                mib(memory.overhead),
            ),
        ),
    ]));
    let mut disks = output::table();
    disks.set_header(["DISK", "MODE", "KIND", "TARGET"]);
    for disk in &preflight.disks {
        disks.add_row([
            Cell::new(disk.vdev.map_or_else(|| "rootfs".to_owned(), |vdev| vdev.to_string())),
            Cell::new(disk.mode.as_str()),
            Cell::new(match disk.kind {
                libstub::host::DiskKind::File => "file",
                libstub::host::DiskKind::BlockDevice => "block device",
            }),
            Cell::new(disk.target.display()),
        ]);
    }
    say(disks);
    if let Some(left) = preflight.left {
        let why = left.in_words();
        say(format_args!(
            "what is left of an earlier {name} would be removed first: {why}; its disks may be held"
        ));
    }
    say(format_args!("{name} could be created; nothing was done"));
}
