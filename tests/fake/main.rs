// SPDX-License-Identifier: GPL-3.0-only
//! Ring 1: the lifecycle over a host in memory that fails at every call in turn.
#![forbid(unsafe_code)]

mod front;
mod library;
mod order;
mod reap;
mod refusals;
mod supervisor;
mod sweep;
mod undo;
mod waits;

use std::cell::Cell;
use std::path::Path;

use libstub::host::fake::{Behaviour, FakeHost};
use libstub::{CreateError, GuestConfig, Journal, Name, Pair, ReapError, ReapOptions, Reaped};
use proto::manifest::{Arguments, Kind, Manifest};

/// A host in memory, a journal, and a config whose files exist.
struct Bench {
    host: FakeHost,
    journal: Journal,
    config: GuestConfig,
    directory: tempfile::TempDir,
    /// How many calls the faulty part of a test made.
    made: Cell<usize>,
}

/// Thousands of records are synced to disk here: in memory, where there is such a disk.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

impl Bench {
    /// A pair whose image waits for `stub/go`.
    fn new(behaviour: Behaviour) -> Self {
        Self::with(behaviour, "stubdomain_image = \"DIR\"")
    }

    /// A pair with these lines about its image, where DIR is a directory that holds an image's files.
    fn with(behaviour: Behaviour, image: &str) -> Self {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        for name in ["kernel", "ramdisk", "rootfs.img", "disk"] {
            std::fs::write(at(name), [0; 512]).expect("a file");
        }
        std::fs::write(at("manifest.json"), manifest().to_json()).expect("a file");
        let image = image.replace("DIR", &directory.path().display().to_string());
        let disk = at("disk");
        let text = format!(
            "name = \"g\"\nmemory = 16\nstubdomain_timeout = 1\ndisk = [ \"{},raw,xvda,rw\" ]\n{image}\n",
            disk.display()
        );
        let config = GuestConfig::parse(&text, Path::new("g.cfg")).expect("a valid config");
        let host = FakeHost::new(behaviour).expect("a fake host");
        let journal = Journal::new(at("journal")).counted(&host);
        Self { host, journal, config, directory, made: Cell::default() }
    }

    fn create(&self) -> Result<Pair, CreateError> {
        let operation =
            libstub::create(Box::new(self.host.clone()), self.journal.clone(), self.config.clone());
        operation.expect("an event loop").wait(|_| {}).expect("an event loop")
    }

    fn destroy(&self) -> Result<libstub::Destroyed, libstub::DestroyError> {
        let name = Name::new("g").expect("a name");
        let operation = libstub::destroy(Box::new(self.host.clone()), self.journal.clone(), name);
        operation.expect("an event loop").wait(|_| {}).expect("an event loop")
    }

    fn try_reap(&self, dry_run: bool) -> Result<Reaped, ReapError> {
        let options = ReapOptions { name: None, dry_run };
        let operation = libstub::reap(Box::new(self.host.clone()), self.journal.clone(), options);
        operation.expect("an event loop").wait(|_| {}).expect("an event loop")
    }

    fn reap(&self, dry_run: bool) -> Reaped {
        self.try_reap(dry_run).expect("reaped")
    }

    /// Removes what a reap has moved out of the way: it is kept for people.
    fn forget_damaged(&self) {
        let files = std::fs::read_dir(self.journal.directory()).expect("a journal").flatten();
        for file in files.filter(|file| file.file_name().to_string_lossy().contains(".damaged.")) {
            std::fs::remove_file(file.path()).expect("removed");
        }
    }

    /// The file of the pair's record.
    fn record(&self) -> std::path::PathBuf {
        self.directory.path().join("journal/g.json")
    }

    /// What is left of anything: on the host, and in the journal.
    fn remains(&self) -> Vec<String> {
        let mut remains = self.host.remains();
        if let Ok(records) = std::fs::read_dir(self.directory.path().join("journal")) {
            let names =
                records.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
            remains.extend(names.filter(|name| !["lock", "verified"].contains(&name.as_str())));
        }
        remains
    }
}

/// A panic is how a process dies here; its message would only be noise.
fn quietly(run: impl FnOnce()) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let died =
                panic.payload().downcast_ref::<String>().is_some_and(|text| text.starts_with("died at"));
            if !died {
                loud(panic);
            }
        }));
    });
    run();
}

/// SHA-256 of the 512 zeros that each file of the image is.
const ZEROS: &str = "076a27c79e5ace2a3d47f9dd2e83e4ff6ea8872b3c2218f66c92b89b55f36560";

fn manifest() -> Manifest {
    let file = |name: &str| (name.to_owned(), ZEROS.to_owned());
    Manifest {
        protocol: proto::PROTOCOL,
        kind: Kind::default(),
        arguments: Arguments::default(),
        xen: "4.17".to_owned(),
        qemu: String::new(),
        kernel: String::new(),
        kernel_origin: None,
        rootfs: "erofs".to_owned(),
        cmdline: String::new(),
        debug_shell: false,
        min_memory_mib: 64,
        usual_memory_mib: None,
        digests: ["kernel", "ramdisk", "rootfs.img"].map(file).into(),
        packages: std::collections::BTreeMap::new(),
        contents: Vec::new(),
    }
}
