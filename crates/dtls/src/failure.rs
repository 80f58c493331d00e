//! How a handshake can fail.

use thiserror::Error;

use crate::alert;
use crate::chain::CertificateProblem;

/// Why a handshake failed. The texts say what an operator can do; they name no key and no identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The flights were sent as often as the profile says, and nothing useful came.
    #[error("{}", if *heard { "the server began to answer, and fell silent" } else { "no answer: wrong address or port, a firewall, or the server is down" })]
    NoAnswer {
        /// Whether the server answered an earlier flight.
        heard: bool,
    },
    /// The server fell silent when it should have proved that it knows the key: a server drops what it cannot decrypt. Some
    /// servers, GnuTLS among them, do the same if they do not know the identity.
    #[error(
        "probable wrong key: the server fell silent after the key exchange, as it does if its key for this identity differs"
    )]
    ProbableWrongKey,
    /// The server does not know the identity, or not this key for it (P-16).
    #[error("the server does not know the identity (alert {alert}, {})", alert::name(*alert))]
    UnknownIdentity {
        /// 115 or 51.
        alert: u8,
    },
    /// The server proved another key than the expected one (P-09).
    #[error("the server has another raw public key than the expected one")]
    WrongServerKey,
    /// The server's certificate is refused (S-41).
    #[error("the server's certificate is refused: {0}")]
    Certificate(CertificateProblem),
    /// No suite in common.
    #[error("no cipher suite or parameter in common{}", alert.map(|code| format!(" (alert {code}, {})", alert::name(code))).unwrap_or_default())]
    NoCommonSuite {
        /// 40 or 71, if the server said so; else it chose what was not offered.
        alert: Option<u8>,
    },
    /// The server does not speak DTLS 1.2 (P-40).
    #[error("the server does not speak DTLS 1.2 ({} protocol_version)", if *sent { "answered by" } else { "it sent" })]
    ProtocolVersion {
        /// Whether we refused its version, or it ours.
        sent: bool,
    },
    /// The server answered another fragment length than was asked for; `illegal_parameter` was sent (P-37).
    #[error("the server answered with another maximum fragment length than was asked for")]
    BadEcho,
    /// Another alert of the server, and nothing better until the deadline. Nothing authenticates it.
    #[error("the server sent alert {code} ({})", alert::name(*code))]
    PeerAlert {
        /// Its number.
        code: u8,
    },
    /// The server broke a rule of the protocol.
    #[error("the server broke a rule of the protocol: {reason}{}", alert.map(|code| format!(" (answered by alert {code}, {})", alert::name(code))).unwrap_or_default())]
    Protocol {
        /// The text of OpenSSL.
        reason: String,
        /// The alert that was sent.
        alert: Option<u8>,
    },
    /// Not the server's fault.
    #[error("{0}")]
    Local(String),
}

/// What to do about a failure (P-15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// It may pass by itself: try again after the usual back-off.
    Retry,
    /// Somebody must change something: report it, and try again seldom.
    Report,
}

impl Failure {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::NoAnswer { .. } | Self::PeerAlert { .. } | Self::Protocol { .. } | Self::Local(_) => Advice::Retry,
            Self::ProbableWrongKey
            | Self::UnknownIdentity { .. }
            | Self::WrongServerKey
            | Self::Certificate(_)
            | Self::NoCommonSuite { .. }
            | Self::ProtocolVersion { .. }
            | Self::BadEcho => Advice::Report,
        }
    }

    /// A short name for logs and counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "no_answer",
            Self::ProbableWrongKey => "probable_wrong_key",
            Self::UnknownIdentity { .. } => "unknown_identity",
            Self::WrongServerKey => "wrong_server_key",
            Self::Certificate(_) => "certificate_refused",
            Self::NoCommonSuite { .. } => "no_common_suite",
            Self::ProtocolVersion { .. } => "protocol_version",
            Self::BadEcho => "bad_echo",
            Self::PeerAlert { .. } => "peer_alert",
            Self::Protocol { .. } => "protocol_error",
            Self::Local(_) => "local_error",
        }
    }
}
