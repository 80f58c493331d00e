//! See `tests/fuzz/src/at_line.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::at_line::run("lora-e5", input));
