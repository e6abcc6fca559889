// SPDX-License-Identifier: GPL-3.0-only
//! A shell on the stubdomain's console: in images that were built with one and say so, and in no other.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use proto::manifest::Manifest;
use stub_tests::guest::{Guest, image, image_cmdline};
use stub_tests::probe::Probe;
use stub_tests::stubctl::{self, stubctl};
use stub_tests::wait_for;
use xen_sys::{Access as _, Store};

/// The image that was built with `--debug-shell`.
const SHELL_IMAGE: &str = "/lab/put/image-shell";

/// A terminal that is opened does not become the test's own.
const O_NOCTTY: i32 = 0o400;

/// What xenconsoled logged of a guest's stubdomain.
fn console(guest: &Guest) -> String {
    let path = format!("/var/log/xen/console/guest-{}-dm.log", guest.name);
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The terminal on which xenconsoled serves a domain's console.
fn terminal(domid: u16) -> fs::File {
    let store = Store::open().expect("xenstored");
    let path = store.read(&format!("{}/console/tty", proto::keys::home(domid))).expect("readable");
    let path = String::from_utf8(path.expect("a terminal")).expect("a path");
    fs::File::options().read(true).write(true).custom_flags(O_NOCTTY).open(path).expect("a terminal")
}

#[test]
fn an_image_with_a_shell_says_so_and_answers_on_its_console() {
    let probe = Probe::take();
    let guest = Guest::new().with(&format!("stubdomain_image = \"{SHELL_IMAGE}\""));
    let ran = stubctl::create(&guest);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("warning[image-debug-shell]"), "{ran:?}");
    let stubdom = ran.json()["stubdom"].as_u64().and_then(|id| u16::try_from(id).ok()).expect("a domain id");
    wait_for("the word on the shell", || console(&guest).contains("DEBUG SHELL").then_some(()));
    let mut terminal = terminal(stubdom);
    writeln!(terminal, "echo answer-$((6 * 7)); ls -d /usr/bin/qemu; cat /proc/1/comm").expect("written");
    wait_for("the shell's answer", || {
        let text = console(&guest);
        ["answer-42", "/usr/bin/qemu", "init"].iter().all(|word| text.contains(word)).then_some(())
    });
    drop(terminal);
    guest.await_word();
    stubctl::destroy(&guest);
    let shown = stubctl(&["image", "inspect", SHELL_IMAGE]);
    assert!(shown.stdout.contains("DEBUG SHELL"), "{}", shown.stdout);
    probe.assert_restored();
}

/// What a pair's stubdomain shows of itself: its mounts, QEMU's limits, and that of grants.
const LOOK: &str = "cat /proc/mounts /sys/module/xen_gntalloc/parameters/limit; for p in /proc/[0-9]*; do \
    read -r name <$p/comm; case $name in qemu*) cat $p/limits ;; esac; done; echo look-$((6 * 7))";

/// The words of a line that begins with these.
fn line(text: &str, begins: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    let found = text.lines().map(str::trim).find(|line| line.starts_with(begins));
    found.map(words).unwrap_or_else(|| panic!("no {begins:?} in\n{text}"))
}

#[test]
fn a_stubdomain_has_a_root_that_nobody_writes_and_bounds_on_all_else() {
    let probe = Probe::take();
    let guest = Guest::new().with(&format!("stubdomain_image = \"{SHELL_IMAGE}\""));
    let (_, stubdom) = stubctl::create_running(&guest);
    wait_for("the word on the shell", || console(&guest).contains("DEBUG SHELL").then_some(()));
    let mut terminal = terminal(stubdom);
    writeln!(terminal, "{LOOK}").expect("written");
    let text = wait_for("all that it shows", || {
        Some(console(&guest)).filter(|text| text.contains("look-42") && text.contains("Max open files"))
    });
    drop(terminal);
    let options = |on: &str| line(&text, on).into_iter().nth(3).unwrap_or_default();
    assert!(options("/dev/xvdz / erofs").starts_with("ro,"), "{text}");
    for scratch in ["tmpfs /tmp", "tmpfs /run", "tmpfs /var"] {
        let options = options(scratch);
        assert!(options.contains("size=4096k") && options.contains("nosuid"), "{scratch} {options}");
    }
    for (limit, value) in [
        ("Max core file size", "0"),
        ("Max processes", "256"),
        ("Max open files", "4096"),
        ("Max locked memory", "16777216"),
    ] {
        let words = line(&text, limit);
        assert!(words.iter().filter(|word| *word == value).count() == 2, "{words:?}");
    }
    assert!(text.lines().any(|line| line.trim() == "4096"), "the limit of grants:\n{text}");
    stubctl::destroy(&guest);
    probe.assert_restored();
}

#[test]
fn the_installed_image_has_no_shell_and_starts_none() {
    let probe = Probe::take();
    let text = fs::read(Path::new(&image()).join("manifest.json")).expect("the image's manifest");
    let manifest = Manifest::from_json(&text).expect("a manifest");
    assert!(!manifest.debug_shell && !manifest.cmdline.contains("debug-shell"));
    let names = manifest.contents.iter().filter_map(|entry| entry.path.rsplit('/').next());
    let shells: Vec<&str> = names
        .filter(|name| ["sh", "ash", "dash", "bash", "busybox", "login", "getty"].contains(name))
        .collect();
    assert!(shells.is_empty(), "{shells:?}");
    let cmdline = format!("stubdomain_cmdline = \"{} stub.debug-shell\"", image_cmdline());
    let guest = Guest::new().with(&cmdline);
    let ran = stubctl::create(&guest);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(!ran.stderr.contains("debug-shell"), "{ran:?}");
    wait_for("the word on no shell", || console(&guest).contains("no debug shell").then_some(()));
    assert!(!console(&guest).contains("DEBUG SHELL"));
    stubctl::destroy(&guest);
    probe.assert_restored();
}
