//! See `tests/fuzz/src/dtls_open_datagram.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::dtls_open_datagram::run(input));
