// SPDX-License-Identifier: GPL-3.0-only
//! xenstored killed for good: what still works, what is owed, and that it is paid after the host's reboot.
//!
//! The lab runs these last, `before`, reboots dom0, and then runs `after`: a dom0 whose xenstored died is of no
//! further use.

/// Where the first half leaves the name of its pair for the second.
const NAME: &str = "/root/owed-pair";

mod before {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use stub_tests::guest::Guest;
    use stub_tests::stubctl::{self, Ran, stubctl};
    use stub_tests::{wait_for, xenstored};
    use xen_sys::Ctrl;

    /// Less than the limits of a request and of a release.
    const IN_VAIN: Duration = Duration::from_secs(60);

    fn pages() -> u64 {
        let memory = Ctrl::open().and_then(|ctrl| ctrl.phys_info()).expect("Xen's memory");
        memory.free_pages + memory.scrub_pages
    }

    #[test]
    fn without_xenstored_creates_fail_with_the_reason_and_pairs_still_end() {
        let guest = Guest::new();
        let free = pages();
        stubctl::create_running(&guest);
        let taken = free - pages();
        fs::write(super::NAME, &guest.name).expect("written");

        // A create that waits when xenstored dies.
        let waiting = Guest::new().with("stubdomain_timeout = 3600");
        let create = Command::new("stubctl")
            .args(["--json", "create"])
            .arg(waiting.config())
            .stdout(Stdio::piped())
            .spawn()
            .expect("stubctl in PATH");
        wait_for("its two domains", || {
            let domains = Ctrl::open().and_then(|ctrl| ctrl.domains()).expect("the list of domains");
            (domains.iter().filter(|info| !info.paused).count() >= 4).then_some(())
        });
        xenstored::signal("KILL");
        let began = Instant::now();
        let ran = Ran::from(create.wait_with_output().expect("its output"));
        println!("{ran:?}\nfigure: the create ended {:.1} s after xenstored", began.elapsed().as_secs_f64());
        assert!(began.elapsed() < IN_VAIN, "something was waited for that cannot come");
        assert_eq!(ran.json()["error"]["code"], "host-store", "{ran:?}");
        assert_eq!(ran.status, 4, "what only xenstored can remove is owed: {ran:?}");

        // A create that begins now.
        let ran = stubctl::create(&Guest::new());
        assert_eq!((ran.status, &ran.json()["error"]["code"]), (1, &"host-store".into()), "{ran:?}");
        assert_eq!(ran.json()["error"]["owed"], serde_json::json!([]), "{ran:?}");

        // A pair that runs.
        let began = Instant::now();
        let ran = stubctl(&["--json", "destroy", &guest.name]);
        println!("figure: a destroy without xenstored took {:.1} s", began.elapsed().as_secs_f64());
        assert!(began.elapsed() < IN_VAIN, "something was waited for that cannot come");
        assert_eq!(ran.status, 4, "{ran:?}");
        let error = ran.json()["error"].clone();
        let owed = error["owed"].to_string();
        assert!(
            owed.contains("dom0's kernel holds its pages for vbd"),
            "what pins it is not named: {error:#}"
        );
        let alive = Ctrl::open().and_then(|ctrl| ctrl.domains()).expect("the list of domains");
        assert!(alive.iter().filter(|info| !info.dying).count() == 1, "something still runs: {alive:?}");
        println!("figure: a pair took {taken} pages, {} are still held by the dead", free - pages());

        // It stays owed, however often it is tried.
        let ran = stubctl(&["--json", "reap"]);
        assert_eq!(ran.status, 4, "{ran:?}");
        assert!(ran.stdout.contains(&guest.name) && ran.stdout.contains(&waiting.name), "{ran:?}");
        assert!(fs::exists(format!("/var/lib/stubctl/{}.json", guest.name)).expect("readable"));
    }
}

mod after {
    use std::fs;

    use stub_tests::guest::Guest;
    use stub_tests::probe::{Probe, names};
    use stub_tests::stubctl::{self, stubctl};

    #[test]
    fn what_was_owed_is_paid_by_a_reap_after_the_reboot() {
        let name = fs::read_to_string(super::NAME).expect("the name of a pair of the earlier boot");
        let list = stubctl(&["--json", "list"]);
        assert!(list.stdout.contains(&name), "it is not recorded: {list:?}");
        let reap = stubctl(&["--json", "reap"]);
        assert_eq!(reap.status, 0, "{reap:?}");
        let json = reap.json();
        let pairs = json["pairs"].as_array().expect("pairs");
        assert_eq!(pairs.len(), 2, "{json:#}");
        assert!(pairs.iter().all(|pair| pair["why"] == "earlier-boot"), "{json:#}");
        let records = || names("/var/lib/stubctl").into_iter().filter(|name| name.ends_with(".json"));
        assert_eq!(records().count(), 0, "a record is left");
        let probe = Probe::take();
        let guest = Guest::new().named(&name);
        stubctl::create_running(&guest);
        stubctl::destroy(&guest);
        probe.assert_restored();
    }
}
