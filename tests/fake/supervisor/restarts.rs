// SPDX-License-Identifier: GPL-3.0-only
//! A restart on its way: who may have the name, and who goes on with it.

use std::time::Duration;

use libstub::config::{Action, Policy};
use libstub::host::fake::{Behaviour, Fault};
use libstub::{Cause, Happening, ShutdownReason};

use super::{all, options, pair, removed};

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
