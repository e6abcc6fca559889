// SPDX-License-Identifier: GPL-3.0-only
//! Whole images from a small root that is made on the spot, through the command line.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use proto::manifest::{EntryKind, Manifest};

const QEMU: &str = "/usr/libexec/xen-qemu-system-i386";
/// What QEMU and PID 1 need of the kernel beside a disk.
const DRIVERS: [&str; 7] =
    ["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xen-netfront", "tun", "bridge"];
/// Each form, and the tool it needs.
const FORMATS: [(&str, &str); 4] =
    [("erofs", "mkfs.erofs"), ("squashfs", "mksquashfs"), ("ext4", "mke2fs"), ("ramdisk", "true")];

/// A distribution's root with a QEMU, a kernel and its modules, as small as they can be.
struct Distribution(tempfile::TempDir);

impl Distribution {
    fn new() -> Self {
        let new = Self(tempfile::tempdir().unwrap());
        new.put("root/usr/share/qemu/linuxboot.bin", "boots");
        new.put("root/usr/share/qemu/keymaps/en-us", "letters");
        new.put("root/var/lib/dpkg/info/qemu-system-xen.list", &format!("{QEMU}\n"));
        new.put(
            "root/var/lib/dpkg/info/linux-image.list",
            "/boot/vmlinuz-6.1.0-9\n/lib/modules/6.1.0-9/kernel/tun.ko\n",
        );
        new.put(
            "root/var/lib/dpkg/status",
            "Package: qemu-system-xen\nVersion: 1:7.2\n\nPackage: linux-image\nVersion: 6.1-1\n",
        );
        let modules = ["xen-blkfront", "erofs", "squashfs", "ext4"];
        let modules: Vec<&str> = modules.into_iter().chain(DRIVERS).collect();
        for module in &modules {
            new.put(&format!("root/lib/modules/6.1.0-9/kernel/{module}.ko"), module);
        }
        let dep: String = modules.iter().map(|module| format!("kernel/{module}.ko:\n")).collect();
        new.put("root/lib/modules/6.1.0-9/modules.dep", &dep);
        new.compile(
            "int library;",
            "root/usr/lib/libxenctrl.so.4.17",
            &["-shared", "-Wl,-soname,libxenctrl.so.4.17"],
        );
        let library = new.at("root/usr/lib/libxenctrl.so.4.17");
        new.compile(
            "const char *const texts[] = {\"QEMU emulator version 7.2.22 (test)\\n\", \"/usr/share/qemu\",
             \"linuxboot.bin\", \"efi-e1000.rom\"}; void _start(void) {}",
            &format!("root{QEMU}"),
            &[
                "-Wl,--no-as-needed",
                "-fPIE",
                "-Wl,--dynamic-linker=/usr/lib/ld.so",
                library.to_str().unwrap(),
            ],
        );
        new.put("root/usr/lib/ld.so", "loader");
        new.compile(
            "asm(\".section .note.Xen,\\\"a\\\",@note; .long 4, 4, 1; .asciz \\\"Xen\\\"; .long 0; .text\");
             const char banner[] = \"Linux version 6.1.0-9 (test)\"; void _start(void) {}",
            "root/boot/vmlinuz-6.1.0-9",
            &["-static"],
        );
        new.compile("void _start(void) {}", "init", &["-static"]);
        new
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn compile(&self, source: &str, to: &str, arguments: &[&str]) {
        let to = self.at(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let file = self.at("source.c");
        fs::write(&file, source).unwrap();
        let mut cc = Command::new("cc");
        cc.arg("-nostdlib").arg(file).args(arguments).arg("-o").arg(to);
        assert!(cc.status().unwrap().success());
    }

    /// Builds `out` with this umask.
    fn build(&self, umask: &str, out: &Path, arguments: &[&str]) -> Output {
        Command::new("sh")
            .args([
                "-c",
                &format!("umask {umask}; exec \"$0\" \"$@\""),
                env!("CARGO_BIN_EXE_stub-image"),
                "build",
            ])
            .arg("--root")
            .arg(self.at("root"))
            .arg("--init")
            .arg(self.at("init"))
            .arg("--out")
            .arg(out)
            .args(arguments)
            .output()
            .unwrap()
    }

    fn image(&self, format: &str) -> PathBuf {
        let out = self.at(format);
        let output = self.build("022", &out, &["--format", format]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        out
    }
}

fn stub_image(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stub-image")).args(arguments).args(paths).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn manifest(image: &Path) -> Manifest {
    Manifest::from_json(&fs::read(image.join("manifest.json")).unwrap()).unwrap()
}

/// Every file of an image with its mode and bytes.
fn files(image: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(image)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            (path.file_name().unwrap().into(), mode, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The forms whose tools are installed.
fn formats() -> impl Iterator<Item = &'static str> {
    FORMATS.into_iter().filter_map(|(format, tool)| {
        let there = Command::new(tool).arg("-V").output().is_ok();
        if !there {
            let _ = writeln!(std::io::stderr(), "ignored: {format}: no {tool}");
        }
        there.then_some(format)
    })
}

#[test]
fn the_same_packages_in_another_folder_at_another_time_give_the_same_bytes() {
    for format in formats() {
        let (first, second) = (Distribution::new(), Distribution::new());
        let (one, other) = (first.at("image"), second.at("deeper/image"));
        assert!(first.build("022", &one, &["--format", format]).status.success());
        // Filesystems count in seconds.
        sleep(Duration::from_millis(1100));
        let output = second.build("077", &other, &["--format", format]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(files(&one) == files(&other), "{format}");
        let output = stub_image(&["diff"], &[&one, &other]);
        assert_eq!(text(&output.stdout), "no difference\n");
    }
}

#[test]
fn debians_own_packages_give_the_same_bytes_through_another_name_with_another_environment() {
    let Some(root) = std::env::var_os("STUBCTL_LAB_ROOT").map(PathBuf::from) else {
        let _ = writeln!(std::io::stderr(), "ignored: no lab's root; `cargo xtask test` has one");
        return;
    };
    let names = fs::read_dir(root.join("lib/modules")).unwrap().map(|entry| entry.unwrap().file_name());
    let release = names.max().expect("a kernel").into_string().unwrap();
    let synthetic = Distribution::new();
    std::os::unix::fs::symlink(&root, synthetic.at("elsewhere")).unwrap();
    let build = |root: &Path, out: &str, variables: &[(&str, &str)]| {
        let out = synthetic.at(out);
        let output = Command::new(env!("CARGO_BIN_EXE_stub-image"))
            .args(["build", "--kernel-release", &release, "--root"])
            .arg(root)
            .arg("--init")
            .arg(synthetic.at("init"))
            .arg("--out")
            .arg(&out)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        files(&out)
    };
    let one = build(&root, "one", &[]);
    let variables = [("SOURCE_DATE_EPOCH", "1"), ("TZ", "Asia/Tokyo"), ("LC_ALL", "C.UTF-8")];
    let other = build(&synthetic.at("elsewhere"), "deeper/other", &variables);
    assert!(
        one == other,
        "{}",
        text(&stub_image(&["diff"], &[&synthetic.at("one"), &synthetic.at("deeper/other")]).stdout)
    );
    assert_eq!(one.len(), 4, "kernel, ramdisk, root filesystem, manifest");
}

#[test]
fn every_file_is_accounted_for() {
    for format in formats() {
        let image = Distribution::new().image_kept(format);
        for entry in &manifest(&image.1).contents {
            assert!(entry.kind == EntryKind::Dir || !entry.needed_by.is_empty(), "{format}: {}", entry.path);
        }
    }
    let image = Distribution::new().image_kept("ramdisk");
    let contents = manifest(&image.1).contents;
    let module = contents.iter().find(|entry| entry.path.ends_with("/tun.ko")).unwrap();
    assert_eq!(module.package.as_deref(), Some("linux-image"));
    let image = Distribution::new().image_kept("erofs");
    let manifest = manifest(&image.1);
    let entry = |path: &str| manifest.contents.iter().find(|entry| entry.path == path).unwrap();
    assert_eq!(entry("/usr/lib/libxenctrl.so.4.17").needed_by, [QEMU]);
    assert_eq!(entry("/usr/share/qemu/keymaps/en-us").needed_by, [QEMU]);
    assert_eq!(entry(QEMU).package.as_deref(), Some("qemu-system-xen"));
    assert_eq!(entry("/init").needed_by, ["the kernel"]);
    assert_eq!(manifest.packages["qemu-system-xen"], "1:7.2");
    assert_eq!((manifest.xen.as_str(), manifest.kernel.as_str()), ("4.17", "6.1.0-9"));
    let origin = manifest.kernel_origin.unwrap();
    assert_eq!(
        (origin.file.as_str(), origin.package.as_deref()),
        ("/boot/vmlinuz-6.1.0-9", Some("linux-image"))
    );
    let shown = text(&stub_image(&["inspect"], &[&image.1]).stdout);
    assert!(shown.contains("qemu-system-xen") && shown.contains("/usr/share/qemu/linuxboot.bin"), "{shown}");
    let json = stub_image(&["inspect", "--json"], &[&image.1]).stdout;
    assert_eq!(json, fs::read(image.1.join("manifest.json")).unwrap());
}

#[test]
fn what_a_device_would_miss_is_told_and_what_qemu_needs_is_an_error() {
    let distribution = Distribution::new();
    let out = distribution.at("image");
    let output = distribution.build("022", &out, &["--format", "ramdisk"]);
    assert!(text(&output.stdout).contains("do not work: efi-e1000.rom"), "{}", text(&output.stdout));
    let before = files(&out);
    fs::remove_file(distribution.at("root/usr/lib/libxenctrl.so.4.17")).unwrap();
    let output = distribution.build("022", &out, &["--format", "ramdisk"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains(&format!("{QEMU} needs libxenctrl.so.4.17")),
        "{}",
        text(&output.stderr)
    );
    assert!(files(&out) == before, "a failed build leaves the image as it was");
}

#[test]
fn a_file_that_is_corrupt_or_swapped_is_named_with_both_digests() {
    let (distribution, image) = Distribution::new().image_kept("ramdisk");
    let output = stub_image(&["verify"], &[&image]);
    assert!(output.status.success() && text(&output.stdout).contains("2 files are as"), "{output:?}");
    let kernel = fs::read(image.join("kernel")).unwrap();
    let expected = &manifest(&image).digests["kernel"];
    let mut corrupt = kernel.clone();
    corrupt[kernel.len() / 2] ^= 1;
    for bytes in [corrupt, kernel[..kernel.len() - 1].to_vec(), fs::read(image.join("ramdisk")).unwrap()] {
        fs::write(image.join("kernel"), bytes).unwrap();
        let output = stub_image(&["verify"], &[&image]);
        let said = text(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("/kernel has SHA-256 ") && said.contains(expected.as_str()), "{said}");
        assert!(!said.contains("ramdisk has"), "{said}");
    }
    drop(distribution);
}

#[test]
fn a_ramdisk_has_everything_and_a_kernel_without_modules_gets_none_beside_a_filesystem() {
    let distribution = Distribution::new();
    let whole = distribution.image("ramdisk");
    assert_eq!(manifest(&whole).digests.into_keys().collect::<Vec<_>>(), ["kernel", "ramdisk"]);
    assert_eq!(manifest(&whole).rootfs, "ramdisk");
    let packed = fs::read(whole.join("ramdisk")).unwrap();
    let archive = text(&stub_image::unpack::unpack(&packed).unwrap().unwrap());
    // The guest's disks are blkfront's, wherever the root filesystem is.
    for file in ["usr/lib/modules/xen_blkfront.ko", "usr/lib/libxenctrl.so.4.17", "usr/bin/qemu"] {
        assert!(archive.contains(file), "{file}");
    }
    let ready = distribution.at("ready");
    fs::rename(distribution.at("root/boot/vmlinuz-6.1.0-9"), &ready).unwrap();
    fs::remove_dir_all(distribution.at("root/lib/modules")).unwrap();
    let Some(format) = formats().find(|format| *format != "ramdisk") else { return };
    let out = distribution.at("bare");
    let output = distribution.build("022", &out, &["--format", format, "--kernel", ready.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(manifest(&out).digests.into_keys().collect::<Vec<_>>(), ["kernel", "rootfs.img"]);
    assert!(text(&stub_image(&["diff"], &[&whole, &out]).stdout).contains("root filesystem"));
}

#[test]
fn a_directory_that_is_no_image_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["inspect", "verify"] {
        let output = stub_image(&[command], &[directory.path()]);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains("is no image"), "{}", text(&output.stderr));
    }
}

impl Distribution {
    /// An image, and what it was made of, which goes with the value.
    fn image_kept(self, format: &str) -> (Self, PathBuf) {
        let image = self.image(format);
        (self, image)
    }
}

#[test]
fn the_files_that_a_program_needs_are_listed_without_building_anything() {
    let distribution = Distribution::new();
    let root = distribution.at("root");
    let output = stub_image(&["closure", QEMU, "--paths", "--root"], &[&root]);
    let loader = "/usr/lib/ld.so";
    let expected = [loader, "/usr/lib/libxenctrl.so.4.17", QEMU].map(|path| format!("{path}\n")).concat();
    assert_eq!(text(&output.stdout), expected);
    let list = distribution.at("list");
    fs::write(&list, "file /usr/share/qemu/linuxboot.bin\n").unwrap();
    let list = format!("--list={}", list.display());
    let shown = text(&stub_image(&["closure", QEMU, &list, "--root"], &[&root]).stdout);
    let line = shown.lines().find(|line| line.contains("linuxboot.bin")).unwrap();
    assert!(line.trim_end().ends_with("who built the image"), "{shown}");
}
