//! See `tests/fuzz/src/coap_message.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::coap_message::run(input));
