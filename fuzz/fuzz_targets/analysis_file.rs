//! See `tests/fuzz/src/analysis_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| lpwad_fuzz_targets::analysis_file::run(input));
