//! See `tests/fuzz/src/control_request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::control_request::run(input));
