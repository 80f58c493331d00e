//! See `tests/fuzz/src/decision_record.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::decision_record::run(input));
