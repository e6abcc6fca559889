// SPDX-License-Identifier: GPL-3.0-only
//! Images: what each kind costs to boot, against a shell script as PID 1; and the smallest memory that each kernel works with.
#![forbid(unsafe_code)]

mod account;
mod boot;
mod memory;

use std::path::PathBuf;

use stub_tests::report::Report;

/// An image in the lab.
struct Image {
    name: String,
    path: PathBuf,
}

/// Every kernel in every format.
fn images() -> Vec<Image> {
    let image = |name: String, path: String| Image { name, path: path.into() };
    let pairs = ["distro", "minimal"].into_iter().flat_map(|kernel| {
        ["erofs", "squashfs", "ext4", "ramdisk"].into_iter().map(move |format| format!("{kernel}-{format}"))
    });
    pairs.map(|name| image(name.clone(), format!("/lab/put/image-{name}"))).collect()
}

/// `ONLY=boot` and `ONLY=memory` leave out the other.
fn wanted(part: &str) -> bool {
    std::env::var("ONLY").map_or(true, |only| only == part)
}

fn main() {
    let mut report = Report::new("Images: booting them, and the memory they need");
    let mut missed = Vec::new();
    if wanted("boot") {
        missed.extend(boot::run(&images(), &mut report));
    }
    if wanted("memory") {
        missed.extend(memory::run(&images(), &mut report));
    }
    report.note("CPU is the stubdomain's, by Xen's own accounting, from its first instruction on.");
    report.publish();
    assert!(missed.is_empty(), "missed: {missed:?}");
}
