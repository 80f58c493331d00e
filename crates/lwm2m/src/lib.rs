//! CoAP and the LwM2M 1.1 client of one endpoint towards one server, as a state machine: no sockets, no clock, no randomness
//! of its own, and nothing of what lies below (radio, DTLS).
//!
//! Inputs are calls with the time (`now`: since any start, monotonic); outputs are drained with [`Client::poll`]. The
//! object definitions are tables in `objects/`.
//!
//! Supported (LwM2M Core 1.1.1): Register, Update, De-register (§6.2); Read, Discover, Write, Write-Attributes, Execute (§6.3);
//! Observe, Notify, Cancel with pmin, pmax, gt, lt, st (§6.4.1 to §6.4.3); Send with Mute Send (§6.4.6); formats text, opaque, CBOR (single values), SenML JSON, SenML
//! CBOR, TLV and link format (§7.4); CoAP over UDP with repetition, deduplication, Block1 and Block2 (RFC 7252, 7641, 7959).
//!
//! Not supported: Bootstrap (§6.1), Create and Delete of node objects (§6.3.6, §6.3.7), the composite operations
//! (§6.3.8, §6.3.9, §6.4.4, §6.4.5), more than one server, Access Control (§8), a queue of notifications while offline (the caller
//! keeps what is missed and gives it to Send; `/1/0/6` is fixed), formats 11543 and 11544, SenML-ETCH, CoAP over TCP, OSCORE, extended tokens (RFC 8974).
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod client;
pub mod coap;
pub mod format;
pub mod object;

pub use client::{
    Answer, Attributes, CancelledBy, Client, ClientConfig, ClientEvent, Counters, ExchangeId, Failure,
    ObservationRecord, Output, RegistrationRecord, SendOutcome, Sending, Snapshot, State,
};
pub use object::definition::{ObjectDefinition, ResourceDefinition};
pub use object::path::Path;
pub use object::registry::Registry;
pub use object::value::{Reading, Value};
