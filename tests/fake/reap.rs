// SPDX-License-Identifier: GPL-3.0-only
//! Whatever died when, a later reap pays for it; and it touches nothing else.

use std::cell::Cell;

use libstub::host::fake::{Behaviour, Fault};
use libstub::host::{DomainKind, Hypervisor as _, NewDomain};
use libstub::{Cause, Name, ReapOptions, Reaped, Remains};
use uuid::Uuid;

use super::{Bench, quietly};

impl Bench {
    /// Creates in a process that dies at its n-th call; gives whether it got that far.
    fn create_that_dies(&self, at: usize) -> bool {
        self.host.fail(Fault::Die(at));
        let operation =
            libstub::create(Box::new(self.host.clone()), self.journal.clone(), self.config.clone());
        let died = operation.expect("an event loop").wait(|_| {}).map_or(true, |result| result.is_err());
        self.host.fail(Fault::None);
        died
    }

    fn destroy_that_dies(&self, at: usize) -> bool {
        self.host.fail(Fault::Die(at));
        let name = Name::new("g").expect("a name");
        let operation = libstub::destroy(Box::new(self.host.clone()), self.journal.clone(), name);
        let died = operation.expect("an event loop").wait(|_| {}).map_or(true, |result| result.is_err());
        self.host.fail(Fault::None);
        died
    }

    fn reap_that_dies(&self, at: usize) -> bool {
        self.host.fail(Fault::Die(at));
        let host = Box::new(self.host.clone());
        let operation = libstub::reap(host, self.journal.clone(), ReapOptions::default());
        let died = operation.expect("an event loop").wait(|_| {}).map_or(true, |result| result.is_err());
        self.host.fail(Fault::None);
        died
    }
}

#[test]
fn what_a_create_leaves_that_dies_at_any_call_is_reaped() {
    quietly(|| {
        for at in 1.. {
            let bench = Bench::new(Behaviour::Ready);
            if !bench.create_that_dies(at) {
                println!("{} points of death", at - 1);
                assert!(at > 30, "hardly a call was made");
                return;
            }
            let reaped = bench.reap(false);
            assert!(reaped.pairs.iter().all(|pair| pair.owed.is_empty()), "call {at}: {reaped:?}");
            assert_eq!(bench.remains(), Vec::<String>::new(), "call {at}");
            assert_eq!(bench.reap(false), Reaped::default(), "call {at}: a second reap found something");
        }
    });
}

#[test]
fn another_toolstacks_domain_with_the_uuid_of_a_create_that_died_lives_on() {
    let uuid = Uuid::from_u128(0x5ca1_ab1e);
    let tried = Cell::new(0);
    quietly(|| {
        for at in 1.. {
            let mut bench = Bench::new(Behaviour::Ready);
            bench.config.uuid = Some(uuid);
            if !bench.create_that_dies(at) {
                return;
            }
            let there = bench.host.domains().expect("domains").iter().any(|info| info.uuid == uuid);
            if there || !bench.record().exists() {
                continue;
            }
            tried.set(tried.get() + 1);
            let new = NewDomain { uuid, kind: DomainKind::Hvm, vcpus: 1 };
            let other = bench.host.create_domain(&new).expect("a domain");
            bench.host.unpause(other).expect("running");
            bench.reap(false);
            let info = bench.host.domain(other).expect("Xen");
            assert!(info.is_some_and(|info| !info.dying && !info.paused), "call {at}");
        }
    });
    assert!(tried.get() > 0, "no create died with a record and without a domain");
}

#[test]
fn a_create_clears_what_is_left_of_its_name_without_a_record() {
    let bench = Bench::new(Behaviour::Ready);
    let made = bench.create().expect("created");
    std::fs::remove_file(bench.record()).expect("its record is lost");
    let error = bench.create().expect_err("the pair runs");
    assert!(matches!(*error.cause, Cause::NameTaken { .. }), "{error:?}");
    let lives = |domid| bench.host.domain(domid).expect("Xen").is_some_and(|info| !info.dying);
    assert!(lives(made.guest) && lives(made.stubdom), "a pair that runs was touched");
    bench.host.destroy(made.guest).expect("destroyed by another hand");
    bench.create().expect("created in its place");
    bench.destroy().expect("destroyed");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_create_sets_a_damaged_record_of_its_name_aside() {
    let bench = Bench::new(Behaviour::Ready);
    std::fs::create_dir_all(bench.journal.directory()).expect("a directory");
    std::fs::write(bench.record(), "{").expect("damaged");
    bench.create().expect("created");
    bench.destroy().expect("destroyed");
    let aside = bench.journal.directory().join("g.damaged.1");
    assert_eq!(std::fs::read_to_string(aside).expect("kept"), "{");
    bench.forget_damaged();
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_create_after_one_that_died_at_any_call_clears_its_name_first() {
    quietly(|| {
        for at in 1.. {
            let bench = Bench::new(Behaviour::Ready);
            if !bench.create_that_dies(at) {
                return;
            }
            bench.create().unwrap_or_else(|error| panic!("call {at}: {error:?}"));
            bench.destroy().expect("destroyed");
            assert_eq!(bench.remains(), Vec::<String>::new(), "call {at}");
        }
    });
}

#[test]
fn what_a_destroy_leaves_that_dies_at_any_call_is_reaped() {
    quietly(|| {
        for at in 1.. {
            let bench = Bench::new(Behaviour::Ready);
            bench.create().expect("created");
            if !bench.destroy_that_dies(at) {
                println!("{} points of death", at - 1);
                return;
            }
            bench.reap(false);
            // It died before its first mark on disk: the pair runs on.
            if bench.record().exists() {
                bench.destroy().expect("destroyed");
            }
            assert_eq!(bench.remains(), Vec::<String>::new(), "call {at}");
        }
    });
}

#[test]
fn a_reap_that_dies_at_any_call_is_finished_by_the_next() {
    quietly(|| {
        for orphan in [false, true] {
            for at in 1.. {
                let bench = Bench::new(Behaviour::Ready);
                if orphan {
                    bench.create().expect("created");
                    std::fs::remove_file(bench.record()).expect("its record is lost");
                } else {
                    bench.create_that_dies(25);
                }
                if !bench.reap_that_dies(at) {
                    println!("{} points of death", at - 1);
                    break;
                }
                bench.reap(false);
                assert_eq!(bench.remains(), Vec::<String>::new(), "orphan {orphan}, call {at}");
            }
        }
    });
}

#[test]
fn a_reap_leaves_running_pairs_and_domains_of_others_alone() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    let new = NewDomain { uuid: Uuid::from_u128(1), kind: DomainKind::Hvm, vcpus: 1 };
    bench.host.create_domain(&new).expect("somebody else's domain");
    let before = bench.remains();
    assert_eq!(bench.reap(false), Reaped::default());
    assert_eq!(bench.remains(), before);
}

#[test]
fn a_pair_whose_record_is_damaged_is_found_by_its_marks() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    std::fs::write(bench.record(), "{").expect("damaged");
    let told = bench.reap(true);
    assert_eq!(told.set_aside.len(), 1, "{told:?}");
    assert!(bench.record().exists(), "a dry run has moved it");
    let reaped = bench.reap(false);
    let [pair] = &*reaped.pairs else { panic!("{reaped:?}") };
    assert_eq!((pair.why, pair.owed.len()), (Remains::Orphan, 0), "{pair:?}");
    assert_eq!(std::fs::read_to_string(&reaped.set_aside[0]).expect("kept"), "{");
    std::fs::remove_file(&reaped.set_aside[0]).expect("removed");
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    quietly(|| {
        let bench = Bench::new(Behaviour::Ready);
        assert!(bench.create_that_dies(25));
        let before = bench.remains();
        let told = bench.reap(true);
        assert_eq!((told.pairs.len(), told.pairs[0].why), (1, Remains::Unfinished));
        assert_eq!(bench.remains(), before);
        bench.reap(false);
        assert_eq!(bench.remains(), Vec::<String>::new());
    });
}

#[test]
fn a_record_of_another_release_is_left_alone() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    let text = std::fs::read_to_string(bench.record()).expect("a record");
    std::fs::write(bench.record(), text.replacen("\"version\": 1", "\"version\": 99", 1)).expect("written");
    let before = bench.remains();
    assert_eq!(bench.reap(false).set_aside, Vec::<std::path::PathBuf>::new());
    assert_eq!(bench.remains(), before, "another release's pair was touched");
}

#[test]
fn a_pair_that_is_being_created_is_not_reaped() {
    let bench = Bench::new(Behaviour::Silence);
    let host = Box::new(bench.host.clone());
    let operation =
        libstub::create(host, bench.journal.clone(), bench.config.clone()).expect("an event loop");
    let mut reaped = None;
    let canceller = operation.canceller();
    let result = operation.wait(|event| {
        if matches!(event.milestone, libstub::Milestone::QemuReleased) {
            let whole = [true, false].map(|dry_run| bench.reap(dry_run));
            // Nor is its record moved away, whatever it looks like in this moment.
            std::fs::write(bench.record(), "{").expect("damaged");
            let damaged = [true, false].map(|dry_run| bench.reap(dry_run));
            reaped = Some([whole, damaged]);
            canceller.cancel();
        }
    });
    let error = result.expect("an event loop").expect_err("cancelled");
    assert!(matches!(*error.cause, Cause::Cancelled), "the reap got in its way: {error:?}");
    for reaped in reaped.expect("reaped meanwhile").as_flattened() {
        assert_eq!((reaped.pairs.len(), reaped.set_aside.len()), (0, 0), "{reaped:?}");
        assert!(!reaped.busy.is_empty(), "{reaped:?}");
    }
}

#[test]
fn an_orphan_whose_name_a_gone_pair_has_is_reaped_after_it() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    std::fs::remove_file(bench.record()).expect("its record is lost");
    // A record of the same name, of domains that are none of these.
    let lost = bench.host.remains();
    let other = Bench::new(Behaviour::Ready);
    other.create().expect("created");
    std::fs::copy(other.record(), bench.record()).expect("a record");
    // The record itself is of a pair that is gone: its end comes first, and then the orphan has its name for itself.
    let told = bench.reap(true);
    assert!(told.pairs.iter().any(|pair| pair.why == Remains::Orphan), "{told:?}");
    assert_eq!(bench.host.remains(), lost, "a dry run touched something");
    let reaped = bench.reap(false);
    let whys: Vec<Remains> = reaped.pairs.iter().map(|pair| pair.why).collect();
    assert_eq!(whys, [Remains::Gone, Remains::Orphan]);
    assert_eq!(bench.remains(), Vec::<String>::new());
}

#[test]
fn an_orphan_whose_name_a_running_pair_has_is_owed_and_left_alone() {
    let bench = Bench::new(Behaviour::Ready);
    let orphan = bench.create().expect("created");
    std::fs::remove_file(bench.record()).expect("its record is lost");
    bench.host.pause(orphan.stubdom).expect("paused");
    // Renamed by somebody, so that its name is free again.
    for domid in [orphan.guest, orphan.stubdom] {
        bench.host.put(&format!("/local/domain/{domid}/name"), b"other");
    }
    bench.create().expect("another pair of the name");
    let before = bench.remains();
    let reaped = bench.reap(false);
    let [pair] = &*reaped.pairs else { panic!("{reaped:?}") };
    assert_eq!((pair.why, pair.undone.len(), pair.owed.len()), (Remains::Orphan, 0, 2), "{pair:?}");
    assert!(pair.owed.iter().all(|owed| owed.why == "another pair of its name is recorded"), "{pair:?}");
    assert_eq!(bench.remains(), before, "it was touched");
}

#[test]
fn a_stubdom_without_its_mark_is_found_by_its_target() {
    let bench = Bench::new(Behaviour::Ready);
    let orphan = bench.create().expect("created");
    std::fs::remove_file(bench.record()).expect("its record is lost");
    let new = NewDomain { uuid: Uuid::from_u128(1), kind: DomainKind::Pv, vcpus: 1 };
    let other = bench.host.create_domain(&new).expect("somebody else's domain");
    // It claims to serve the guest, which knows nothing of it.
    bench.host.put(&format!("/local/domain/{other}/target"), orphan.guest.to_string().as_bytes());
    for name in ["pair", "role", "journal"] {
        bench.host.take(&format!("/local/domain/{}/stubctl/{name}", orphan.stubdom));
    }
    let reaped = bench.reap(false);
    let [pair] = &*reaped.pairs else { panic!("{reaped:?}") };
    assert_eq!((pair.why, pair.owed.len()), (Remains::Orphan, 0), "{pair:?}");
    assert_eq!(bench.remains(), [format!("domain {other}"), format!("/local/domain/{other}/target")]);
}

#[test]
fn domains_whose_record_is_another_releases_are_left_alone() {
    let bench = Bench::new(Behaviour::Ready);
    bench.create().expect("created");
    std::fs::write(bench.record(), "{\"version\": 99}").expect("written");
    let before = bench.remains();
    assert_eq!(bench.reap(false).pairs, Vec::new());
    assert_eq!(bench.remains(), before);
}

#[test]
fn what_is_left_is_told_in_other_words_for_each_reason() {
    let all = [Remains::Unfinished, Remains::Gone, Remains::EarlierBoot, Remains::Orphan, Remains::Damaged];
    let words: std::collections::BTreeSet<_> = all.iter().map(|why| why.in_words()).collect();
    let names: std::collections::BTreeSet<_> = all.iter().map(|why| why.as_str()).collect();
    assert_eq!((words.len(), names.len()), (all.len(), all.len()));
}
