//! See `tests/fuzz/src/key_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| lpwad_fuzz_targets::key_file::run(input));
