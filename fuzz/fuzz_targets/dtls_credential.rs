//! See `tests/fuzz/src/dtls_credential.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::dtls_credential::run(input));
