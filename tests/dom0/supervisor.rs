// SPDX-License-Identifier: GPL-3.0-only
//! Pairs that are looked after, on a real Xen: what becomes of each end, and of the one who looks.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use stub_tests::guest::{Ending, Guest, image_cmdline, xl};
use stub_tests::keeper::Keeper;
use stub_tests::probe::Probe;
use stub_tests::stubctl::{self, stubctl};
use stub_tests::wait_for;
use xen_sys::{Access as _, Ctrl, DomId, ShutdownReason, Store};

/// Xen 4.17 keeps a page now and then of a guest that resets its machine: one was seen, and not explained.
const PAGES: u64 = 4;

/// The host before a test; one that fails leaves no pair to the next.
struct Before(Probe);

impl Before {
    fn take() -> Self {
        Self(Probe::take())
    }

    fn assert_restored(&self) {
        self.0.assert_restored_but_for_pages(PAGES);
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let list = stubctl(&["--json", "list"]).json();
            for name in
                list["pairs"].as_array().into_iter().flatten().filter_map(|pair| pair["name"].as_str())
            {
                stubctl(&["destroy", name]);
            }
        }
    }
}

/// What a list tells of a pair.
fn listed(guest: &Guest) -> Option<Value> {
    let list = stubctl(&["--json", "list"]).json();
    list["pairs"].as_array().expect("pairs").iter().find(|pair| pair["name"] == guest.name.as_str()).cloned()
}

fn state(guest: &Guest) -> Option<String> {
    listed(guest)?["state"].as_str().map(str::to_owned)
}

fn gone(guest: &Guest) {
    wait_for("the end of the pair", || listed(guest).is_none().then_some(()));
}

/// A guest that ends for a reason.
fn ends(reason: ShutdownReason) -> Guest {
    Guest::new().ending(Ending::By(reason))
}

/// A guest that ends for a reason, in its first boot only.
fn ends_once(reason: ShutdownReason) -> Guest {
    Guest::new().ending_later(Ending::By(reason))
}

/// Creates a guest that ends once.
fn create_once(guest: &Guest) -> (u16, u16) {
    let ids = stubctl::create_running(guest);
    guest.await_word();
    guest.stay();
    ids
}

#[test]
fn each_end_of_a_guest_has_what_its_config_says() {
    let probe = Before::take();
    let daemon = Keeper::daemon(&[]);
    let off = ends(ShutdownReason::Poweroff);
    let again = ends_once(ShutdownReason::Reboot);
    let crashed = ends(ShutdownReason::Crash).with("on_crash = \"preserve\"");
    let watchdog = ends_once(ShutdownReason::Watchdog).with("on_watchdog = \"restart\"");
    let soft = ends(ShutdownReason::SoftReset).with("on_soft_reset = \"destroy\"");
    let suspended = ends(ShutdownReason::Suspend);
    let (guest, stubdom) = stubctl::create_running(&off);
    daemon.says(&format!("is looked after pair=\"{}\" guest={guest} stubdom={stubdom}", off.name));
    let (guest, _) = create_once(&again);
    let uuid = stubctl(&["--json", "show", &again.name]).json()["uuid"].clone();
    create_once(&watchdog);
    for guest in [&crashed, &soft, &suspended] {
        stubctl::create_running(guest);
    }
    gone(&off);
    gone(&soft);
    // Twice it spoke, and the second time it halted; nothing but its domain ids is new.
    for twice in [&again, &watchdog] {
        wait_for("its word again", || (twice.times_spoken() == 2).then_some(()));
        let pair = wait_for("a running pair", || listed(twice).filter(|pair| pair["state"] == "running"));
        assert_eq!(pair["supervised"], true, "{pair:#}");
    }
    let pair = listed(&again).expect("it runs");
    assert!(pair["uuid"] == uuid && pair["guest"] != guest, "{pair:#}");
    for kept in [&crashed, &suspended] {
        daemon.says(&format!("is left as it is pair=\"{}\"", kept.name));
    }
    assert_eq!(state(&crashed).as_deref(), Some("crashed"));
    assert_eq!(state(&suspended).as_deref(), Some("shut-down"));
    for kept in [&again, &crashed, &watchdog, &suspended] {
        stubctl::destroy(kept);
    }
    let (status, log) = daemon.end();
    assert_eq!(status, Some(0));
    for (guest, end) in [
        (&off, "the guest powered off"),
        (&again, "the guest rebooted"),
        (&crashed, "the guest crashed"),
        (&watchdog, "the guest's watchdog fired"),
        (&soft, "the guest asked for a soft reset"),
        (&suspended, "the guest suspended itself"),
    ] {
        let told = log.lines().filter(|line| line.contains(&format!("{end} pair=\"{}\"", guest.name)));
        assert_eq!(told.count(), 1, "{end}");
    }
    probe.assert_restored();
}

#[test]
fn a_guest_that_resets_its_machine_again_and_again_is_given_up() {
    let probe = Before::take();
    let daemon = Keeper::daemon(&["--restarts", "2"]);
    let guest = Guest::new().ending(Ending::ByReset).with("on_reboot = \"restart\"");
    stubctl::create_running(&guest);
    gone(&guest);
    let (_, log) = daemon.end();
    assert!(log.contains("was restarted 2 times within 600 s: given up"), "{log}");
    assert_eq!(log.matches("runs again").count(), 2, "{log}");
    wait_for("all its words", || (guest.times_spoken() == 3).then_some(()));
    probe.assert_restored();
}

/// A guest whose stubdomain obeys keys of dom0's.
fn with_keys() -> Guest {
    let cmdline = format!("{} sysrq_always_enabled", image_cmdline());
    Guest::new().with(&format!("stubdomain_cmdline = \"{cmdline}\""))
}

fn press(stubdom: u16, key: &[u8]) {
    let sysrq = format!("/local/domain/{stubdom}/control/sysrq");
    Store::open().expect("xenstored").write(&sysrq, key).expect("a key");
}

#[test]
fn the_death_of_qemu_and_of_its_stubdom_have_a_policy() {
    let probe = Before::take();
    let daemon = Keeper::daemon(&[]);
    // By the kernel's own killer, which takes the largest process.
    let killed = with_keys().with("on_device_model_death = \"restart\"");
    let (_, stubdom) = stubctl::create_running(&killed);
    press(stubdom, b"f");
    daemon.says("QEMU ended: signal 9");
    daemon.says("runs again");
    stubctl::destroy(&killed);
    let panicked = with_keys();
    let (_, stubdom) = stubctl::create_running(&panicked);
    let began = Instant::now();
    press(stubdom, b"c");
    gone(&panicked);
    println!(
        "figure: {} ms from the key that panics a stubdom to the end of its pair",
        began.elapsed().as_millis()
    );
    let left = with_keys().with("on_device_model_death = \"preserve\"");
    let (_, stubdom) = stubctl::create_running(&left);
    press(stubdom, b"c");
    daemon.says(&format!("is left as it is pair=\"{}\"", left.name));
    assert_eq!(state(&left).as_deref(), Some("stubdom-dead"));
    stubctl::destroy(&left);
    let (_, log) = daemon.end();
    assert_eq!(log.matches("the stubdom died (crash)").count(), 3, "{log}");
    probe.assert_restored();
}

#[test]
fn a_qemu_that_is_silent_loses_its_own_pair_and_delays_no_other() {
    let probe = Before::take();
    let daemon = Keeper::daemon(&["--ask-every", "2", "--ask-limit", "20"]);
    let silent = Guest::new();
    let (_, stubdom) = stubctl::create_running(&silent);
    // It answers while it can.
    std::thread::sleep(Duration::from_secs(6));
    assert!(!daemon.has_said("silent"), "{}", daemon.text());
    let began = Instant::now();
    assert!(xl().args(["pause", &stubdom.to_string()]).status().expect("xl").success());
    let other = ends(ShutdownReason::Poweroff);
    stubctl::create_running(&other);
    gone(&other);
    assert!(daemon.has_said(&format!("the guest powered off pair=\"{}\"", other.name)), "{}", daemon.text());
    println!("figure: {} ms to serve another pair beside a silent QEMU", began.elapsed().as_millis());
    daemon.says("QEMU is silent");
    let seen = began.elapsed().as_millis();
    gone(&silent);
    println!("figure: {seen} ms until a QEMU was taken for dead that had 20,000 ms to answer");
    daemon.end();
    probe.assert_restored();
}

#[test]
fn a_daemon_that_was_killed_is_followed_by_one_that_takes_its_pairs_over() {
    let probe = Before::take();
    let daemon = Keeper::daemon(&[]);
    let ended = ends_once(ShutdownReason::Reboot).with("on_reboot = \"restart\"");
    let lives = Guest::new();
    stubctl::create_running(&lives);
    let figures = |daemon: &Keeper, pairs: usize| {
        let (memory, threads, fds) = daemon.figures();
        println!(
            "figure: a daemon with {pairs} pairs: {memory} KiB resident, {threads} threads, {fds} descriptors"
        );
        fds
    };
    wait_for("its supervision", || listed(&lives).filter(|pair| pair["supervised"] == true));
    figures(&daemon, 1);
    let another = Guest::new();
    stubctl::create_running(&another);
    wait_for("its supervision", || listed(&another).filter(|pair| pair["supervised"] == true));
    figures(&daemon, 2);
    create_once(&ended);
    assert_eq!(state(&ended).as_deref(), Some("running"), "it ended too early for this test");
    daemon.kill();
    assert_eq!(listed(&lives).expect("it lives")["supervised"], false);
    wait_for("the reboot of a guest that nobody looks after", || {
        (state(&ended).as_deref() != Some("running")).then_some(())
    });
    let daemon = Keeper::daemon(&[]);
    daemon.says(&format!("the guest rebooted pair=\"{}\"", ended.name));
    wait_for("its word again", || (ended.times_spoken() == 2).then_some(()));
    wait_for("the one that lives", || listed(&lives).filter(|pair| pair["supervised"] == true));
    figures(&daemon, 3);
    assert_eq!(stubctl(&["daemon"]).status, 1, "a second daemon");
    let (status, _) = daemon.end();
    assert_eq!(status, Some(0));
    for guest in [&lives, &another, &ended] {
        assert_eq!(state(guest).as_deref(), Some("running"), "the end of a daemon is not that of its pairs");
        stubctl::destroy(guest);
    }
    probe.assert_restored();
}

#[test]
fn a_domain_that_has_the_id_of_a_pairs_is_left_alone() {
    let probe = Before::take();
    let real = Guest::new();
    let (guest, stubdom) = stubctl::create_running(&real);
    // A record from before these ids were given away: the same numbers, other domains.
    let path = |name: &str| format!("/var/lib/stubctl/{name}.json");
    let text = fs::read_to_string(path(&real.name)).expect("a record");
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    let old = Guest::new();
    record["name"] = old.name.as_str().into();
    for role in ["guest", "stubdom"] {
        record[role]["uuid"] = uuid::Uuid::new_v4().to_string().into();
    }
    let unfinished = format!(".{}.new", old.name);
    fs::write(format!("/var/lib/stubctl/{unfinished}"), record.to_string()).expect("a record");
    fs::rename(format!("/var/lib/stubctl/{unfinished}"), path(&old.name)).expect("a record");
    let daemon = Keeper::daemon(&[]);
    daemon.says(&format!("is gone pair=\"{}\"", old.name));
    gone(&old);
    let ctrl = Ctrl::open().expect("Xen");
    for domid in [guest, stubdom] {
        let info = ctrl.domain_info(DomId::new(domid)).expect("an answer").expect("it lives");
        assert!(!info.dying && info.shutdown.is_none() && !info.paused, "{info:?}");
    }
    drop(ctrl);
    assert_eq!(state(&real).as_deref(), Some("running"));
    real.await_word();
    daemon.end();
    stubctl::destroy(&real);
    probe.assert_restored();
}

#[test]
fn a_run_ends_with_its_guest_and_the_guest_with_a_run_that_is_told_to_end() {
    let probe = Before::take();
    let run = |guest: &Guest| Keeper::start(&["run", &guest.config().display().to_string()]);
    let off = ends(ShutdownReason::Poweroff);
    let (status, text) = run(&off).wait();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("the guest powered off") && text.contains("is gone"), "{text}");
    let crashed = ends(ShutdownReason::Crash).with("on_crash = \"destroy\"");
    let (status, text) = run(&crashed).wait();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("error[guest-crashed]"), "{text}");
    let kept = ends(ShutdownReason::Poweroff).with("on_poweroff = \"preserve\"");
    assert_eq!(run(&kept).wait().0, Some(0));
    assert_eq!(state(&kept).as_deref(), Some("shut-down"));
    stubctl::destroy(&kept);
    let told = Guest::new();
    let running = run(&told);
    running.says("runs: guest");
    assert_eq!(stubctl(&["run", &told.config().display().to_string()]).status, 1, "it is looked after");
    assert_eq!(running.end().0, Some(0));
    assert!(listed(&told).is_none());
    let guest = Guest::new();
    let early = run(&guest);
    wait_for("its record", || listed(&guest));
    assert_eq!(early.end().0, Some(1), "a create that is told to end has failed, and is undone");
    probe.assert_restored();
}

#[test]
fn a_config_that_asks_for_acts_is_refused_where_nobody_acts() {
    let probe = Before::take();
    let guest = Guest::new().with("on_crash = \"restart\"").with("on_reboot = \"preserve\"");
    let ran = stubctl::create(&guest);
    assert_eq!(ran.status, 3, "{ran:?}");
    let error = &ran.json()["error"];
    assert_eq!(error["code"], "nobody-acts", "{error:#}");
    let text = error.to_string();
    assert!(text.contains("there to obey on_crash\"") && text.contains("stubctl daemon"), "{text}");
    probe.assert_restored();
}
