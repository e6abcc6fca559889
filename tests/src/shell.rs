// SPDX-License-Identifier: GPL-3.0-only
//! The stubdomain that everybody makes for himself: a shell script as PID 1, with dom0's own programs, all in a ramdisk.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::must;

/// What a stubdomain with a ramdisk of a whole distribution's programs takes.
pub const MEMORY_MIB: u32 = 320;

/// What its script says before it becomes QEMU.
pub const LAST_WORD: &str = "QEMU is started with";

/// The shell is the program that the kernel starts: a minimal one knows no scripts.
pub const CMDLINE: &str =
    "console=hvc0 xen_privcmd.unrestricted=1 panic=-1 xen_legacy_crash rdinit=/usr/bin/dash -- /init";

/// A ramdisk in the style of Xen's docs/misc/stubdom.txt for the kernel of an image: PID 1 is a shell script that knows of
/// `target` and `dm-argv` only.
///
/// # Panics
/// When dom0 lacks what it is made of.
pub fn ramdisk(directory: &Path, image: &Path) -> PathBuf {
    const QEMU: &str = "/usr/libexec/xen-qemu-system-i386";
    const PROGRAMS: [&str; 8] = [
        QEMU,
        "/usr/bin/dash",
        "/usr/bin/mount",
        "/usr/bin/sleep",
        "/usr/bin/sort",
        "/usr/bin/kmod",
        "/usr/bin/xenstore-read",
        "/usr/bin/xenstore-list",
    ];
    const MODULES: [&str; 5] = ["xen-blkfront", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd"];
    let tree = directory.join("tree");
    for name in ["dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(tree.join(name)).expect("a directory");
    }
    let mut files =
        must("stubctl", &[&["image", "closure", "--paths", "--root", "/"], &PROGRAMS[..]].concat());
    let manifest = fs::read(image.join("manifest.json")).expect("the image");
    let release = proto::manifest::Manifest::from_json(&manifest).expect("a manifest").kernel;
    let mut script = "#!/usr/bin/dash\n\
                      set -e\n\
                      PATH=/usr/bin\n\
                      mount -t proc proc /proc\n\
                      mount -t sysfs sysfs /sys\n\
                      mount -t devtmpfs devtmpfs /dev\n\
                      exec </dev/console >/dev/console 2>&1\n\
                      echo 1 >/proc/sys/vm/overcommit_memory\n"
        .to_owned();
    // A kernel without modules has all of it in itself.
    let modular = Path::new("/lib/modules").join(&release).exists();
    for module in MODULES.into_iter().filter(|_| modular) {
        let list = must("modprobe", &["--set-version", &release, "--show-depends", module]);
        for path in list.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let path = fs::canonicalize(path.trim()).expect("a module").display().to_string();
            let parameters = if module == "xen-privcmd" { " unrestricted=1" } else { "" };
            let _ = writeln!(script, "[ -e {path}.done ] || insmod {path}{parameters}; : >{path}.done");
            let _ = writeln!(files, "{path}");
        }
    }
    script += "until [ -e /dev/xvda ]; do sleep 0.1; done\n\
               guest=$(xenstore-read target)\n\
               args=$(xenstore-read /local/domain/$guest/vm)/image/dm-argv\n\
               for node in $(xenstore-list $args | sort); do\n\
               \x20   set -- \"$@\" \"$(xenstore-read $args/$node)\"\n\
               done\n\
               echo \"QEMU is started with $# arguments\"\n";
    let _ = writeln!(script, "exec {QEMU} \"$@\"");
    let list = directory.join("files");
    fs::write(&list, files.replace("\n/", "\n").trim_start_matches('/')).expect("written");
    fs::write(tree.join("init"), script).expect("written");
    let ramdisk = directory.join("ramdisk");
    let (root, list, out) = (tree.display(), list.display(), ramdisk.display());
    let pack = format!(
        "set -e; cd /; cpio --quiet -pd {root} <{list}; cd {root}; chmod 755 init; \
         ln -s kmod usr/bin/insmod; find . | cpio --quiet -o -H newc >{out}"
    );
    must("sh", &["-c", &pack]);
    fs::remove_dir_all(tree).expect("removed");
    ramdisk
}
