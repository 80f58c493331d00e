//! What the profile of RFC 7925 allows, as tables: suites, sizes and timers. The row ids are those of the requirements
//! that `docs/conformance.md` lists.

use std::time::Duration;

/// The DTLS version spoken, and no other: DTLS 1.2 (P-40).
pub(crate) const VERSION: [u8; 2] = [0xFE, 0xFD];

/// Bytes of a record header (RFC 6347 §4.1).
pub(crate) const RECORD_HEADER: usize = 13;

/// Bytes of the explicit nonce of an AEAD record (RFC 6655 §3, RFC 5288 §3).
pub(crate) const EXPLICIT_NONCE: usize = 8;

/// Bound: Initial retransmission time (S-24, P-30; RFC 7925 §11).
pub const TIMER_INITIAL_MS: u32 = 9_000;

/// Bound: Longest time between two repetitions by default (S-24; RFC 7925 §11: not below 60 s).
pub const TIMER_CAP_MS: u32 = 72_000;

/// Bound: Lowest cap that may be set (RFC 7925 §11).
pub const TIMER_CAP_LEAST_MS: u32 = 60_000;

/// Bound: How often a flight is sent before the handshake fails: at 0, 9, 27 and 63 s with the default timer; the failure comes
/// one more interval later, at 135 s (P-30).
pub const SENDS: u32 = 4;

/// Bound: How many flights one handshake may begin. Three are needed; the rest is room for a server that asks for the cookie
/// again. Forged cookie requests end here.
pub(crate) const FLIGHTS: u32 = 8;

/// Bound: How many records of the next epoch are kept for OpenSSL while their keys are not there yet, per flight.
pub(crate) const EARLY_RECORDS: u32 = 8;

/// Shortest body of a record with a Finished, in bytes: explicit nonce, message header, 12 bytes, 8-byte tag.
pub(crate) const FINISHED_MIN: usize = EXPLICIT_NONCE + 12 + 12 + 8;

/// Body of a record with a HelloRequest without its tag, in bytes: explicit nonce and message header.
pub(crate) const HELLO_REQUEST: usize = EXPLICIT_NONCE + 12;

/// Bound: Shortest time between two answers to handshake records in an open session (P-39). The rest is ignored, as RFC 5246
/// §7.4.1.1 allows.
pub(crate) const ANSWER_GAP: Duration = Duration::from_secs(1);

/// Bound: How many other handshake records an open session looks at, over its life: repetitions of the server's Finished. OpenSSL
/// ends the session over the thirteenth.
pub(crate) const FINISHED_REPEATS: u32 = 10;

/// Bound: Failed authentications after which a session with an 8-byte tag should be renewed: chance of one success 2^-48
/// (P-13).
pub(crate) const FORGED_BUDGET_SHORT_TAG: u64 = 1 << 16;

/// Bound: The same for 16-byte tags (RFC 9147 §4.5.3: 2^23.5 for CCM).
pub(crate) const FORGED_BUDGET: u64 = 1 << 23;

/// Bound: Records sent under one key after which the session should be renewed (RFC 9147 §4.5.3: 2^23 for CCM).
pub(crate) const SEALED_BUDGET: u64 = 1 << 23;

/// Longest handshake message that is assembled, in bytes; certificate chains included. OpenSSL does not go lower than
/// about 17,000.
pub(crate) const HANDSHAKE_MESSAGE_MAX: u32 = 16_384;

/// Largest payload of a record that is asked for (S-17, P-37; RFC 6066 §4). The order of the variants is that of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum FragmentLength {
    /// 512 bytes.
    #[default]
    B512,
    /// 1024 bytes.
    B1024,
    /// 2048 bytes.
    B2048,
    /// 4096 bytes.
    B4096,
}

impl FragmentLength {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::B512, Self::B1024, Self::B2048, Self::B4096];

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::B512 => 512,
            Self::B1024 => 1024,
            Self::B2048 => 2048,
            Self::B4096 => 4096,
        }
    }

    /// The one with this size in bytes.
    #[must_use]
    pub fn from_bytes(bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|length| length.bytes() == bytes)
    }

    /// Its code in extension 1.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::B512 => 1,
            Self::B1024 => 2,
            Self::B2048 => 3,
            Self::B4096 => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|length| length.code() == code)
    }
}

/// How the two sides prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Pre-shared key (RFC 7925 §4.2).
    Psk,
    /// Raw public key (RFC 7925 §4.3).
    Rpk,
    /// Certificate (RFC 7925 §4.4).
    X509,
}

/// A cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// Its number at IANA.
    pub code: u16,
    /// Its name at IANA.
    pub name: &'static str,
    /// Bytes of the authentication tag: 8 or 16.
    pub tag: usize,
    pub(crate) openssl: &'static str,
    pub(crate) ecdhe: bool,
    pub(crate) kind: SuiteKind,
}

/// Which suites are offered besides the mandatory one of the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SuiteKind {
    /// The one of the profile: always offered.
    Ccm8,
    Ccm,
    Gcm,
}

/// All suites there are (S-16, P-03, P-08, P-41): AEAD only (P-35), at least 128 bits (P-42).
pub const SUITES: [Suite; 6] = [
    Suite {
        code: 0xC0A8,
        name: "TLS_PSK_WITH_AES_128_CCM_8",
        tag: 8,
        openssl: "PSK-AES128-CCM8",
        ecdhe: false,
        kind: SuiteKind::Ccm8,
    },
    Suite {
        code: 0xC0A4,
        name: "TLS_PSK_WITH_AES_128_CCM",
        tag: 16,
        openssl: "PSK-AES128-CCM",
        ecdhe: false,
        kind: SuiteKind::Ccm,
    },
    Suite {
        code: 0x00A8,
        name: "TLS_PSK_WITH_AES_128_GCM_SHA256",
        tag: 16,
        openssl: "PSK-AES128-GCM-SHA256",
        ecdhe: false,
        kind: SuiteKind::Gcm,
    },
    Suite {
        code: 0xC0AE,
        name: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
        tag: 8,
        openssl: "ECDHE-ECDSA-AES128-CCM8",
        ecdhe: true,
        kind: SuiteKind::Ccm8,
    },
    Suite {
        code: 0xC0AC,
        name: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
        tag: 16,
        openssl: "ECDHE-ECDSA-AES128-CCM",
        ecdhe: true,
        kind: SuiteKind::Ccm,
    },
    Suite {
        code: 0xC02B,
        name: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        tag: 16,
        openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
        ecdhe: true,
        kind: SuiteKind::Gcm,
    },
];

impl Suite {
    pub(crate) fn by_code(code: u16) -> Option<Self> {
        SUITES.into_iter().find(|suite| suite.code == code)
    }
}

/// Suites to offer after the one of the profile, for servers that dislike 8-byte tags (P-41).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtraSuites {
    /// AES-128-CCM with a 16-byte tag.
    pub ccm: bool,
    /// AES-128-GCM.
    pub gcm: bool,
}

/// The suites of a mode in the order of the hello.
pub(crate) fn offered(mode: Mode, extra: ExtraSuites) -> impl Iterator<Item = Suite> {
    SUITES.into_iter().filter(move |suite| {
        let wanted = match suite.kind {
            SuiteKind::Ccm8 => true,
            SuiteKind::Ccm => extra.ccm,
            SuiteKind::Gcm => extra.gcm,
        };
        wanted && suite.ecdhe == (mode != Mode::Psk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_p41_only_the_suite_of_the_profile_is_offered_unless_more_are_enabled() {
        let codes =
            |mode, ccm, gcm| offered(mode, ExtraSuites { ccm, gcm }).map(|suite| suite.code).collect::<Vec<_>>();
        assert_eq!(codes(Mode::Psk, false, false), [0xC0A8]);
        assert_eq!(codes(Mode::Psk, true, true), [0xC0A8, 0xC0A4, 0x00A8]);
        assert_eq!(codes(Mode::Rpk, false, false), [0xC0AE]);
        assert_eq!(codes(Mode::X509, false, true), [0xC0AE, 0xC02B]);
    }

    #[test]
    fn fragment_lengths_are_those_of_rfc_6066() {
        assert_eq!(FragmentLength::ALL.map(FragmentLength::bytes), [512, 1024, 2048, 4096]);
        for length in FragmentLength::ALL {
            assert_eq!(FragmentLength::from_code(length.code()), Some(length));
            assert_eq!(FragmentLength::from_bytes(length.bytes()), Some(length));
        }
        assert_eq!(FragmentLength::from_bytes(256), None);
        assert_eq!(FragmentLength::from_code(0), None);
    }
}
