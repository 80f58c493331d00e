//! The types at the edge of a client: configuration, outputs, events, and what survives a restart.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::send::SendOutcome;
use crate::coap::message::Code;
use crate::object::path::Path;
use crate::object::value::Value;

/// One endpoint towards one server.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Endpoint client name, at most 240 bytes, for example `urn:dev:mac:70b3d57ed0001234` (LwM2M Core 1.1.1 §7.3).
    pub endpoint: String,
    /// Registration lifetime in seconds, at least 1.
    pub lifetime_s: u32,
    /// Register with `Q`, and send an Update with every sign of life (LwM2M Transport 1.1.1 §6.5).
    pub queue_mode: bool,
    /// `/1/0/2`, seconds; 0 is none.
    pub default_pmin_s: u32,
    /// `/1/0/3`, seconds; 0 is none.
    pub default_pmax_s: u32,
    /// `/1/0/0`, 1 to 65534.
    pub short_server_id: u16,
    /// `/1/0/6`: the caller keeps what the server misses and gives it to [`Client::send_readings`](super::Client::send_readings). Every
    /// notification is confirmable then, so that it is known what was missed.
    pub storing: bool,
    /// Largest payload in one message, 16 to 1024 bytes; longer ones go in blocks.
    pub max_block: usize,
    /// Values older than this are not given out; `None`: values never age.
    pub stale_after: Option<Duration>,
    /// Seed of tokens, message ids and waiting times.
    pub seed: u64,
}

/// What the caller has to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// One datagram to the server.
    Send(Vec<u8>),
    /// A server writes resources of the node. Existence, access, type and range are checked; the caller decides and calls
    /// [`Client::answer`](super::Client::answer).
    Write {
        /// To answer with.
        exchange: ExchangeId,
        /// What to write; may be empty when an instance is replaced by one without writable resources.
        writes: Vec<(Path, Value)>,
        /// Optional writable resources (or resource instances) of the target that are not in `writes` go away.
        replace: bool,
    },
    /// A server executes a resource of the node.
    Execute {
        /// To answer with.
        exchange: ExchangeId,
        /// The executable resource.
        path: Path,
        /// Arguments of valid grammar, for example `0,1='x'`; mostly empty (LwM2M Core 1.1.1 §6.3.5).
        arguments: String,
    },
    /// Must survive a restart; newer ones replace older ones.
    Save(Snapshot),
    /// What became of a Send.
    Sent(SendOutcome),
    /// For the log and the status.
    Event(ClientEvent),
}

/// One request of the server that waits for the caller's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(super) u64);

/// The caller's answer to a Write or an Execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2.04: done, or accepted for the node.
    Changed,
    /// 4.00
    BadRequest,
    /// 4.04: this node has no such resource.
    NotFound,
    /// 4.05
    NotAllowed,
    /// 5.00
    InternalError,
    /// 5.03: the node cannot be reached now.
    Unavailable {
        /// When to try again, seconds.
        max_age_s: u32,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server accepted the registration.
    Registered {
        /// Where, for example `/rd/5a3f`.
        location: String,
    },
    /// The server refused the registration, or did not answer.
    RegistrationFailed {
        /// Why.
        reason: Failure,
        /// When the next try starts by itself; `None`: not before the next sign of life.
        retry_in: Option<Duration>,
    },
    /// The server accepted an Update.
    Updated,
    /// The server refused an Update, or did not answer. The client registers again if the node still lives.
    UpdateFailed {
        /// Why.
        reason: Failure,
    },
    /// De-register is done.
    Deregistered,
    /// The registration ended without de-registration.
    Lapsed,
    /// A server observes.
    Observed {
        /// What.
        path: Path,
    },
    /// An observation ended.
    ObservationCancelled {
        /// What was observed.
        path: Path,
        /// How it ended.
        by: CancelledBy,
    },
    /// A notification was sent.
    Notified {
        /// The observed path.
        path: Path,
        /// It must be acknowledged.
        confirmable: bool,
    },
    /// A server wrote notification attributes.
    WriteAttributes {
        /// Where.
        path: Path,
    },
    /// A server read, with success.
    Read {
        /// What.
        path: Path,
    },
    /// A server discovered, with success.
    Discovered {
        /// What.
        path: Path,
    },
}

/// Why a registration operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server's response code.
    Code(Code),
    /// No answer after all repetitions.
    Timeout,
    /// The server refused the message itself.
    Reset,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Code(code) => write!(f, "{code}"),
            Failure::Timeout => f.write_str("timeout"),
            Failure::Reset => f.write_str("reset"),
        }
    }
}

/// How an observation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelledBy {
    /// The server refused a notification with a reset (RFC 7641 §3.6).
    Reset,
    /// The server asked with Observe=1 (RFC 7641 §3.6).
    Request,
    /// The registration it belonged to ended (LwM2M Core 1.1.1 §6.4).
    Registration,
}

/// Where the client is in its life.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not registered, and nothing to do before the next sign of life.
    Idle,
    /// Not registered, but it will be.
    Registering {
        /// Failed tries in a row.
        failures: u32,
        /// When the next try starts; `None` while one is under way or waits for the session.
        next_try_at: Option<Duration>,
    },
    /// Registered.
    Registered {
        /// Where, for example `/rd/5a3f`.
        location: String,
        /// When the registration ends unless it is updated; `None` directly after a restart.
        expires_at: Option<Duration>,
        /// Observations of the server.
        observations: usize,
        /// An Update is under way.
        updating: bool,
    },
    /// De-register is under way.
    Deregistering,
    /// The server disabled the client (`/1/0/4`).
    Disabled {
        /// Until then.
        until: Duration,
    },
}

/// What must survive a restart. Plain data, short lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The registration, if there is one.
    pub registration: Option<RegistrationRecord>,
    /// Lifetime, pmin and pmax as they were configured, seconds: what the server wrote holds until the operator changes them.
    #[serde(default)]
    pub configured_s: (u32, u32, u32),
    /// When the Disable of the server ends, unix milliseconds.
    #[serde(default)]
    pub disabled_until_unix_ms: Option<u64>,
    /// `/1/0/1`, seconds.
    pub lifetime_s: u32,
    /// `/1/0/2`, seconds.
    pub default_pmin_s: u32,
    /// `/1/0/3`, seconds.
    pub default_pmax_s: u32,
    /// `/1/0/5`, seconds.
    pub disable_timeout_s: u32,
    /// `/1/0/23`: the server wants no Send.
    #[serde(default)]
    pub mute_send: bool,
    /// Observations, at most 32.
    pub observations: Vec<ObservationRecord>,
    /// Notification attributes by path, at most 32.
    pub attributes: Vec<(Path, Attributes)>,
    /// No notification so far carried this sequence number or a later one.
    pub observe_sequence: u32,
}

/// A registration that may still be valid after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationRecord {
    /// Segments of the location.
    pub location: Vec<String>,
    /// Lifetime the server knows, seconds.
    pub lifetime_s: u32,
    /// When it ends, unix milliseconds; `None` if no trusted clock was there.
    pub expires_unix_ms: Option<u64>,
    /// Digest of the object list the server knows.
    pub object_list_digest: u64,
}

/// An observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservationRecord {
    /// Token of the request, at most 8 bytes.
    pub token: Vec<u8>,
    /// What is observed.
    pub path: Path,
    /// Content-Format number of the notifications.
    pub format: u16,
}

/// Counted since the client was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams taken in.
    pub received: u64,
    /// Of these, not a CoAP message, or one that makes no sense here.
    pub malformed: u64,
    /// Of these, seen before.
    pub duplicates: u64,
    /// Datagrams given out.
    pub sent: u64,
    /// Of these, repetitions.
    pub retransmitted: u64,
    /// Datagrams not given out, because the session was down.
    pub unsent: u64,
    /// Confirmable messages nobody answered.
    pub timeouts: u64,
    /// Requests served.
    pub requests: u64,
    /// Notifications.
    pub notifications: u64,
    /// Send operations.
    pub sends: u64,
    /// Readings refused: unknown object or resource, wrong type, or no room.
    pub readings_refused: u64,
    /// Observations refused because there are too many; the request was served as a Read.
    pub observations_refused: u64,
    /// Requests refused with 5.03, because too many are open.
    pub requests_refused: u64,
    /// Outputs dropped because the caller did not drain them.
    pub outputs_dropped: u64,
    /// Requests answered by an error (4.xx, 5.xx), what is too large or too many among them.
    pub errors_answered: u64,
    /// Messages forgotten early because there were too many: a late copy of one is served again.
    pub messages_forgotten: u64,
}

impl Counters {
    /// Names and counts, for status.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("received", self.received),
            ("malformed", self.malformed),
            ("duplicates", self.duplicates),
            ("sent", self.sent),
            ("retransmitted", self.retransmitted),
            ("unsent", self.unsent),
            ("timeouts", self.timeouts),
            ("requests", self.requests),
            ("notifications", self.notifications),
            ("sends", self.sends),
            ("readings_refused", self.readings_refused),
            ("observations_refused", self.observations_refused),
            ("requests_refused", self.requests_refused),
            ("outputs_dropped", self.outputs_dropped),
            ("errors_answered", self.errors_answered),
            ("messages_forgotten", self.messages_forgotten),
        ]
        .into_iter()
    }
}
