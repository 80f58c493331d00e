//! A small LwM2M 1.1 server for demonstrations and load, not a reference for conformance.
//!
//! It takes Register, Update, De-register and Send over CoAP on UDP, observes what it finds, and reads, writes and
//! executes on command. [`Server`] has no socket and no clock, so that tests run it in simulated time; [`run`] puts it
//! on a socket, with [`command`] lines in and [`Event`] lines out.
//!
//! Bounds: 10,000 registrations, 20,000 addresses, 64 observations of a registration, 64 waiting requests and 32
//! remembered messages of an address, 256 links of a registration. What is beyond them is refused or dropped, and told.
//!
//! Not there: security (DTLS, OSCORE), bootstrap, TCP and SMS, block-wise transfer (RFC 7959), alternate root paths,
//! composite operations, Create, Delete, Discover, Write-Attributes, cancelling an observation other than by Reset, and
//! all formats but SenML JSON and, of responses, plain text. A notification is matched by its token alone.

pub mod command;
mod engine;
mod event;
mod exchange;
mod links;
mod message;
mod path;
mod registration;
mod request;
mod resource;
mod senml;
mod shell;
#[cfg(test)]
mod tests;

pub use command::{Command, Operation};
pub use engine::{AWAKE, Config, MAX_OBSERVATIONS, MAX_PEERS, ObservePolicy, Output, Server};
pub use event::{Answer, Event};
pub use path::{Path, PathError};
pub use registration::MAX_REGISTRATIONS;
pub use senml::{Data, Stamped};
pub use shell::{ServerArgs, ServerError, run};
