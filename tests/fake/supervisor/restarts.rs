// SPDX-License-Identifier: GPL-3.0-only
//! A restart on its way: who may have the name, and who goes on with it.

use std::time::Duration;

use libstub::config::{Action, Policy};
use libstub::host::fake::{Behaviour, Fault};
use libstub::{Cause, Happening, ShutdownReason, Supervisor};

use super::{all, opener, options, pair, removed, supervised};
use crate::Bench;

#[test]
fn a_pair_about_to_be_restarted_is_no_remains_and_its_name_is_taken() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.turn(Behaviour::Panic);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("a failure", |report| matches!(report.what, Happening::Failed { .. }));
    let reaped = bench.reap(false);
    assert_eq!((reaped.pairs.len(), reaped.busy.len()), (0, 1), "{reaped:?}");
    let error = bench.create().expect_err("the name is taken");
    assert!(matches!(&*error.cause, Cause::PairExists), "{error:?}");
    // When nobody looks after it any more, it is.
    driven.stop();
    assert_eq!(bench.reap(false).pairs.len(), 1);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_pair_that_waits_for_its_restart_can_be_destroyed() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    bench.host.turn(Behaviour::Panic);
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    driven.until("a failure", |report| matches!(report.what, Happening::Failed { .. }));
    bench.destroy().expect("destroyed");
    driven.until("its end", |report| report.what == Happening::Forgotten);
    bench.host.turn(Behaviour::Ready);
    driven.during(Duration::from_millis(100));
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_removed_is_tried_again_until_it_can() {
    let (bench, made, mut driven) = pair(Policy::default(), options());
    bench.host.fail(Fault::From(1));
    bench.host.shut_down(made.guest, ShutdownReason::Poweroff);
    driven.until("trouble", |report| matches!(report.what, Happening::Trouble(_)));
    bench.host.fail(Fault::None);
    driven.until("its removal", removed);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_pair_whose_record_keeps_no_config_is_not_restarted_and_says_so() {
    let (bench, made, mut driven) = pair(all(Action::Restart), options());
    let text = std::fs::read_to_string(bench.record()).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["config"] = serde_json::Value::Null;
    let new = bench.record().with_extension("edited");
    std::fs::write(&new, record.to_string()).expect("written");
    std::fs::rename(new, bench.record()).expect("replaced");
    bench.host.shut_down(made.guest, ShutdownReason::Reboot);
    let mut told = String::new();
    driven.until("a failure", |report| {
        told = report.to_string();
        matches!(report.what, Happening::Failed { .. })
    });
    assert!(told.contains("config"), "{told}");
    driven.stop();
    bench.destroy().expect("destroyed");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_supervisor_that_has_a_thread_of_its_own_works_until_it_is_stopped() {
    let bench = Bench::new(Behaviour::Ready);
    let made = bench.create().expect("created");
    let supervisor =
        Supervisor::start(opener(&bench.host), bench.journal.clone(), options()).expect("nobody else");
    let stopper = supervisor.stopper();
    let mut told = Vec::new();
    supervisor
        .wait(|report| {
            if supervised(&report) {
                bench.host.shut_down(made.guest, ShutdownReason::Poweroff);
            }
            if removed(&report) {
                stopper.stop();
            }
            told.push(report.what);
        })
        .expect("its loop");
    assert_eq!(told.last(), Some(&Happening::Removed));
    assert_eq!(bench.remains(), Vec::<String>::new());
}
