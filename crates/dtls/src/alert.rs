//! Alerts of the server, and what they mean to an operator (P-15, P-16).

use crate::failure::Failure;
use crate::profile::Mode;

/// Name of an alert (RFC 5246 §7.2, RFC 4279 §6, RFC 6066 §9).
#[must_use]
pub fn name(code: u8) -> &'static str {
    TABLE.iter().find(|(known, _)| *known == code).map_or("unknown alert", |(_, name)| name)
}

const TABLE: [(u8, &str); 32] = [
    (0, "close_notify"),
    (10, "unexpected_message"),
    (20, "bad_record_mac"),
    (21, "decryption_failed"),
    (22, "record_overflow"),
    (30, "decompression_failure"),
    (40, "handshake_failure"),
    (41, "no_certificate"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (47, "illegal_parameter"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (60, "export_restriction"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (90, "user_canceled"),
    (100, "no_renegotiation"),
    (109, "missing_extension"),
    (110, "unsupported_extension"),
    (111, "certificate_unobtainable"),
    (112, "unrecognized_name"),
    (113, "bad_certificate_status_response"),
    (115, "unknown_psk_identity"),
    (116, "certificate_required"),
];

/// What a fatal alert of the server, or its `close_notify`, means during a handshake, where nothing authenticates it.
pub(crate) fn meaning(mode: Mode, code: u8) -> Failure {
    match (mode, code) {
        // RFC 4279 §2 lets a server choose between the two.
        (Mode::Psk, 51 | 115) => Failure::UnknownIdentity { alert: code },
        (_, 40 | 71) => Failure::NoCommonSuite { alert: Some(code) },
        (_, 70) => Failure::ProtocolVersion { sent: false },
        _ => Failure::PeerAlert { code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_both_alerts_for_an_unknown_identity_mean_the_same() {
        for code in [51, 115] {
            assert_eq!(meaning(Mode::Psk, code), Failure::UnknownIdentity { alert: code });
            assert_eq!(meaning(Mode::Rpk, code), Failure::PeerAlert { code });
        }
    }

    #[test]
    fn p15_every_alert_has_a_meaning() {
        for code in 0..=u8::MAX {
            for mode in [Mode::Psk, Mode::Rpk, Mode::X509] {
                assert!(!meaning(mode, code).to_string().is_empty());
            }
        }
        assert_eq!(name(115), "unknown_psk_identity");
        assert_eq!(name(7), "unknown alert");
    }
}
