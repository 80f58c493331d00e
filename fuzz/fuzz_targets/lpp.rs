//! See `tests/fuzz/src/lpp.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::lpp::run(input));
