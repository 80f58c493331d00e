//! See `tests/fuzz/src/format_decode.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::format_decode::run(input));
