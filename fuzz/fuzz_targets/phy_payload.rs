//! See `tests/fuzz/src/phy_payload.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::phy_payload::run(input));
