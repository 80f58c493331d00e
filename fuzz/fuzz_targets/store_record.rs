//! See `tests/fuzz/src/store_record.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::store_record::run(input));
