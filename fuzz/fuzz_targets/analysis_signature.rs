//! See `tests/fuzz/src/analysis_signature.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::analysis_signature::run(input));
