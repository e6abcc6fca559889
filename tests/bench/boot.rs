// SPDX-License-Identifier: GPL-3.0-only
//! What each kind of image costs to boot, in turns, against a shell script as PID 1 with the same kernel.

use std::fs;
use std::path::{Path, PathBuf};

use stub_tests::guest::{Guest, image};
use stub_tests::{shell, stubctl};

use crate::start::start;
use crate::{figure, note};

/// One way to boot a stubdomain.
struct Case {
    name: String,
    lines: Vec<String>,
}

/// Every image below `images`, and the shell's ramdisk in `directory`.
fn cases(images: &Path, directory: &Path) -> Vec<Case> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(images).expect("images").map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    let mut cases: Vec<Case> = found
        .into_iter()
        .map(|path| Case {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            lines: vec![format!("stubdomain_image = \"{}\"", path.display())],
        })
        .collect();
    let memory = format!("stubdomain_memory = {}", shell::MEMORY_MIB);
    // The kernel's own boot takes longer with more memory: one of ours has as much as the shell needs.
    cases.push(Case { name: format!("installed, {} MiB", shell::MEMORY_MIB), lines: vec![memory.clone()] });
    let ramdisk = shell::ramdisk(directory);
    let kernel = format!("stubdomain_kernel = \"{}/kernel\"", image());
    let ramdisk = format!("stubdomain_ramdisk = \"{}\"", ramdisk.display());
    let name = format!("shell, {} MiB", shell::MEMORY_MIB);
    cases.push(Case { name, lines: vec![kernel, ramdisk, memory] });
    cases
}

/// Starts each of them in each round, and ends it again.
pub(crate) fn run(rounds: u32, images: &Path) {
    let directory = tempfile::tempdir().expect("a directory");
    let cases = cases(images, directory.path());
    for _ in 0..rounds {
        for Case { name, lines } in &cases {
            let guest = lines.iter().fold(Guest::new(), |guest, line| guest.with(line));
            match start(&guest) {
                Ok(start) => {
                    if let Some(cpu) = start.cpu_to_user_space {
                        figure(name, "CPU to user space", "s", cpu.as_secs_f64());
                    }
                    figure(name, "CPU to exec", "s", start.cpu_to_exec.as_secs_f64());
                    figure(name, "CPU to ready", "s", start.cpu_to_ready.as_secs_f64());
                    figure(name, "create", "s", start.wall.as_secs_f64());
                    stubctl::destroy(&guest);
                }
                Err(error) => note(&format!("{name}: {error}")),
            }
        }
    }
}
