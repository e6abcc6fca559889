// SPDX-License-Identifier: GPL-3.0-only
//! Any text is read as a config or refused, with faults that lie within it.
//!
//! `cargo +nightly fuzz run -s none config fuzz/corpus/config libstub/tests/config/wrong libstub/tests/config/right
//! -- -dict=fuzz/config.dict -max_len=1024 -max_total_time=600`; without a sanitizer, because nothing here is unsafe.
#![no_main]

#[path = "../../libstub/tests/config/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| invariants::check(text));
