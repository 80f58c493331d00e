//! The contract between the lpwad daemon and its plugins: newline-delimited JSON on stdin and stdout.
//!
//! One line is one message, an object with exactly one key, the message's name. This crate has the messages
//! ([`message`], [`fact`]), the framing with its size cap ([`mod@line`]), the version rule ([`version`]) and the units ([`units`]).
//! It has no IO. Outsiders may compile against it, or write a plugin in any language from `docs/plugin-protocol.md`.
//!
//! Not supported: messages of the plugin kinds `datagram`, `network` and `codec` (their names are reserved in
//! `docs/plugin-protocol.md`).
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod fact;
pub mod hex;
pub mod line;
pub mod message;
pub mod units;
pub mod version;

pub use line::{LineReader, MAX_LINE_BYTES, Oversize};
pub use message::{FromPlugin, ParseError, ToPlugin};
