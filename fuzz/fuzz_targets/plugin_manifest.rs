//! See `tests/fuzz/src/plugin_manifest.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| lpwad_fuzz_targets::plugin_manifest::run(input));
