//! The real processes together: lpwad, its radio plugin, a modem on a pseudo terminal with foreign nodes, and a foreign
//! server. One file a story; `site.rs` starts and watches the processes.
#![expect(clippy::indexing_slicing, reason = "a missing field of a JSON line is null and fails the test")]

mod cli;
mod demo;
mod faults;
mod leshan;
mod plugin;
mod restart;
mod site;
