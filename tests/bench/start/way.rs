// SPDX-License-Identifier: GPL-3.0-only
//! Ways to start a guest: which toolstack, which image.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stub_tests::guest::{Guest, xl};

/// All ramdisk, Debian's kernel; all ramdisk, the minimal kernel; the default form, the minimal kernel.
const DISTRO_RAMDISK: &str = "/lab/put/image-ramdisk";
const MINIMAL_RAMDISK: &str = "/lab/put/image-minimal-ramdisk";
const MINIMAL: &str = "/lab/put/image-minimal";

/// The guest's memory in MiB, the least that `xl` can build.
const MEMORY: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toolstack {
    Stubctl,
    Xl,
}

/// A way to start a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) what: &'static str,
    toolstack: Toolstack,
    image: &'static str,
}

/// Ours beside upstream's, and the most that ours may take of upstream's wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison {
    pub(crate) title: &'static str,
    pub(crate) ours: Way,
    pub(crate) theirs: Way,
    pub(crate) most: f64,
}

const XL: Way = Way { what: "xl, Debian's kernel, ramdisk", toolstack: Toolstack::Xl, image: DISTRO_RAMDISK };

/// Our image and kernel.
pub(crate) const OURS: Way =
    Way { what: "stubctl, minimal kernel, default image", toolstack: Toolstack::Stubctl, image: MINIMAL };

/// What each has as its best.
pub(crate) const BEST: Comparison =
    Comparison { title: "our image against xl with Debian's kernel", ours: OURS, theirs: XL, most: 0.20 };

/// The same kernel and the same content as ramdisk for both.
pub(crate) const SAME: [Comparison; 2] = [
    Comparison {
        title: "the same ramdisk and Debian's kernel",
        ours: Way {
            what: "stubctl, Debian's kernel, ramdisk",
            toolstack: Toolstack::Stubctl,
            image: DISTRO_RAMDISK,
        },
        theirs: XL,
        most: 0.45,
    },
    Comparison {
        title: "the same ramdisk and minimal kernel",
        ours: Way {
            what: "stubctl, minimal kernel, ramdisk",
            toolstack: Toolstack::Stubctl,
            image: MINIMAL_RAMDISK,
        },
        theirs: Way { what: "xl, minimal kernel, ramdisk", toolstack: Toolstack::Xl, image: MINIMAL_RAMDISK },
        most: 0.45,
    },
];

impl Way {
    /// A guest to be started in this way.
    pub(crate) fn guest(self) -> Guest {
        let text = fs::read(Path::new(self.image).join(proto::manifest::FILE)).expect("an image");
        let manifest = proto::manifest::Manifest::from_json(&text).expect("a manifest");
        let guest = Guest::new().with(&format!("memory = {MEMORY}")).with("vnc = 0");
        match self.toolstack {
            Toolstack::Stubctl => guest
                .with(&format!("stubdomain_image = \"{}\"", self.image))
                // Many at once take their time in emulation.
                .with("stubdomain_timeout = 600"),
            Toolstack::Xl => guest
                .with("device_model_version = \"qemu-xen\"")
                .with("device_model_stubdomain_override = 1")
                .with(&format!("stubdomain_kernel = \"{}/kernel\"", self.image))
                .with(&format!("stubdomain_ramdisk = \"{}/ramdisk\"", self.image))
                .with(&format!("stubdomain_cmdline = \"{}\"", manifest.cmdline))
                .with(&format!("stubdomain_memory = {}", manifest.memory_mib())),
        }
    }

    /// The toolstack at work.
    pub(crate) fn start(self, words: &[&str]) -> Child {
        let mut command = match self.toolstack {
            Toolstack::Stubctl => Command::new("stubctl"),
            Toolstack::Xl => xl(),
        };
        command.args(words).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("a toolstack")
    }
}
