//! How a session may open. First form of the policy: a proxy runs NoSec only if the server is on this host by a
//! literal address **and** an unexpired threat analysis names that server (LwM2M 1.1 §7.1.1; requirements S-03 to
//! S-05). Whatever is missing, unreadable or not known means no NoSec. Nothing here can be overridden.
//!
//! Not yet: segments, evidence, live facts, DTLS as the outcome (this version has no DTLS, so the outcome is `Refuse`).

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
    let refuse = |reason: String| Verdict::Refuse { reason };
    if server.security == Security::Dtls {
        return refuse("security = \"dtls\", and this version has no DTLS yet".into());
    }
    let Some(uri) = &server.uri else {
        return refuse("it has no uri for NoSec, and this version has no DTLS yet".into());
    };
    if !uri.is_loopback_literal() {
        return refuse(format!(
            "{uri} is not a loopback literal; beyond this host there is no NoSec, and this version has no DTLS yet"
        ));
    }
    let Some(unix_ms) = unix_ms else {
        return refuse("the clock is not trusted, so every analysis counts as expired".into());
    };
    if let Some(invalid) = analyses.invalid.first() {
        return refuse(format!("an analysis file is invalid: {}", invalid.error));
    }
    let today = u32::try_from(unix_ms / DAY_MS).unwrap_or(u32::MAX);
    let mut permitting: Option<&Analysis> = None;
    for analysis in analyses.valid.iter().filter(|analysis| analysis.server == *uri) {
        if today > analysis.expires_day {
            return refuse(format!("analysis {} for {uri} expired on {}", analysis.id, analysis.expires));
        }
        if permitting.is_none_or(|other| analysis.expires_day < other.expires_day) {
            permitting = Some(analysis);
        }
    }
    match permitting {
        Some(analysis) => Verdict::Nosec { analysis: analysis.id.clone(), until_day: analysis.expires_day },
        None => refuse(format!("no threat analysis names {uri} (scope.server)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const DAY: u64 = 20_000;

    fn server(uri: &str, security: Security) -> Server {
        Server { name: "s".into(), uri: uri.parse().ok(), secure_uri: None, security, reachable: true }
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
        let verdict = decide(&server("coap://127.0.0.1", Security::Dtls), &analyses(&[&good]), Some(DAY * DAY_MS));
        assert!(matches!(verdict, Verdict::Refuse { .. }));
    }

    #[test]
    fn full_file_of_the_later_form_is_read() {
        let full = "schema = 1\nid = \"TA-2026-014\"\ntitle = \"Water meters\"\nmethod = \"STRIDE\"\nreviewed = 2024-01-02\n\
                    expires = 2030-05-02\napproved_by = [\"a\", \"b\"]\n[scope]\nserver = \"coap://127.0.0.1:5683\"\n[needs]\nconfidentiality = true\n";
        assert!(verdict("coap://127.0.0.1", &[full], Some(DAY * DAY_MS)).permits_nosec());
    }
}
