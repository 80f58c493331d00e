//! See `tests/fuzz/src/dtls_session_import.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::dtls_session_import::run(input));
