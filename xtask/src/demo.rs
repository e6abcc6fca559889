// SPDX-License-Identifier: GPL-3.0-only
//! From this machine to a Linux guest on a real Xen, and what happened on the way, drawn.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::image::{self, Which};
use crate::lab::Lab;
use crate::{build, guest, packages};

const SCRIPT: &str = include_str!("lab/demo.sh");

/// Seconds that the demo's script may take.
const DEADLINE: u64 = 600;

/// How wide a drawn second-by-second line may be.
const WIDTH: f64 = 60.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let xen = args.which.xen;
    packages::ensure(&[packages::BUILD, packages::LAB, packages::IMAGE, packages::GUEST])?;
    let mut lab = Lab::new("demo", xen, "4G", DEADLINE);
    lab.install(&build::release(xen)?, &image::ensure(args.which)?);
    lab.put_as(&guest::linux_disk(xen)?, "guest.img");
    let mut timeline = Timeline::default();
    let status = lab.run(SCRIPT, |line| {
        timeline.take(line);
        match line.strip_prefix("@@ ") {
            Some(heading) => println!("\n\u{2500}\u{2500} {heading}"),
            None => println!("   {line}"),
        }
    })?;
    timeline.draw();
    let verdict =
        if status == 0 { "a Linux guest ran, and nothing of it was left" } else { "the demo failed" };
    println!(
        "\n{verdict} ({:.0} s in all; the logs are in {})",
        started.elapsed().as_secs_f64(),
        lab.logs().display()
    );
    Ok(ExitCode::from(status))
}

/// The milestones of the create, as `stubctl --timings` printed them.
#[derive(Default)]
struct Timeline(Vec<(f64, String)>);

impl Timeline {
    fn take(&mut self, line: &str) {
        if let Some((seconds, what)) = line.trim_start().split_once(" s  ")
            && let Ok(seconds) = seconds.parse()
        {
            self.0.push((seconds, what.to_owned()));
        }
    }

    fn draw(&self) {
        let Some((total, _)) = self.0.last() else { return };
        println!("\n\u{2500}\u{2500} the start of the pair, drawn");
        let mut before = 0.0;
        for (at, what) in &self.0 {
            let cell = |seconds: f64| (seconds / total * WIDTH).round().clamp(0.0, WIDTH);
            let indent = " ".repeat(as_count(cell(before)));
            let bar = "\u{2588}".repeat(as_count((cell(*at) - cell(before)).max(1.0)));
            println!("   {at:7.2} s  {indent}{bar} {what}");
            before = *at;
        }
    }
}

/// A small non-negative float as a count.
fn as_count(cells: f64) -> usize {
    (0..).take_while(|&n| f64::from(n) < cells).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_milestones_are_drawn() {
        let mut timeline = Timeline::default();
        for line in
            ["   0.257 s  shells created: guest 1, stubdom 2", "demo runs", "[ 1.0 s  kernel", " x s  y"]
        {
            timeline.take(line);
        }
        assert_eq!(timeline.0, [(0.257, "shells created: guest 1, stubdom 2".to_owned())]);
    }
}
