//! See `tests/fuzz/src/fact_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::fact_file::run(input));
