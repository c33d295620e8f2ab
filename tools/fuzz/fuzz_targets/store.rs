//! Operations on a shard beside a simple model of it.
#![no_main]

#[path = "../../../engine/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::fuzz_store(input));
