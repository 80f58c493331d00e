//! See `tests/fuzz/src/client_datagram.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::client_datagram::run(input));
