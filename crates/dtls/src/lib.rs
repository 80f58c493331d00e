//! A DTLS 1.2 client with the profile of RFC 7925, on OpenSSL. It knows no CoAP, no sockets and no runtime: datagrams and
//! the time go in, datagrams and payloads come out.
//!
//! One [`ClientContext`] for each server and mode, one [`Credential`] for each node, one [`Handshake`] for each attempt, and
//! from its outcome one [`Session`]. `now` is the time since any start, monotonic.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use lpwad_dtls::{ClientContext, Credential, Handshake, Psk, Settings, Trust};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = std::fs::read("key")?;
//! let context = ClientContext::new(Settings::new(Trust::Psk))?;
//! let credential = Credential::Psk(Psk::new(b"node-1", &key)?);
//! let mut handshake = Handshake::start(&context, &credential, None, Duration::ZERO, None)?;
//! while let Some(datagram) = handshake.poll_send() {
//!     // send it to the server; then wait for a datagram, or until `handshake.deadline()`
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Not supported: connection ids (RFC 9146), session tickets (RFC 5077), heartbeats (RFC 6520), cached_info (RFC 7924),
//! client_certificate_url (RFC 6066 §5), OCSP and CRLs, renegotiation, DTLS 1.3, the server's side.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod alert;
mod chain;
mod context;
mod credential;
mod export;
mod failure;
mod ffi;
mod handshake;
mod key;
pub mod library;
mod notes;
pub mod profile;
mod psk;
mod reasons;
mod record;
mod rpk;
mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;
mod x509;

pub use chain::{CHAIN_MAX, CertificateProblem};
pub use context::{ClientContext, MTU_MAX, MTU_MIN, Settings, SettingsError, Trust};
pub use credential::{Credential, CredentialError};
pub use export::{EXPORT_MAX, ExportedSession, ImportError};
pub use failure::{Advice, Failure};
pub use handshake::{Handshake, Traffic};
pub use profile::{ExtraSuites, FragmentLength, Mode, Suite};
pub use psk::Psk;
pub use rpk::{RpkKey, ServerKey};
pub use session::{Closed, Counters, Event, SealError, Session};
pub use x509::{X509Anchor, X509Identity, X509Trust};
