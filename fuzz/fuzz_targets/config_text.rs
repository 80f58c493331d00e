//! See `tests/fuzz/src/config_text.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| lpwad_fuzz_targets::config_text::run(input));
