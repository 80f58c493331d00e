//! See `tests/fuzz/src/gateway_input.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::gateway_input::run(input));
