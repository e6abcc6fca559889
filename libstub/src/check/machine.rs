// SPDX-License-Identifier: GPL-3.0-only
//! Xen, dom0's kernel and what is installed. Files are looked at below `root`, which is `/` but for tests.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Facts, Finding};
use crate::host::daemons::{self, ConsoleLogging};
use crate::host::{SEABIOS, hvmloader};

/// The devices through which Xen's libraries and daemons work, and the modules that make them.
const DEVICES: [(&str, &str, &str); 3] = [
    ("device-privcmd", "/dev/xen/privcmd", "xen-privcmd"),
    ("device-evtchn", "/dev/xen/evtchn", "xen-evtchn"),
    ("device-gntdev", "/dev/xen/gntdev", "xen-gntdev"),
];

/// Whether Xen runs below this kernel.
pub(super) fn hypervisor(root: &Path) -> Finding {
    const NAME: &str = "hypervisor";
    let remedy = "boot this machine with Xen; on Debian, install xen-system-amd64 and choose Xen in GRUB";
    match fs::read_to_string(below(root, "/sys/hypervisor/type")) {
        Ok(text) if text.trim_end() == "xen" => Finding::ok(NAME, "this machine runs Xen"),
        Ok(text) => Finding::failure(NAME, format!("this machine runs {}, not Xen", text.trim_end()), remedy),
        Err(_) => Finding::failure(NAME, "this machine does not run Xen", remedy),
    }
}

/// What can be told of a machine that does not run Xen.
pub(super) fn without_xen(root: &Path) -> Vec<Finding> {
    vec![loop_control(root), hvmloader_file(root, xen_sys::BUILT_FOR), firmware(root)]
}

/// Whether the devices are there and can be opened.
pub(super) fn devices(root: &Path) -> Vec<Finding> {
    let open = |path| File::options().read(true).write(true).open(below(root, path));
    DEVICES
        .iter()
        .map(|&(name, path, module)| match open(path) {
            Ok(_) => Finding::ok(name, format!("{path} can be opened")),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Finding::failure(name, format!("{path} cannot be opened: {error}"), "run this as root")
            }
            Err(error) => {
                let what = format!("{path} cannot be opened: {error}");
                Finding::failure(name, what, format!("modprobe {module}"))
            }
        })
        .collect()
}

/// Whether Xen answers, and is the one that this was built for.
pub(super) fn version(facts: &Result<Facts, String>) -> Finding {
    const NAME: &str = "xen-version";
    let built_for = xen_sys::BUILT_FOR;
    match facts {
        Ok(facts) => {
            let what = format!("Xen {} runs, and this program was built for {built_for}", facts.version);
            Finding::ok(NAME, what)
        }
        Err(why) => Finding::failure(
            NAME,
            why,
            "run this as root in dom0, with the stubctl that was built for the Xen that runs",
        ),
    }
}

/// What every pair needs, as far as it can be told without Xen's answer. A failure here ends a create in its
/// preflight.
pub(super) fn needed(root: &Path, facts: Option<&Facts>) -> Vec<Finding> {
    let mut findings = vec![control_domain(root)];
    findings.extend(facts.into_iter().flat_map(|facts| [hvm(facts), pv(facts)]));
    findings.extend([console_daemon(root), loop_control(root), blkback(root)]);
    findings.extend([hvmloader_file(root, release(facts)), firmware(root)]);
    findings
}

/// The release whose files are looked for.
pub(super) fn release(facts: Option<&Facts>) -> &str {
    facts.map_or(xen_sys::BUILT_FOR, |facts| &facts.release)
}

fn control_domain(root: &Path) -> Finding {
    const NAME: &str = "control-domain";
    match fs::read_to_string(below(root, "/proc/xen/capabilities")) {
        Ok(text) if text.contains("control_d") => Finding::ok(NAME, "this is the control domain, dom0"),
        Ok(_) => {
            Finding::failure(NAME, "this is a domain of Xen, not its control domain", "run this in dom0")
        }
        Err(_) => Finding::failure(
            NAME,
            "whether this is dom0 cannot be told: /proc/xen/capabilities is missing",
            "mount -t xenfs xenfs /proc/xen",
        ),
    }
}

fn hvm(Facts { abilities, .. }: &Facts) -> Finding {
    const NAME: &str = "xen-hvm";
    if abilities.hvm && abilities.hap {
        Finding::ok(NAME, "Xen has HVM with nested paging")
    } else {
        let what = if abilities.hvm { "Xen has HVM without nested paging" } else { "Xen has no HVM here" };
        Finding::failure(NAME, what, "enable virtualisation in the machine's firmware")
    }
}

fn pv(Facts { abilities, .. }: &Facts) -> Finding {
    const NAME: &str = "xen-pv";
    if abilities.pv {
        Finding::ok(NAME, "Xen has PV, which stubdomains need")
    } else {
        Finding::failure(
            NAME,
            "Xen has no PV, which stubdomains need",
            "boot a Xen that was built with CONFIG_PV",
        )
    }
}

fn console_daemon(root: &Path) -> Finding {
    const NAME: &str = "xenconsoled";
    match daemons::xenconsoled(root) {
        Some(process) => Finding::ok(NAME, format!("xenconsoled runs, process {}", process.pid)),
        None => Finding::failure(
            NAME,
            "xenconsoled does not run in dom0: a stubdomain hangs when nobody reads its console",
            "start xenconsoled: systemctl start xenconsoled, or /etc/init.d/xen start",
        ),
    }
}

/// Whether what domains say is kept.
pub(super) fn console_log(root: &Path) -> Finding {
    const NAME: &str = "console-log";
    let logging = ConsoleLogging::of_host(root);
    if logging.enabled {
        return Finding::ok(NAME, format!("xenconsoled logs to {}", logging.directory.display()));
    }
    Finding::warning(
        NAME,
        "xenconsoled keeps no log of domains: of a stubdomain that died, only its last words can be shown",
        "start xenconsoled with --log=guest (XENCONSOLED_TRACE=guest where Xen's scripts start it)",
    )
}

fn loop_control(root: &Path) -> Finding {
    const NAME: &str = "loop-control";
    if below(root, "/dev/loop-control").exists() {
        Finding::ok(NAME, "the kernel has loop devices")
    } else {
        Finding::failure(
            NAME,
            "/dev/loop-control is missing: the kernel has no loop devices",
            "modprobe loop",
        )
    }
}

fn blkback(root: &Path) -> Finding {
    const NAME: &str = "blkback";
    if below(root, "/sys/bus/xen-backend/drivers/vbd").exists() {
        Finding::ok(NAME, "dom0's kernel has blkback")
    } else {
        Finding::failure(NAME, "dom0's kernel has no blkback", "modprobe xen-blkback")
    }
}

fn hvmloader_file(root: &Path, release: &str) -> Finding {
    file(root, "hvmloader", &hvmloader(release), "install Xen's utilities of the release that runs")
}

fn firmware(root: &Path) -> Finding {
    file(root, "firmware", SEABIOS, "install seabios")
}

fn file(root: &Path, name: &'static str, path: &str, remedy: &str) -> Finding {
    if below(root, path).is_file() {
        Finding::ok(name, format!("{path} is there"))
    } else {
        Finding::failure(name, format!("{path} is missing"), remedy)
    }
}

fn below(root: &Path, path: &str) -> std::path::PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use xen_sys::PhysInfo;

    use super::*;
    use crate::check::{FindingStatus, unfit};

    fn facts() -> Facts {
        let abilities = PhysInfo {
            total_pages: 0,
            free_pages: 0,
            scrub_pages: 0,
            outstanding_pages: 0,
            hvm: true,
            pv: true,
            hap: true,
            grant_v1: true,
            grant_v2: false,
        };
        Facts { release: "4.17".to_owned(), version: "4.17.5".to_owned(), abilities }
    }

    /// A dom0 as files: everything is there.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let this = Self(tempfile::tempdir().expect("a directory"));
            this.put("/sys/hypervisor/type", "xen\n");
            this.put("/proc/xen/capabilities", "control_d\n");
            this.put("/proc/40/comm", "xenconsoled\n");
            this.put("/proc/40/cmdline", "xenconsoled\0--log=guest\0");
            for path in ["/dev/xen/privcmd", "/dev/xen/evtchn", "/dev/xen/gntdev", "/dev/loop-control"] {
                this.put(path, "");
            }
            this.put("/sys/bus/xen-backend/drivers/vbd/bind", "");
            this.put("/usr/lib/xen-4.17/boot/hvmloader", "");
            this.put(SEABIOS, "");
            this
        }

        fn at(&self, path: &str) -> PathBuf {
            below(self.0.path(), path)
        }

        fn put(&self, path: &str, content: &str) {
            let path = self.at(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        }

        fn take(&self, path: &str) {
            let path = self.at(path);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }

        /// Everything that is not well, by name.
        fn troubles(&self) -> Vec<&'static str> {
            let root = self.0.path();
            let mut findings = vec![hypervisor(root), console_log(root)];
            findings.extend(devices(root));
            findings.extend(needed(root, Some(&facts())));
            findings.iter().filter(|finding| finding.status != FindingStatus::Ok).for_each(|finding| {
                assert!(finding.remedy.is_some(), "{finding:?}");
            });
            let bad = findings.iter().filter(|finding| finding.status != FindingStatus::Ok);
            bad.map(|finding| finding.name).collect()
        }
    }

    #[test]
    fn a_whole_dom0_has_no_trouble() {
        let tree = Tree::new();
        assert_eq!(tree.troubles(), Vec::<&str>::new());
        assert_eq!(unfit(tree.0.path(), &facts()), []);
    }

    #[test]
    fn each_thing_that_is_missing_is_one_finding() {
        for (path, name, needed) in [
            ("/sys/hypervisor/type", "hypervisor", false),
            ("/proc/xen/capabilities", "control-domain", true),
            ("/dev/xen/privcmd", "device-privcmd", false),
            ("/dev/xen/evtchn", "device-evtchn", false),
            ("/dev/xen/gntdev", "device-gntdev", false),
            ("/dev/loop-control", "loop-control", true),
            ("/sys/bus/xen-backend/drivers/vbd", "blkback", true),
            ("/usr/lib/xen-4.17/boot/hvmloader", "hvmloader", true),
            (SEABIOS, "firmware", true),
        ] {
            let tree = Tree::new();
            tree.take(path);
            assert_eq!(tree.troubles(), [name], "{path}");
            assert_eq!(unfit(tree.0.path(), &facts()).len(), usize::from(needed), "{path}");
        }
    }

    #[test]
    fn without_xenconsoled_no_pair_is_started() {
        let tree = Tree::new();
        tree.take("/proc/40");
        assert_eq!(tree.troubles(), ["console-log", "xenconsoled"]);
        let lacks = unfit(tree.0.path(), &facts());
        assert!(lacks.len() == 1 && lacks[0].what.contains("xenconsoled"), "{lacks:?}");
    }

    #[test]
    fn a_console_daemon_that_logs_nothing_is_a_warning_only() {
        let tree = Tree::new();
        tree.put("/proc/40/cmdline", "xenconsoled\0");
        assert_eq!(console_log(tree.0.path()).status, FindingStatus::Warning);
        assert_eq!(unfit(tree.0.path(), &facts()), []);
    }

    #[test]
    fn another_hypervisor_and_a_plain_domain_are_named() {
        let tree = Tree::new();
        tree.put("/sys/hypervisor/type", "kvm\n");
        assert!(hypervisor(tree.0.path()).what.contains("kvm"));
        tree.put("/proc/xen/capabilities", "\n");
        // Xen answers nobody there, so that much has to be told without it.
        let findings = needed(tree.0.path(), None);
        assert!(findings[0].what.contains("not its control domain"), "{findings:?}");
    }

    #[test]
    fn abilities_that_xen_lacks_are_failures() {
        let tree = Tree::new();
        let lacking = |change: fn(&mut PhysInfo)| {
            let mut facts = facts();
            change(&mut facts.abilities);
            let failed = needed(tree.0.path(), Some(&facts)).into_iter().filter(Finding::failed);
            failed.map(|finding| finding.name).collect::<Vec<_>>()
        };
        assert_eq!(lacking(|abilities| abilities.hvm = false), ["xen-hvm"]);
        assert_eq!(lacking(|abilities| abilities.hap = false), ["xen-hvm"]);
        assert_eq!(lacking(|abilities| abilities.pv = false), ["xen-pv"]);
    }

    #[test]
    fn a_xen_that_does_not_answer_is_told_with_its_reason() {
        let finding = version(&Err("it is 4.20, this program is built for 4.17".to_owned()));
        assert!(finding.failed() && finding.what.contains("4.20"), "{finding:?}");
        assert!(version(&Ok(facts())).what.contains("4.17.5"));
    }
}
