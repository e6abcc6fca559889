// SPDX-License-Identifier: GPL-3.0-only
//! What each kind of image costs to boot, in turns, and a shell script as PID 1 with the same kernels.

use std::path::Path;

use stub_tests::guest::{Guest, image};
use stub_tests::report::{Report, median, rounds};
use stub_tests::{shell, stubctl};

use super::Image;
use super::account::{Start, start};

/// What ours may take of the shell's CPU time until QEMU's exec, with the kernel that is made for stubdomains. A
/// distribution's takes more than that to boot alone, before any PID 1 has its turn.
const SHARE: f64 = 0.5;

const COLUMNS: [&str; 9] = [
    "image",
    "rootfs, B",
    "ramdisk, B",
    "CPU to user space, s",
    "CPU to exec, s",
    "CPU to ready, s",
    "create, s",
    "least CPU to ready, s",
    "spread of it, s",
];

/// One way to boot a stubdomain.
struct Case {
    name: String,
    lines: Vec<String>,
    sizes: [u64; 2],
    starts: Vec<Start>,
}

impl Case {
    fn new(name: &str, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Self { name: name.to_owned(), lines, sizes: [0, 0], starts: Vec::new() }
    }

    fn of(image: &Image) -> Self {
        let size = |name: &str| image.path.join(name).metadata().map_or(0, |file| file.len());
        let line = format!("stubdomain_image = \"{}\"", image.path.display());
        Self { sizes: ["rootfs.img", "ramdisk"].map(size), ..Self::new(&image.name, &[&line]) }
    }

    fn values(&self, value: impl Fn(&Start) -> Option<f64>) -> Vec<f64> {
        self.starts.iter().filter_map(value).collect()
    }

    fn cpu_to_exec(&self) -> f64 {
        median(&self.values(|start| Some(start.cpu_to_exec.as_secs_f64())))
    }

    fn row(&self) -> Vec<String> {
        let ready = self.values(|start| Some(start.cpu_to_ready.as_secs_f64()));
        let least = ready.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ready.iter().copied().fold(0.0, f64::max);
        let user_space = self.values(|start| Some(start.cpu_to_user_space?.as_secs_f64()));
        let create = self.values(|start| Some(start.wall.as_secs_f64()));
        let [rootfs, ramdisk] = self.sizes.map(|size| size.to_string());
        let times =
            [median(&user_space), self.cpu_to_exec(), median(&ready), median(&create), least, most - least];
        let times = times.map(|time| format!("{time:.2}"));
        [self.name.clone(), rootfs, ramdisk].into_iter().chain(times).collect()
    }
}

/// The images, and what the shell's ramdisk in `directory` is compared with.
fn cases(images: &[Image], directory: &Path) -> Vec<Case> {
    let memory = format!("stubdomain_memory = {}", shell::MEMORY_MIB);
    let mut cases: Vec<Case> = images.iter().map(Case::of).collect();
    let minimal = images.iter().find(|image| image.name == "minimal-erofs").map(|image| image.path.clone());
    for (name, path) in [("Debian's kernel", Some(image().into())), ("the minimal kernel", minimal)] {
        let Some(path) = path else { continue };
        let directory = directory.join(cases.len().to_string());
        std::fs::create_dir(&directory).expect("a directory");
        let image = format!("stubdomain_image = \"{}\"", path.display());
        let kernel = format!("stubdomain_kernel = \"{}/kernel\"", path.display());
        let ramdisk = format!("stubdomain_ramdisk = \"{}\"", shell::ramdisk(&directory, &path).display());
        // A kernel's own boot takes longer with more memory, so ours has as much as the shell needs.
        cases.push(Case::new(&format!("ours, {name}, as much memory as the shell"), &[&image, &memory]));
        let cmdline = format!("stubdomain_cmdline = \"{}\"", shell::CMDLINE);
        cases.push(Case::new(&format!("a shell as PID 1, {name}"), &[&kernel, &ramdisk, &cmdline, &memory]));
    }
    cases
}

/// Starts each of them in each round and ends it again; gives the goals that were missed.
pub(super) fn run(images: &[Image], report: &mut Report) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cases = cases(images, directory.path());
    let mut missed = Vec::new();
    for round in 0..rounds(5) {
        for case in &mut cases {
            let guest = case.lines.iter().fold(Guest::new(), |guest, line| guest.with(line));
            match start(&guest) {
                Ok(start) => {
                    println!("{}: {start:?}", case.name);
                    case.starts.push(start);
                    stubctl::destroy(&guest);
                }
                Err(error) => missed.push(format!("{} in round {round}: {error}", case.name)),
            }
        }
    }
    let rows: Vec<Vec<String>> = cases.iter().map(Case::row).collect();
    report.table("Booting, medians of the rounds", &COLUMNS, &rows);
    let share = |ours: &Case, shell: &Case| ours.cpu_to_exec() / shell.cpu_to_exec();
    if let [.., ours, shell, minimal, minimal_shell] = &cases[..] {
        report
            .note(format!("CPU to QEMU's exec, Debian's kernel: {:.3} of the shell's.", share(ours, shell)));
        let share = share(minimal, minimal_shell);
        let verdict = if share <= SHARE { "reached" } else { "MISSED" };
        report.note(format!(
            "CPU to QEMU's exec, the minimal kernel: {share:.3} of the shell's, at most {SHARE}: {verdict}."
        ));
        if share > SHARE {
            missed.push(format!("{share:.3} of the shell's CPU"));
        }
    }
    missed
}
