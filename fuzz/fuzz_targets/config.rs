// SPDX-License-Identifier: GPL-3.0-only
//! Any text is read as a config or refused, with faults that lie within it.
//!
//! `cargo +nightly fuzz run config fuzz/corpus/config libstub/tests/config/wrong libstub/tests/config/right --
//! -dict=fuzz/config.dict -max_total_time=600`
#![no_main]

#[path = "../../libstub/tests/config/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| invariants::check(text));
