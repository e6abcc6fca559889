// SPDX-License-Identifier: GPL-3.0-only
//! Builds a PV domain from a Linux kernel.

use std::io;
use std::path::Path;

use super::{BuiltPages, Channel, DomImage, whole_mib};
use crate::call;
use crate::ctrl::Ctrl;
use crate::error::{Error, Result};
use crate::raw::libs;
use crate::types::{DomId, Gfn, Kib};

/// A PV domain gets its command line in a field of 1024 bytes; what is longer would be cut without a word.
const CMDLINE_BYTES_MAX: usize = 1023;

/// What a PV domain is built from.
#[derive(Clone, Copy, Debug)]
pub struct PvBuild<'a> {
    /// The kernel, a bzImage or an ELF file.
    pub kernel: &'a Path,
    /// The initial ramdisk.
    pub ramdisk: Option<&'a Path>,
    /// The kernel's command line, at most 1023 bytes.
    pub cmdline: &'a str,
    /// The domain's memory, a whole number of MiB.
    pub memory: Kib,
    /// The ring of the console.
    pub console: Channel,
    /// The ring of xenstore.
    pub store: Channel,
}

/// Builds a PV domain into an empty one that has its one CPU and its memory limit.
pub fn build_pv(ctrl: &Ctrl, domid: DomId, build: &PvBuild<'_>) -> Result<BuiltPages> {
    let mib = whole_mib(build.memory)?;
    if build.cmdline.len() > CMDLINE_BYTES_MAX {
        return Err(Error::InvalidArgument { what: "command line is longer than 1023 bytes" });
    }
    let cmdline = call::c_string(build.cmdline, "command line contains a NUL")?;

    let mut image = DomImage::allocate(ctrl, Some(&cmdline), Some(c""))?;
    let fields = image.fields();
    fields.container_type = libs::XC_DOM_PV_CONTAINER;
    fields.flags = 0;
    fields.max_vcpus = 1;
    image.connect(build.console, build.store);

    image.kernel_file(build.kernel)?;
    if let Some(ramdisk) = build.ramdisk {
        image.ramdisk_file(ramdisk)?;
    }
    image.load(domid, mib)?;
    // SAFETY: no pointer of ours is in the fields.
    unsafe { image.finish()? };

    let (console, store) = (image.fields().console_pfn, image.fields().xenstore_pfn);
    Ok(BuiltPages { console: image.machine_frame(console)?, store: image.machine_frame(store)? })
}

impl DomImage<'_> {
    /// The machine frame behind one of the domain's frames, which C offers as an inline function only.
    fn machine_frame(&mut self, frame: u64) -> Result<Gfn> {
        // SAFETY: the image is allocated and loaded.
        if unsafe { libs::xc_dom_translated(self.raw.as_ptr()) } {
            return Ok(Gfn::new(frame));
        }
        let fields = self.fields();
        if frame >= fields.total_pages || fields.pv_p2m.is_null() {
            let source =
                io::Error::new(io::ErrorKind::InvalidData, format!("frame {frame:#x} has no machine frame"));
            return Err(Error::Build { step: "pv_p2m", source, detail: None });
        }
        let index = usize::try_from(frame).unwrap_or(usize::MAX);
        // SAFETY: the table has an entry for each of the domain's pages, and the frame is one of them.
        Ok(Gfn::new(unsafe { fields.pv_p2m.add(index).read() }))
    }
}
