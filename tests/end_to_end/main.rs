//! The real processes together: lpwad, its radio plugin, a modem on a pseudo terminal with foreign nodes, and a foreign
//! server. One file a story; `site.rs` starts and watches the processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test that uses them")]

mod air_trace;
mod backlog;
mod bearer;
mod capture;
mod check;
mod cli;
mod clock;
mod demo;
mod disk;
mod dtls;
mod dtls_certificates;
mod dtls_peer;
mod dtls_raw_keys;
mod dtls_wire;
mod faults;
mod fleet;
mod harness;
mod key_change;
mod keys;
mod kill;
mod leshan;
mod lora_e5;
mod namespace;
mod pki;
mod plugin;
mod policy;
mod record;
mod relay;
mod reload;
mod restart;
mod secrets;
mod site;
mod slow;
mod stress;
mod tunnel;
