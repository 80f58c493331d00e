//! See `tests/fuzz/src/wireguard_facts.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lpwad_fuzz_targets::wireguard_facts::run(input));
