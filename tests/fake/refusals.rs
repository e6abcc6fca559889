// SPDX-License-Identifier: GPL-3.0-only
//! What a create refuses before it makes anything, and why.

use std::fs;
use std::path::PathBuf;

use libstub::host::fake::Behaviour;
use libstub::host::{DomainKind, Hypervisor as _, NewDomain};
use libstub::{Cause, Code, CreateError, DomId, Journal, Kib};
use uuid::Uuid;

use super::Bench;

const OTHER: Uuid = Uuid::from_u128(7);

/// Creates, and is refused; a dry run is refused for the same reason, and nothing was made.
fn refused(bench: &Bench) -> CreateError {
    let before = bench.host.remains();
    let error = bench.create().expect_err("refused");
    let told = libstub::preflight(&bench.host, &bench.journal, &bench.config).expect_err("refused as well");
    assert_eq!(told.code(), error.code());
    assert_eq!((error.stage.as_str(), error.guest), ("preflight", None));
    assert!(error.undone.is_empty() && error.owed.is_empty(), "{error:?}");
    assert_eq!(bench.host.remains(), before);
    error
}

/// Somebody else's domain.
fn foreign(bench: &Bench, uuid: Uuid) -> DomId {
    let new = NewDomain { uuid, kind: DomainKind::Hvm, vcpus: 1 };
    bench.host.create_domain(&new).expect("a domain")
}

#[test]
fn a_pair_that_does_not_fit_is_refused() {
    let bench = Bench::new(Behaviour::Ready);
    bench.host.has_free(Kib::from_mib(64));
    let error = refused(&bench);
    let Cause::NotEnoughMemory { need, free } = *error.cause else { panic!("{error:?}") };
    assert!(need > free && free == Kib::from_mib(64), "{error:?}");
    bench.host.has_free(need);
    bench.create().expect("it fits exactly");
}

#[test]
fn the_name_of_another_toolstacks_domain_is_not_taken_again() {
    for name in ["g", "g-dm"] {
        let bench = Bench::new(Behaviour::Ready);
        let other = foreign(&bench, OTHER);
        bench.host.put(&format!("/local/domain/{other}/name"), name.as_bytes());
        let error = refused(&bench);
        assert!(matches!(*error.cause, Cause::NameTaken { by } if by == other), "{error:?}");
    }
}

#[test]
fn a_uuid_that_a_domain_has_is_refused() {
    let mut bench = Bench::new(Behaviour::Ready);
    bench.config.uuid = Some(OTHER);
    let other = foreign(&bench, OTHER);
    let error = refused(&bench);
    assert!(matches!(*error.cause, Cause::UuidTaken { by } if by == other), "{error:?}");
}

#[test]
fn a_config_that_a_program_made_is_checked_as_well() {
    let mut bench = Bench::new(Behaviour::Ready);
    bench.config.vcpus = 0;
    let error = refused(&bench);
    assert_eq!(error.code(), Code::ConfigValue, "{error:?}");
}

#[test]
fn an_image_that_went_away_is_refused() {
    let files = "stubdomain_kernel = \"DIR/kernel\"\nstubdomain_ramdisk = \"DIR/ramdisk\"";
    for gone in ["kernel", "ramdisk"] {
        let bench = Bench::with(Behaviour::Ready, files);
        fs::remove_file(bench.directory.path().join(gone)).expect("removed");
        let error = refused(&bench);
        assert!(matches!(error.code(), Code::ImageUnusable | Code::ImageNotFound), "{error:?}");
        assert!(error.cause.to_string().contains(gone), "{error:?}");
    }
}

#[test]
fn a_record_of_another_release_blocks_its_name() {
    let text = "{\"version\": 99}";
    let bench = Bench::new(Behaviour::Ready);
    fs::create_dir_all(bench.journal.directory()).expect("a journal");
    fs::write(bench.record(), text).expect("a record");
    assert_eq!(refused(&bench).code(), Code::JournalVersion);
    assert_eq!(fs::read_to_string(bench.record()).expect("still there"), text);
}

#[test]
fn a_journal_that_cannot_be_a_directory_is_refused() {
    let mut bench = Bench::new(Behaviour::Ready);
    let file: PathBuf = bench.directory.path().join("file");
    fs::write(&file, "").expect("a file");
    bench.journal = Journal::new(file.join("journal"));
    assert_eq!(refused(&bench).code(), Code::JournalIo);
}
