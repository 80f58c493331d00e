//! The client against servers that we did not write, on loopback.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test that uses them")]

mod ca;
mod clock;
mod configuration;
mod failure;
mod gnutls;
mod hello;
mod in_process;
mod peer;
mod psk;
mod rpk;
mod shell;
mod tampered;
mod x509;
