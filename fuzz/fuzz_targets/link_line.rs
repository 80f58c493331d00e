//! See `tests/fuzz/src/link_line.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::link_line::run(input));
