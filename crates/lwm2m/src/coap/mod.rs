//! CoAP over a datagram transport (RFC 7252, RFC 7641, RFC 7959): messages, and the small machines that make them reliable.

pub mod block;
pub mod dedup;
pub mod message;
pub mod reliable;
pub mod token;
