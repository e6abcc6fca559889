// SPDX-License-Identifier: GPL-3.0-only
//! How a create that failed is undone: from its end to its beginning, all of it, and with the first cause kept.

use std::collections::BTreeSet;

use libstub::host::fake::{Behaviour, Failure, Fault};
use libstub::{Cause, DestroyError, Milestone, Owed, Remains};
use uuid::Uuid;

use super::Bench;

/// The places of all calls with this text, in their order.
fn places(calls: &[String], call: &str) -> Vec<usize> {
    let places = calls.iter().enumerate().filter(|(_, made)| made.contains(call));
    places.map(|(place, _)| place).collect()
}

#[test]
fn what_was_made_last_is_undone_first_and_the_record_goes_last() {
    let bench = Bench::new(Behaviour::Panic);
    bench.host.fail(Fault::None);
    let error = bench.create().expect_err("it panics");
    let (guest, stubdom) = (error.guest.expect("made"), error.stubdom.expect("made"));
    let calls = bench.host.calls();
    let one =
        |call: &str| *places(&calls, call).first().unwrap_or_else(|| panic!("no {call:?} in {calls:#?}"));
    // The guest was made before its stubdomain.
    assert!(one(&format!("destroy {stubdom}")) < one(&format!("destroy {guest}")), "{calls:#?}");
    // The guest's disk, the stubdomain's view of it, and the root filesystem, which came first.
    let of = |domid, devid: u32| {
        let states = places(&calls, &format!("write /local/domain/0/backend/vbd/{domid}/{devid}/state"));
        let [made, closed] = *states else { panic!("{domid} {devid} {states:?} in {calls:#?}") };
        (made, closed)
    };
    let mut vbds = [of(stubdom, 268_441_856), of(guest, 51_712), of(stubdom, 51_712)];
    vbds.sort_unstable();
    assert!(vbds.is_sorted_by(|earlier, later| earlier.1 > later.1), "{vbds:?}");
    assert!(vbds[0].1 < one("remove-empty"), "{calls:#?}");
    assert!(calls.last().is_some_and(|call| call.starts_with("sync")), "{calls:#?}");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn the_first_cause_is_kept_whatever_its_undo_meets() {
    for failure in [Failure::Errno(5), Failure::StoreLost] {
        for at in 1.. {
            let [first, both] = [Fault::Once(at), Fault::From(at)].map(|fault| {
                let bench = Bench::new(Behaviour::Ready);
                bench.host.fail_with(fault, failure);
                let here = bench.directory.path().file_name().expect("a name").to_string_lossy().into_owned();
                let error = bench.create().err().map(|error| {
                    // What is another's in each bench.
                    let is_own = |word: &&str| *word != here && Uuid::parse_str(word).is_err();
                    let text = error.cause.to_string();
                    text.split([' ', '/', ';']).filter(is_own).collect::<Vec<_>>().join(" ")
                });
                let made = bench.host.calls().len();
                (error, made)
            });
            if first.1 < at {
                assert!(at > 30, "hardly a call was made");
                break;
            }
            // What only helps may fail once, and then another call is the first that counts.
            let (Some(first), Some(both)) = (first.0, both.0) else { continue };
            assert_eq!(first, both, "{failure:?} at call {at}");
        }
    }
}

#[test]
fn an_undo_that_fails_keeps_no_other_from_being_tried() {
    let all = {
        let bench = Bench::new(Behaviour::Ready);
        bench.create().expect("created");
        BTreeSet::from_iter(bench.destroy().expect("destroyed").undone)
    };
    let mut owing = 0;
    for at in 1.. {
        let bench = Bench::new(Behaviour::Ready);
        bench.create().expect("created");
        bench.host.fail_with(Fault::Once(at), Failure::Errno(5));
        let result = bench.destroy();
        if bench.host.calls().len() < at {
            break;
        }
        let Err(DestroyError::Owed { undone, owed, .. }) = result else { continue };
        owing += 1;
        let told: BTreeSet<String> =
            undone.into_iter().chain(owed.iter().map(|owed| owed.what.clone())).collect();
        let untold: Vec<&String> = all.difference(&told).filter(|what| !excused(what, &owed)).collect();
        assert!(untold.is_empty(), "call {at}: {untold:?} of {owed:?}");
    }
    assert!(owing > 5, "{owing}");
}

/// What cannot be tried when something else is owed: nothing in what may be another boot, no end of a domain that could not
/// be looked at, and a loop device goes with the last vbd that has it.
fn excused(what: &str, owed: &[Owed]) -> bool {
    let met = |word: &str| owed.iter().any(|owed| owed.what.contains(word));
    met("the whole pair")
        || what.starts_with("/dev/loop") && met("domain")
        || !what.starts_with("vbd") && met("the domain ")
        || what.rsplit_once(" of ").is_some_and(|(_, domain)| met(&format!("named after {domain}")))
}

#[test]
fn a_file_that_somebody_holds_is_owed_and_its_loop_device_named_until_it_is_free() {
    let bench = Bench::new(Behaviour::Ready);
    let operation =
        libstub::create(Box::new(bench.host.clone()), bench.journal.clone(), bench.config.clone());
    let created = operation.expect("an event loop").wait(|event| {
        if event.milestone == Milestone::QemuReleased {
            bench.host.keep_open(true);
        }
    });
    created.expect("an event loop").expect("created");
    let error = bench.destroy().expect_err("the disk's file is held");
    let DestroyError::Owed { owed, .. } = error else { panic!("{error:?}") };
    let [owed] = &*owed else { panic!("what is only read is shared: {owed:?}") };
    assert!(owed.what.starts_with("/dev/loop"), "{owed:?}");
    assert_eq!(owed.why, "somebody in dom0 has it open");
    assert!(std::fs::read_to_string(bench.record()).expect("a record").contains("\"inode\""));
    bench.host.keep_open(false);
    assert!(bench.reap(false).pairs.iter().all(|pair| pair.owed.is_empty()));
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_dry_run_foresees_what_a_create_would_remove_first() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    bench.host.fail_with(Fault::From(8), Failure::StoreLost);
    bench.destroy().expect_err("xenstored is gone");
    bench.host.fail(Fault::None);
    let before = bench.remains();
    let told = libstub::preflight(&bench.host, &bench.journal, &bench.config).expect("it would be created");
    assert_eq!(told.left, Some(Remains::Unfinished));
    assert_eq!(bench.remains(), before, "something was done");
    bench.create().expect("created");
    let error = libstub::preflight(&bench.host, &bench.journal, &bench.config).expect_err("it runs");
    assert!(matches!(*error.cause, Cause::PairExists), "{error:?}");
}
