//! How a session may open. First form of the policy: a proxy runs NoSec only if the server is on this host by a
//! literal address **and** an unexpired threat analysis names that server (LwM2M 1.1 §7.1.1; requirements S-03 to
//! S-05). Whatever is missing, unreadable or not known means DTLS, or no session where the server has no `secure_uri`.
//! Nothing here can be overridden.
//!
//! Not yet: segments, evidence, live facts.

mod analysis;

pub use analysis::{Analyses, Analysis, Invalid};

use crate::config::{Security, Server};

/// What the policy says of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A clear session is permitted, up to and including the day `until_day`.
    Nosec {
        /// Id of the analysis that permits it.
        analysis: String,
        /// Last day, counted from 1970-01-01.
        until_day: u32,
    },
    /// A session by DTLS only.
    Dtls {
        /// Why not a clear one, for the operator.
        reason: String,
    },
    /// No session.
    Refuse {
        /// Why, for the operator.
        reason: String,
    },
}

impl Verdict {
    /// Whether a clear session is permitted.
    #[must_use]
    pub fn permits_nosec(&self) -> bool {
        matches!(self, Verdict::Nosec { .. })
    }
}

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// Decides for `server` at wall time `unix_ms` (`None`: the clock is not trusted).
///
/// More than one analysis may name the server: then all must be valid; one invalid or expired among them forbids
/// (rule TA03). A file that does not parse could have named any server, so it forbids as well.
#[must_use]
pub fn decide(server: &Server, analyses: &Analyses, unix_ms: Option<u64>) -> Verdict {
    match nosec(server, analyses, unix_ms) {
        Ok((analysis, until_day)) => Verdict::Nosec { analysis, until_day },
        Err(reason) if server.secure_uri.is_some() => Verdict::Dtls { reason },
        Err(reason) => Verdict::Refuse { reason: format!("{reason}; and it has no secure_uri for DTLS") },
    }
}

/// The analysis that permits a clear session, and its last day; or why none does.
fn nosec(server: &Server, analyses: &Analyses, unix_ms: Option<u64>) -> Result<(String, u32), String> {
    if server.security == Security::Dtls {
        return Err("security = \"dtls\"".into());
    }
    let Some(uri) = &server.uri else {
        return Err("it has no uri for NoSec".into());
    };
    if !uri.is_loopback_literal() {
        return Err(format!("{uri} is not a loopback literal, and beyond this host there is no NoSec"));
    }
    let Some(unix_ms) = unix_ms else {
        return Err("the clock is not trusted, so every analysis counts as expired".into());
    };
    if let Some(invalid) = analyses.invalid.first() {
        return Err(format!("an analysis file is invalid: {}", invalid.error));
    }
    let today = u32::try_from(unix_ms / DAY_MS).unwrap_or(u32::MAX);
    let mut permitting: Option<&Analysis> = None;
    for analysis in analyses.valid.iter().filter(|analysis| analysis.server == *uri) {
        if today > analysis.expires_day {
            return Err(format!("analysis {} for {uri} expired on {}", analysis.id, analysis.expires));
        }
        if permitting.is_none_or(|other| analysis.expires_day < other.expires_day) {
            permitting = Some(analysis);
        }
    }
    match permitting {
        Some(analysis) => Ok((analysis.id.clone(), analysis.expires_day)),
        None => Err(format!("no threat analysis names {uri} (scope.server)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const DAY: u64 = 20_000;

    fn server(uri: &str, security: Security) -> Server {
        Server {
            name: "s".into(),
            uri: uri.parse().ok(),
            secure_uri: None,
            security,
            reachable: true,
            dtls: crate::config::Dtls::default(),
        }
    }

    fn analyses(texts: &[&str]) -> Analyses {
        let mut analyses = Analyses::default();
        for text in texts {
            analyses.add(Path::new("ta.toml"), text);
        }
        analyses
    }

    fn file(uri: &str, expires: &str) -> String {
        format!("schema = 1\nid = \"TA-1\"\nexpires = {expires}\n[scope]\nserver = \"{uri}\"\n")
    }

    fn verdict(uri: &str, texts: &[&str], unix_ms: Option<u64>) -> Verdict {
        decide(&server(uri, Security::Auto), &analyses(texts), unix_ms)
    }

    #[test]
    fn s_03_loopback_and_a_valid_analysis_permit_nosec_until_it_expires() {
        // Day 20,000 is 2024-10-04.
        let good = file("coap://127.0.0.1:5683", "2024-10-04");
        let now = Some(DAY * DAY_MS);
        assert_eq!(
            verdict("coap://127.0.0.1", &[&good], now),
            Verdict::Nosec { analysis: "TA-1".into(), until_day: DAY as u32 }
        );
        assert!(
            verdict("coap://127.0.0.1", &[&good], Some(DAY * DAY_MS + DAY_MS - 1)).permits_nosec(),
            "last day counts"
        );
        assert!(!verdict("coap://127.0.0.1", &[&good], Some((DAY + 1) * DAY_MS)).permits_nosec());
    }

    #[test]
    fn s_03_anything_missing_refuses() {
        let good = file("coap://127.0.0.1:5683", "2030-01-01");
        let now = Some(DAY * DAY_MS);
        for (why, uri, texts, unix_ms) in [
            ("no analysis", "coap://127.0.0.1", vec![], now),
            ("clock not trusted", "coap://127.0.0.1", vec![good.as_str()], None),
            ("other port", "coap://127.0.0.1:5685", vec![good.as_str()], now),
            (
                "host name",
                "coap://localhost",
                vec!["schema = 1\nid=\"x\"\nexpires=2030-01-01\n[scope]\nserver=\"coap://localhost\""],
                now,
            ),
            (
                "not loopback",
                "coap://192.168.1.20:5683",
                vec!["schema=1\nid=\"x\"\nexpires=2030-01-01\n[scope]\nserver=\"coap://192.168.1.20:5683\""],
                now,
            ),
            (
                "a second file expired",
                "coap://127.0.0.1",
                vec![
                    good.as_str(),
                    "schema=1\nid=\"y\"\nexpires=2020-01-01\n[scope]\nserver=\"coap://127.0.0.1:5683\"",
                ],
                now,
            ),
            ("a second file broken", "coap://127.0.0.1", vec![good.as_str(), "schema = "], now),
            (
                "unknown schema",
                "coap://127.0.0.1",
                vec!["schema = 2\nid=\"x\"\nexpires=2030-01-01\n[scope]\nserver=\"coap://127.0.0.1:5683\""],
                now,
            ),
            (
                "no expiry",
                "coap://127.0.0.1",
                vec!["schema = 1\nid=\"x\"\n[scope]\nserver=\"coap://127.0.0.1:5683\""],
                now,
            ),
        ] {
            assert!(!verdict(uri, &texts, unix_ms).permits_nosec(), "{why}");
        }
    }

    #[test]
    fn s_04_dtls_by_choice_always_wins() {
        let good = file("coap://127.0.0.1:5683", "2030-01-01");
        let now = Some(DAY * DAY_MS);
        let wanted = server("coap://127.0.0.1", Security::Dtls);
        assert!(matches!(decide(&wanted, &analyses(&[&good]), now), Verdict::Refuse { .. }), "it has no secure_uri");
        let wanted = Server { secure_uri: "coaps://127.0.0.1".parse().ok(), ..wanted };
        assert!(matches!(decide(&wanted, &analyses(&[&good]), now), Verdict::Dtls { .. }));
    }

    #[test]
    fn s_03_where_nosec_is_not_permitted_dtls_is_the_outcome_if_it_can_be() {
        let with_both = Server {
            secure_uri: "coaps://site.example:5684".parse().ok(),
            ..server("coap://127.0.0.1:5683", Security::Auto)
        };
        let good = file("coap://127.0.0.1:5683", "2024-10-04");
        let at = |texts: &[&str], day: u64| decide(&with_both, &analyses(texts), Some(day * DAY_MS));
        assert!(at(&[&good], DAY).permits_nosec());
        for verdict in [
            at(&[&good], DAY + 1),
            at(&[], DAY),
            at(&[&good, "schema ="], DAY),
            decide(&with_both, &analyses(&[&good]), None),
        ] {
            assert!(matches!(verdict, Verdict::Dtls { .. }), "{verdict:?}");
        }
    }

    #[test]
    fn full_file_of_the_later_form_is_read() {
        let full = "schema = 1\nid = \"TA-2026-014\"\ntitle = \"Water meters\"\nmethod = \"STRIDE\"\nreviewed = 2024-01-02\n\
                    expires = 2030-05-02\napproved_by = [\"a\", \"b\"]\n[scope]\nserver = \"coap://127.0.0.1:5683\"\n[needs]\nconfidentiality = true\n";
        assert!(verdict("coap://127.0.0.1", &[full], Some(DAY * DAY_MS)).permits_nosec());
    }
}
