// SPDX-License-Identifier: GPL-3.0-only
//! What becomes of each end of a pair that is looked after.

use std::time::Duration;

use libstub::config::{Action, Policy};
use libstub::host::fake::{Behaviour, Fault};
use libstub::{
    Cause, End, Happening, PairState, RestartLimit, ShutdownReason, SupervisorError, SupervisorOptions,
};

use super::{Driven, all, ends, kept, name, options, pair, removed, restarted, supervised};
use crate::Bench;

const REASONS: [ShutdownReason; 5] = [
    ShutdownReason::Poweroff,
    ShutdownReason::Reboot,
    ShutdownReason::Crash,
    ShutdownReason::Watchdog,
    ShutdownReason::SoftReset,
];

#[test]
fn a_guest_that_ends_is_removed_kept_or_restarted_as_its_config_says() {
    for reason in REASONS {
        let (bench, made, mut driven) = pair(all(Action::Destroy), options());
        bench.host.shut_down(made.guest, reason);
        driven.until("its removal", removed);
        assert_eq!(ends(&driven.told), [End::Guest(reason)]);
        assert_eq!(bench.remains(), Vec::<String>::new(), "{reason}");

        let (bench, made, mut driven) = pair(all(Action::Preserve), options());
        bench.host.shut_down(made.guest, reason);
        driven.until("its being kept", kept);
        let before = bench.remains();
        driven.during(Duration::from_millis(100));
        assert_eq!(bench.remains(), before, "{reason}: it is touched");
        assert_eq!(driven.told.iter().filter(|report| kept(report)).count(), 1, "it is told once");

        let (bench, made, mut driven) = pair(all(Action::Restart), options());
        bench.host.shut_down(made.guest, reason);
        driven.until("its restart", restarted);
        let Happening::Restarted(again) = &driven.told.last().expect("told").what else { panic!() };
        assert_eq!((&again.name, again.uuid), (&made.name, made.uuid), "{reason}");
        let (pairs, _) = libstub::list(&bench.host, &bench.journal).expect("listed");
        assert_eq!((pairs[0].state, pairs[0].supervised), (PairState::Running, true));
        bench.destroy().expect("destroyed");
        driven.until("its end", |report| report.what == Happening::Forgotten);
        assert_eq!(bench.remains(), Vec::<String>::new(), "{reason}");
    }
}

#[test]
fn a_suspended_guest_is_kept_whatever_the_config_says() {
    let (bench, made, mut driven) = pair(all(Action::Destroy), options());
    bench.host.shut_down(made.guest, ShutdownReason::Suspend);
    driven.until("its being kept", kept);
    bench.destroy().expect("destroyed");
}

#[test]
fn the_death_of_the_device_model_has_a_policy_of_its_own() {
    let policy = Policy { device_model_death: Some(Action::Restart), ..all(Action::Preserve) };
    let (bench, made, mut driven) = pair(policy, options());
    bench.host.shut_down(made.stubdom, ShutdownReason::Crash);
    driven.until("its restart", restarted);
    let reason = Some(ShutdownReason::Crash);
    assert_eq!(ends(&driven.told), [End::StubdomDied { reason, words: None }]);
    // Somebody destroys only the stubdomain of the new one.
    let Happening::Restarted(again) = driven.told.last().expect("told").what.clone() else { panic!() };
    driven.during(Duration::from_millis(100));
    bench.host.remove(again.stubdom);
    driven.until("another restart", restarted);
    assert_eq!(ends(&driven.told)[1], End::StubdomDied { reason: None, words: None });
    bench.destroy().expect("destroyed");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_guest_that_somebody_destroyed_is_cleared_away_and_not_restarted() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.remove(made.guest);
    driven.until("its removal", removed);
    assert_eq!(ends(&driven.told), [End::GuestDestroyed]);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_guest_that_crashes_again_and_again_is_given_up_in_words() {
    let limit = RestartLimit { count: 2, within: Duration::from_secs(600) };
    let (bench, made, mut driven) =
        pair(all(Action::Restart), SupervisorOptions { restarts: limit, ..options() });
    let mut guest = made.guest;
    for _ in 0..2 {
        bench.host.shut_down(guest, ShutdownReason::Crash);
        driven.until("a restart", restarted);
        let Happening::Restarted(again) = &driven.told.last().expect("told").what else { panic!() };
        guest = again.guest;
        driven.during(Duration::from_millis(60));
    }
    bench.host.shut_down(guest, ShutdownReason::Crash);
    driven.until("its removal", removed);
    let words: Vec<String> = driven.told.iter().map(ToString::to_string).collect();
    let given_up = "g was restarted 2 times within 600 s: given up, it is being removed";
    assert!(words.iter().any(|line| line == given_up), "{words:#?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_pair_that_does_not_come_up_again_is_given_up_too() {
    let limit = RestartLimit { count: 1, within: Duration::from_secs(600) };
    let (bench, made, mut driven) =
        pair(all(Action::Restart), SupervisorOptions { restarts: limit, ..options() });
    bench.host.turn(Behaviour::Panic);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("its removal", removed);
    let failed = driven.told.iter().find_map(|report| match &report.what {
        Happening::Failed { why, .. } => Some(why.clone()),
        _ => None,
    });
    let failed = failed.unwrap_or_else(|| panic!("{:#?}", driven.told));
    assert!(failed.contains("the stubdom died (crash)"), "{failed}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_silent_qemu_costs_its_own_pair_only() {
    let asks = SupervisorOptions {
        ask_every: Duration::from_millis(40),
        ask_limit: Duration::from_millis(200),
        ..options()
    };
    let (bench, made, mut driven) = pair(Policy::default(), asks);
    let other = bench.create_named("other");
    driven.until("the other", supervised);
    bench.host.silence(made.stubdom, true);
    driven.until("the removal of the silent one", removed);
    assert!(matches!(&*ends(&driven.told), [End::QemuSilent { .. }]), "{:#?}", driven.told);
    bench.host.shut_down(other.guest, ShutdownReason::Poweroff);
    driven.until("the removal of the other", removed);
    assert_eq!(driven.told.last().and_then(|report| report.pair.clone()), Some(name("other")));
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_silent_qemu_that_is_kept_can_answer_again_and_the_pair_is_well() {
    let asks = SupervisorOptions {
        ask_every: Duration::from_millis(20),
        ask_limit: Duration::from_millis(50),
        ..options()
    };
    let (bench, made, mut driven) = pair(all(Action::Preserve), asks);
    bench.host.silence(made.stubdom, true);
    driven.until("its being kept", kept);
    bench.host.silence(made.stubdom, false);
    driven.until("its answer", |report| report.what == Happening::AnswersAgain);
    driven.during(Duration::from_millis(100));
    bench.host.shut_down(made.guest, ShutdownReason::Crash);
    driven.until("its being kept again", kept);
    bench.destroy().expect("destroyed");
}

#[test]
fn another_domain_under_the_id_of_the_guest_is_left_alone() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.fail(Fault::None);
    bench.host.replace(made.guest);
    driven.until("the removal of what is left", removed);
    assert_eq!(ends(&driven.told), [End::GuestDestroyed]);
    bench.host.shut_down(made.guest, ShutdownReason::Crash);
    driven.during(Duration::from_millis(100));
    assert_eq!(bench.domains(), [format!("domain {}", made.guest)], "the stranger is gone");
    let at = |verb: &str| format!("{verb} {}", made.guest);
    for touch in [at("destroy"), at("pause"), at("remove /local/domain/")] {
        let calls = bench.host.calls();
        assert!(!calls.iter().any(|call| call.contains(&touch)), "{touch}: {calls:#?}");
    }
}

#[test]
fn a_pair_that_its_user_destroys_is_his_to_destroy() {
    let (bench, _, mut driven) = pair(all(Action::Restart), options());
    for _ in 0..5 {
        bench.destroy().expect("destroyed");
        driven.until("its end", |report| report.what == Happening::Forgotten);
        bench.create().expect("created anew");
        driven.until("the new one", supervised);
    }
    bench.destroy().expect("destroyed");
    driven.during(Duration::from_millis(100));
    assert_eq!(ends(&driven.told), Vec::<End>::new(), "{:#?}", driven.told);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn one_looks_after_all_and_one_after_each() {
    let bench = Bench::new(Behaviour::Ready);
    let only = |pair: &str| SupervisorOptions { only: Some(name(pair)), ..options() };
    let mut run = Driven::start(&bench, only("g")).expect("the first");
    assert!(matches!(Driven::start(&bench, only("g")), Err(SupervisorError::Pair(_))));
    let mut daemon = Driven::start(&bench, options()).expect("of all others");
    assert!(matches!(Driven::start(&bench, options()), Err(SupervisorError::Daemon(_))));
    let made = run.supervisor.create(bench.config.clone()).expect("an operation");
    let made = made.wait(|_| {}).expect("a loop").expect("created");
    run.until("its own pair", supervised);
    let other = bench.create_named("other");
    daemon.until("the other", supervised);
    bench.host.shut_down(made.guest, ShutdownReason::Poweroff);
    bench.host.shut_down(other.guest, ShutdownReason::Poweroff);
    daemon.until("the removal of the other", removed);
    daemon.during(Duration::from_millis(100));
    assert_eq!(daemon.told.iter().filter(|report| report.pair == Some(name("g"))).count(), 0);
    run.until("the removal of its own", removed);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_config_that_asks_for_acts_needs_somebody_and_defaults_do_not() {
    let mut bench = Bench::new(Behaviour::Ready);
    bench.create().expect("by default nothing is asked for");
    bench.destroy().expect("destroyed");
    bench.config.policy.crash = Some(Action::Restart);
    let error = bench.create().expect_err("nobody is there");
    assert!(matches!(&*error.cause, Cause::NobodyActs(keys) if *keys == ["on_crash"]), "{error:?}");
    let error = libstub::preflight(&bench.host, &bench.journal, &bench.config).expect_err("nobody is there");
    assert!(matches!(&*error.cause, Cause::NobodyActs(_)), "{error:?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
    let driven = Driven::start(&bench, options()).expect("nobody else");
    bench.create().expect("a daemon is there");
    drop(driven);
    bench.destroy().expect("destroyed");
    let error = bench.create().expect_err("it is gone again");
    assert!(matches!(&*error.cause, Cause::NobodyActs(_)), "{error:?}");
}

#[test]
fn a_restart_takes_the_config_that_the_pair_was_created_from() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    let before = config_in(&bench);
    assert_eq!(before["memory"], serde_json::json!(16 * 1024));
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("its restart", restarted);
    let mut after = config_in(&bench);
    assert_eq!(after["uuid"], made.uuid.to_string(), "the uuid that was chosen is kept");
    after["uuid"] = before["uuid"].clone();
    assert_eq!(after, before);
    bench.destroy().expect("destroyed");
}

fn config_in(bench: &Bench) -> serde_json::Value {
    let text = std::fs::read(bench.record()).expect("a record");
    serde_json::from_slice::<serde_json::Value>(&text).expect("JSON")["config"].clone()
}
