//! Text of a threat analysis, and what is decided by it.
use lpwad::config::{Dtls, DtlsMode, Security, Server};
use lpwad::policy::analyses::Analyses;
use lpwad::policy::date::Day;
use lpwad::policy::decide::{Case, decide};
use lpwad::policy::facts::{Activation, Facts};
use lpwad::policy::protection::Kind;
use std::path::Path;

/// Runs the target on an input.
pub fn run(text: &str) {
    let mut analyses = Analyses::default();
    analyses.add(Path::new("ta.toml"), text);
    let today = Some(Day(20_800));
    let facts = Facts {
        activation: Some(Activation::Otaa),
        counters_checked: Some(true),
        clock_synchronised: Some(true),
        ..Facts::default()
    };
    for invalid in &analyses.invalid {
        assert!(!invalid.error.is_empty());
    }
    let server = Server {
        name: "s".into(),
        uri: analyses.valid.first().map(|analysis| analysis.scope.server.clone()),
        secure_uri: "coaps://127.0.0.1".parse().ok(),
        security: Security::Auto,
        reachable: true,
        dtls: Dtls::default(),
    };
    let endpoint = analyses.valid.first().map_or("x", |analysis| analysis.scope.endpoints[0].as_str());
    let credential = Some(DtlsMode::Psk);
    let case = Case { endpoint, server: &server, credential, facts: &facts, today, latched: None };
    let decision = decide(&case, &analyses);
    for analysis in &analyses.valid {
        assert!(!analysis.id.is_empty() && analysis.id.len() <= 64);
        // 4 digits of year: 9999-12-31 is day 2,932,896.
        assert!(analysis.expires >= analysis.reviewed && analysis.expires <= Day(2_932_896));
        for one in &analysis.protections {
            assert!(one.first <= one.last && one.last < analysis.segments.len());
            assert!(one.claims.iter().all(|claim| one.kind.cap().contains(claim)), "over-claim");
        }
        // Whatever it says: with nothing of the air protected, or without a clock, there is no clear session.
        let mut bare = analyses.clone();
        bare.valid[0].protections.retain(|one| matches!(one.kind, Kind::PrivateApn | Kind::Physical | Kind::OsAccess));
        let unclocked = Case { today: None, ..case };
        assert!(!decide(&unclocked, &analyses).verdict.permits_nosec());
        if analysis.segments.iter().any(|segment| segment.medium == lpwad::policy::segment::Medium::Radio) {
            assert!(!decide(&case, &bare).verdict.permits_nosec());
        }
    }
    assert!(analyses.invalid.is_empty() || !decision.verdict.permits_nosec());
}
