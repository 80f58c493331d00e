//! Why a protection is believed to be there.

use super::date::Day;
use super::named::named;
use super::protection::Probe;

named! {
    /// Kinds of evidence, the best one first.
    pub enum EvidenceKind {
        /// Looked at while lpwad runs.
        Live = "live",
        /// Somebody tested it and wrote it down.
        TestReport = "test-report",
        /// The operator of the network says so.
        OperatorLetter = "operator-letter",
        /// A configuration says so.
        Config = "config",
        /// Nobody has looked: it never counts.
        Assumption = "assumption",
    }
}

/// Whether a text is a public key of WireGuard: 32 bytes in base64, as `wg` writes them.
#[must_use]
pub fn is_wireguard_key(text: &str) -> bool {
    let is_base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
    match text.as_bytes() {
        // 43 characters hold two bits more than 32 bytes: they are zero.
        [digits @ .., last, b'='] if digits.len() == 42 => {
            digits.iter().all(|c| is_base64(*c)) && b"AEIMQUYcgkosw048".contains(last)
        }
        _ => false,
    }
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Looked at while lpwad runs.
    Live {
        /// What is looked at.
        probe: Probe,
        /// Which one of several, such as the key of a tunnel's peer.
        peer: Option<String>,
        /// A fact that is older, in s, does not count.
        max_age_s: u32,
    },
    /// Written down by somebody.
    Attested {
        /// How; never [`EvidenceKind::Live`].
        kind: EvidenceKind,
        /// What and where.
        reference: String,
        /// From this day on.
        date: Day,
        /// Up to and including this day.
        expires: Day,
    },
}

impl Evidence {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EvidenceKind {
        match self {
            Evidence::Live { .. } => EvidenceKind::Live,
            Evidence::Attested { kind, .. } => *kind,
        }
    }

    /// Its last day, if it has one.
    #[must_use]
    pub fn expires(&self) -> Option<Day> {
        match self {
            Evidence::Live { .. } => None,
            Evidence::Attested { expires, .. } => Some(*expires),
        }
    }
}
