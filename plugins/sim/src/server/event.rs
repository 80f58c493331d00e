//! What the server tells: one JSON object a line.

use super::path::Path;
use super::senml::Data;
use serde::Serialize;
use std::net::SocketAddr;

/// Serializes as `{"event":"registered",..}` and so on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The socket is open.
    Ready {
        /// Where.
        addr: SocketAddr,
    },
    /// A client has registered.
    Registered {
        /// Endpoint name.
        ep: String,
        /// Lifetime in seconds.
        lt: u64,
        /// Objects and object instances.
        objects: Vec<Path>,
        /// Where it came from.
        addr: SocketAddr,
        /// Whether it was registered already.
        replaced: bool,
    },
    /// A client has updated its registration.
    Updated {
        /// Endpoint name.
        ep: String,
        /// Lifetime in seconds.
        lt: u64,
        /// The new object list, if the Update carried one.
        #[serde(skip_serializing_if = "Option::is_none")]
        objects: Option<Vec<Path>>,
    },
    /// A client has de-registered.
    Deregistered {
        /// Endpoint name.
        ep: String,
    },
    /// A lifetime ran out without an Update.
    Expired {
        /// Endpoint name.
        ep: String,
    },
    /// The answer to an Observe.
    Observed(Answer),
    /// A notification.
    Notify(Answer),
    /// The answer to a Write.
    Written(Answer),
    /// The answer to a Read.
    Read(Answer),
    /// The answer to an Execute.
    Executed(Answer),
    /// A Send of a client (LwM2M Core 1.1.1 §6.4.6).
    Send {
        /// Endpoint name.
        ep: String,
        /// What it sent.
        #[serde(flatten)]
        data: Data,
    },
    /// Something was dropped.
    Dropped {
        /// Why.
        why: &'static str,
        /// From whom.
        addr: SocketAddr,
    },
    /// A command cannot be done.
    Error {
        /// Why, for people.
        detail: String,
    },
}

/// What came of a request, or what a notification says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Endpoint name.
    pub ep: String,
    /// What was asked for.
    pub path: Path,
    /// The response code, such as `2.05`, if there was a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What went wrong: `timeout`, `reset`, `busy` (too many requests wait), `gone` (the client is not there any more),
    /// `payload` (not understood), `not_observed` (a response without the Observe option).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// The values, if the response has any.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}
