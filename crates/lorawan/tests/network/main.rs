//! The network server against foreign code in virtual time: `lorawan-device` as the end device, frames made and read by
//! `lorawan`. Neither shares code with `lrwn`, on which the network server is built.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may panic like the tests themselves")]

mod data;
mod device;
mod downlink;
mod duty_cycle;
mod frames;
mod hostile;
mod join;
mod mac;
mod power_cut;
mod world;
