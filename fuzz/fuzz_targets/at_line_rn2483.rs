//! See `tests/fuzz/src/at_line_rn2483.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::at_line_rn2483::run(input));
