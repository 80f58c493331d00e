//! The worked examples W1 to W5, each with the rule that decided, and what a file may not say.

mod examples;
mod properties;
mod records;
mod signatures;
mod walk;

use super::analyses::Analyses;
use super::analysis::Analysis;
use super::date::Day;
use super::decide::{Case, Decision, Verdict, decide};
use super::draft::Draft;
use super::facts::{Activation, Cellular, Facts, Seen};
use super::protection::Probe;
use super::rule::Rule;
use super::table::Outcome;
use crate::config::{Dtls, DtlsMode, Security, Server};
use std::path::Path;

pub(super) const ENDPOINT: &str = "urn:dev:mac:70b3d57ed0000001";

pub(super) fn day(text: &str) -> Day {
    text.parse().unwrap()
}

pub(super) fn server(uri: &str, secure_uri: Option<&str>) -> Server {
    Server {
        name: "site".into(),
        uri: uri.parse().ok(),
        secure_uri: secure_uri.map(|uri| uri.parse().unwrap()),
        security: Security::Auto,
        reachable: true,
        dtls: Dtls::default(),
    }
}

pub(super) fn analyses(texts: &[&str]) -> Analyses {
    let mut analyses = Analyses::default();
    for (n, text) in texts.iter().enumerate() {
        analyses.add(Path::new(&format!("{n}.toml")), text);
    }
    analyses
}

pub(super) fn facts() -> Facts {
    Facts {
        activation: Some(Activation::Otaa),
        counters_checked: Some(true),
        clock_synchronised: Some(true),
        ..Facts::default()
    }
}

/// LoRaWAN nodes, network and server on this host.
pub(super) fn local(expires: &str) -> String {
    Draft {
        id: "TA-1",
        title: "Local",
        server: "coap://127.0.0.1:5683",
        endpoints: &["urn:dev:mac:*"],
        reviewed: day("2026-11-02"),
        expires: day(expires),
        by: "j.doe",
        clock: None,
        abp: None,
        accept: Some("no other users on this host"),
        needs_reserve: true,
    }
    .text()
}

/// A case with the reserve that NoSec needs.
struct Site {
    server: Server,
    credential: Option<DtlsMode>,
    facts: Facts,
    today: Option<Day>,
    latched: Option<&'static str>,
}

impl Site {
    fn local() -> Site {
        Site {
            server: server("coap://127.0.0.1:5683", Some("coaps://127.0.0.1:5684")),
            credential: Some(DtlsMode::Psk),
            facts: facts(),
            today: Some(day("2026-12-01")),
            latched: None,
        }
    }

    fn decide(&self, texts: &[&str]) -> Decision {
        let Site { server, credential, facts, today, latched } = self;
        let case =
            Case { endpoint: ENDPOINT, server, credential: *credential, facts, today: *today, latched: *latched };
        decide(&case, &analyses(texts))
    }
}

fn outcome(decision: &Decision) -> (&'static str, &[Rule]) {
    (decision.verdict.name(), &decision.rules)
}

#[test]
fn w1_lorawan_with_network_and_server_on_this_host_is_nosec_and_lists_what_is_accepted() {
    let decision = Site::local().decide(&[&local("2027-05-02")]);
    assert_eq!(outcome(&decision), ("nosec", &[Rule::Ta10][..]), "{decision:#?}");
    let table = &decision.analyses[0].table;
    let accepted = table.iter().filter(|cell| matches!(cell.outcome, Outcome::AcceptedBy { .. })).count();
    let open = table.iter().filter(|cell| matches!(cell.outcome, Outcome::Open { .. })).count();
    assert_eq!((table.len(), accepted, open), ((2 + 2 + 1) * 4, 4, 0));
    assert_eq!(decision.next_expiry, Some(day("2027-05-02")));
    assert!(decision.warnings.is_empty());
}

#[test]
fn ta12_certificates_under_anchors_need_a_clock_and_nothing_else_does() {
    let secure = Some("coaps://127.0.0.1:5684");
    let anchored = server("coap://127.0.0.1:5683", secure);
    let mut pinned = anchored.clone();
    pinned.dtls.server_certificate = Some(vec![0x30]);
    let table = [
        (DtlsMode::Psk, &anchored, "dtls-psk"),
        (DtlsMode::Rpk, &anchored, "dtls-rpk"),
        (DtlsMode::X509, &pinned, "dtls-x509"),
        (DtlsMode::X509, &anchored, "refuse"),
    ];
    for (mode, server, verdict) in table {
        let site = Site { server: server.clone(), credential: Some(mode), today: None, ..Site::local() };
        for (texts, rule) in [(vec![local("2027-05-02")], Rule::Ta02), (vec![], Rule::Ta03)] {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let decision = site.decide(&texts);
            assert_eq!(outcome(&decision), (verdict, &[rule, Rule::Ta12][..]), "{decision:#?}");
            assert_eq!(decision.reason.contains("certificates have dates"), verdict == "refuse", "{}", decision.reason);
        }
        let with_clock = Site { today: Site::local().today, ..site };
        assert_eq!(with_clock.decide(&[]).verdict, Verdict::Dtls(mode));
    }
}

/// W1 with the server on the LAN and nothing on the way there.
fn lan() -> String {
    local("2027-05-02")
        .replace("127.0.0.1", "192.168.1.20")
        .replace("id = \"host\"", "id = \"uplink\"")
        .replace("medium = \"loopback\", attackers = [\"host-user\"]", "medium = \"ip\", own_wire = true, attackers = [\"lan\"]")
        .replace("  { kind = \"loopback\", from = \"agent\", to = \"server\", claims = [\"all\"], evidence = [\"here\"] },\n", "")
        .replace("accept = [\n", "#")
        .replace("  { segment = \"host\"", "# ")
        .replace(", expires = 2027-05-02 },\n]", "")
        .replace("loopback-single-tenant", "source-port")
}

#[test]
fn w2_a_server_on_the_lan_with_nothing_on_the_way_is_dtls_or_nothing() {
    let mut site = Site { server: server("coap://192.168.1.20:5683", None), credential: None, ..Site::local() };
    let text = lan();
    let decision = site.decide(&[&text]);
    assert_eq!(outcome(&decision), ("refuse", &[Rule::Ta05, Rule::Ta13][..]), "{decision:#?}");
    assert!(decision.reason.contains("uplink lacks integrity against lan"), "{}", decision.reason);
    let open: Vec<_> = decision.analyses[0]
        .table
        .iter()
        .filter(|cell| matches!(cell.outcome, Outcome::Open { .. }))
        .map(|cell| (cell.segment.as_str(), cell.property.name()))
        .collect();
    let uplink = ["integrity", "replay", "authentication", "confidentiality"].map(|property| ("uplink", property));
    assert_eq!(open, uplink);
    site.server.secure_uri = "coaps://192.168.1.20:5684".parse().ok();
    site.credential = Some(DtlsMode::Psk);
    assert_eq!(outcome(&site.decide(&[&text])), ("dtls-psk", &[Rule::Ta05, Rule::Ta12][..]));
}

/// An AT modem as backhaul, by a private tunnel of the operator.
const BACKHAUL: &str = r#"
schema = 1
id = "TA-3"
reviewed = 2026-11-02
expires = 2027-05-02
approved_by = ["j.doe", "m.roe"]
segments = [
  { id = "air", from = "node", to = "lora", medium = "radio", attackers = ["radio-passive", "radio-active"] },
  { id = "line", from = "lora", to = "agent", medium = "serial", attackers = ["physical", "host-user"] },
  { id = "cable", from = "agent", to = "modem", medium = "serial", attackers = ["physical", "host-user"] },
  { id = "cell", from = "modem", to = "core", medium = "radio", attackers = ["radio-passive", "radio-active"] },
  { id = "operator", from = "core", to = "pgw", medium = "operator", attackers = ["operator-insider"] },
  { id = "tunnel", from = "pgw", to = "server", medium = "ip", attackers = ["lan", "internet"] },
]
protections = [
  { kind = "lorawan-mac", from = "node", to = "agent", claims = ["integrity", "replay", "authentication"], evidence = ["lorawan"] },
  { kind = "lorawan-app", from = "node", to = "agent", claims = ["confidentiality"], evidence = ["lorawan"] },
  { kind = "physical", from = "agent", to = "modem", claims = ["all"], evidence = ["cabinet"] },
  { kind = "os-access", from = "agent", to = "modem", claims = ["all"], evidence = ["tty"] },
  { kind = "nas-cp", from = "modem", to = "core", claims = ["all"], evidence = ["letter"] },
  { kind = "ipsec", from = "pgw", to = "server", claims = ["all"], evidence = ["letter"] },
]
accept = [
  { segment = "operator", property = "all", attacker = "operator-insider", why = "contract", by = ["j.doe", "m.roe"], expires = 2027-05-02 },
]
[scope]
endpoints = ["*"]
server = "coap://10.9.0.10:5683"
bearer = "wwan0"
plmn = ["26201"]
rat = ["nb-iot"]
roaming = false
[needs]
identity_binding = "source-port"
[evidence]
lorawan = { type = "live", probe = "lorawan" }
letter = { type = "operator-letter", ref = "MNO-2026-778: EEA2+EIA2", date = 2026-09-01, expires = 2027-09-01 }
cabinet = { type = "test-report", ref = "site visit", date = 2026-10-12, expires = 2027-10-12 }
tty = { type = "live", probe = "tty-owner" }
"#;

fn backhaul() -> Site {
    let cellular = Cellular {
        plmn: Some("26201".into()),
        rat: Some("nb-iot".into()),
        roaming: Some(false),
        user_plane: Some(false),
        ciphering_off: Some(false),
    };
    Site {
        server: server("coap://10.9.0.10:5683", Some("coaps://10.9.0.10:5684")),
        facts: Facts {
            bearer: Some("wwan0".into()),
            cellular: Some(cellular),
            seen: vec![Seen { probe: Probe::TtyOwner, peer: None, interface: None, good: true, age_s: 20 }],
            ..facts()
        },
        ..Site::local()
    }
}

#[test]
fn w3_an_operators_tunnel_is_nosec_until_the_modem_roams_and_then_latched() {
    let mut site = backhaul();
    let decision = site.decide(&[BACKHAUL]);
    assert_eq!(outcome(&decision), ("nosec", &[Rule::Ta10][..]), "{decision:#?}");
    let unseen =
        |cell: &&super::table::Cell| matches!(cell.outcome, Outcome::DischargedBy { attested_not_observed: true, .. });
    assert!(decision.analyses[0].table.iter().filter(unseen).any(|cell| cell.segment == "tunnel"));
    for (change, why) in [
        ((|cellular| cellular.roaming = Some(true)) as fn(&mut Cellular), "+CEREG: 5"),
        (|cellular| cellular.plmn = Some("20801".into()), "another network"),
        (|cellular| cellular.rat = Some("gsm".into()), "GSM"),
        (|cellular| cellular.user_plane = Some(true), "user plane"),
        (|cellular| cellular.ciphering_off = Some(true), "no ciphering"),
    ] {
        let mut away = backhaul();
        change(away.facts.cellular.as_mut().unwrap());
        let decision = away.decide(&[BACKHAUL]);
        assert_eq!(outcome(&decision), ("dtls-psk", &[Rule::Ta07, Rule::Ta12][..]), "{why}: {decision:#?}");
    }
    site.latched = Some("our modem was in a foreign network");
    assert_eq!(outcome(&site.decide(&[BACKHAUL])), ("dtls-psk", &[Rule::Ta15, Rule::Ta12][..]));
}

#[test]
fn w3_a_fact_that_is_missing_or_old_or_bad_does_not_count() {
    let with = |seen: Vec<Seen>| {
        let mut site = backhaul();
        site.facts.seen = seen;
        site.decide(&[BACKHAUL]).rule()
    };
    let tty = |good, age_s| Seen { probe: Probe::TtyOwner, peer: None, interface: None, good, age_s };
    assert_eq!(with(vec![tty(true, 180)]), Rule::Ta10);
    assert_eq!(with(vec![]), Rule::Ta06);
    assert_eq!(with(vec![tty(true, 181)]), Rule::Ta06);
    assert_eq!(with(vec![tty(false, 1)]), Rule::Ta07);
    assert_eq!(with(vec![tty(true, 1), tty(false, 1)]), Rule::Ta07);
    assert_eq!(with(vec![Seen { peer: Some("x".into()), ..tty(true, 1) }]), Rule::Ta06);
    for bearer in [None, Some("eth0".to_string())] {
        let mut site = backhaul();
        site.facts.bearer = bearer;
        assert_eq!(site.decide(&[BACKHAUL]).rules, [Rule::Ta11, Rule::Ta12]);
    }
    let mut site = backhaul();
    site.facts.cellular = None;
    assert_eq!(site.decide(&[BACKHAUL]).rules, [Rule::Ta03, Rule::Ta12]);
}

#[test]
fn w4_an_analysis_that_expired_yesterday_and_a_clock_of_1970_are_dtls() {
    let text = local("2027-05-02");
    let site = Site { today: Some(day("2027-05-02")), ..Site::local() };
    assert_eq!(site.decide(&[&text]).verdict, Verdict::Nosec, "the last day counts");
    for today in [Some(day("2027-05-03")), None, Some(day("2026-11-01")), Some(day("2031-01-01"))] {
        let decision = Site { today, ..Site::local() }.decide(&[&text]);
        assert_eq!(outcome(&decision), ("dtls-psk", &[Rule::Ta02, Rule::Ta12][..]), "{today:?}");
    }
    let mut unsynchronised = Site::local();
    for clock_synchronised in [None, Some(false)] {
        unsynchronised.facts.clock_synchronised = clock_synchronised;
        assert_eq!(unsynchronised.decide(&[&text]).rule(), Rule::Ta02);
    }
    let attested = text.replace("[needs]", "[needs]\nclock = \"attested\"\nclock_evidence = \"clock\"")
        + "clock = { type = \"config\", ref = \"battery clock\", date = 2026-11-01, expires = 2027-01-01 }\n";
    assert_eq!(unsynchronised.decide(&[&attested]).rule(), Rule::Ta10);
    unsynchronised.today = Some(day("2027-01-02"));
    assert_eq!(unsynchronised.decide(&[&attested]).rule(), Rule::Ta02, "the evidence for the clock has expired");
}

#[test]
fn w5_integrity_on_the_user_plane_and_protection_by_a_private_apn_are_load_errors() {
    let text = BACKHAUL
        .replace(
            "\"nas-cp\", from = \"modem\", to = \"core\", claims = [\"all\"]",
            "\"as-up\", from = \"modem\", to = \"core\", claims = [\"integrity\"]",
        )
        .replace(
            "\"ipsec\", from = \"pgw\", to = \"server\", claims = [\"all\"]",
            "\"private-apn\", from = \"pgw\", to = \"server\", claims = [\"all\"]",
        );
    let errors = Analysis::parse(Path::new("w5.toml"), &text).unwrap_err().to_string();
    assert!(errors.contains("w5.toml:20: claims: as-up cannot claim integrity"), "{errors}");
    assert!(errors.contains("as-up can claim: authentication, confidentiality"), "{errors}");
    assert!(errors.contains("w5.toml:21: claims: private-apn cannot claim all"), "{errors}");
    assert_eq!(outcome(&backhaul().decide(&[&text])), ("dtls-psk", &[Rule::Ta01, Rule::Ta12][..]));
}

#[test]
fn s_04_dtls_by_choice_wins_and_without_a_reserve_there_is_no_nosec() {
    let text = local("2027-05-02");
    let mut site = Site::local();
    site.server.security = Security::Dtls;
    assert_eq!(outcome(&site.decide(&[&text])), ("dtls-psk", &[Rule::Ta10, Rule::Ta12][..]));
    let without = |secure: Option<&str>, credential| Site {
        server: server("coap://127.0.0.1:5683", secure),
        credential,
        ..Site::local()
    };
    let waived = text.replace("fallback = \"required\"", "fallback = \"off\"");
    for site in [without(None, None), without(None, Some(DtlsMode::Psk)), without(Some("coaps://127.0.0.1:5684"), None)]
    {
        assert_eq!(outcome(&site.decide(&[&text])), ("refuse", &[Rule::Ta13][..]));
        assert_eq!(outcome(&site.decide(&[&waived])), ("nosec", &[Rule::Ta10][..]));
    }
}

#[test]
fn s_05_an_open_south_is_dtls_with_a_standing_warning_or_refused_by_choice() {
    let text = local("2027-05-02");
    let mut site = Site::local();
    site.facts.activation = Some(Activation::Abp);
    let decision = site.decide(&[&text]);
    assert_eq!(outcome(&decision), ("dtls-psk", &[Rule::Ta07, Rule::Ta12][..]));
    assert!(decision.warnings[0].starts_with("south exposed: air, integrity against radio-passive"), "{decision:?}");
    let refusing = text.replace("fallback = ", "south = \"refuse\"\nfallback = ");
    assert_eq!(outcome(&site.decide(&[&refusing])), ("refuse", &[Rule::Ta09][..]));
    // Expiry never opens what is refused, and never refuses what it did not.
    site.today = Some(day("2030-01-01"));
    assert_eq!(site.decide(&[&refusing]).verdict, Verdict::Refuse);
    site.facts.activation = Some(Activation::Otaa);
    assert_eq!(site.decide(&[&refusing]).verdict, Verdict::Dtls(DtlsMode::Psk));
    let none = Site::local().decide(&[]);
    assert_eq!(outcome(&none), ("dtls-psk", &[Rule::Ta03, Rule::Ta12][..]));
    let [warning] = none.warnings.as_slice() else { panic!("{none:?}") };
    assert!(warning.starts_with("south side unanalysed: ") && warning.contains("TA09"), "{warning}");
    // A server that has no clear address asks for no analysis, and could have none.
    let mut secure = Site::local();
    secure.server.uri = None;
    let decision = secure.decide(&[]);
    assert_eq!(outcome(&decision), ("dtls-psk", &[Rule::Ta11, Rule::Ta12][..]));
    assert_eq!(decision.warnings, [""; 0]);
}

#[test]
fn a_clock_that_is_not_trusted_is_named_with_its_remedy_and_what_is_accepted_as_such() {
    let text = local("2027-05-02");
    let with = |synchronised: Option<bool>, today: Option<&str>, text: &str| {
        let mut site = Site::local();
        site.facts.clock_synchronised = synchronised;
        site.today = today.map(day);
        site.decide(&[text])
    };
    let adrift = with(Some(false), Some("2026-12-01"), &text);
    assert_eq!(adrift.rules, [Rule::Ta02, Rule::Ta12]);
    for word in ["systemd-timesyncd", "chrony", "needs.clock = \"attested\""] {
        assert!(adrift.reason.contains(word), "{}", adrift.reason);
    }
    let accepted: Vec<&str> =
        adrift.objections.iter().filter(|one| one.rule == Rule::Ta05).map(|one| one.why.as_str()).collect();
    assert_eq!(accepted.len(), 4, "{adrift:?}");
    for why in accepted {
        assert!(why.ends_with(": accepted, but dates do not count while the clock is not trusted"), "{why}");
    }
    let never = with(Some(true), None, &text);
    assert!(never.reason.contains("policy rearm") && !never.reason.contains("chrony"), "{}", never.reason);
    let lapsed = text.replace("expires = 2027-05-02 },\n]", "expires = 2026-11-03 },\n]");
    assert_ne!(lapsed, text);
    let decision = with(Some(true), Some("2026-12-01"), &lapsed);
    assert!(decision.reason.contains("accepted, but that expired on 2026-11-03"), "{}", decision.reason);
    // The remedy stands where the clock is the cause only.
    let expired = with(Some(true), Some("2027-06-01"), &text);
    assert!(expired.reason.contains("expired on 2027-05-02; so DTLS"), "{}", expired.reason);
}

#[test]
fn an_invalid_file_stands_in_the_reason_by_its_first_problem_without_hints() {
    let bad = local("2027-05-02").replace("\"lorawan-app\"", "\"lorawan-ap\"").replace("schema = 1", "schema = 2");
    let decision = Site::local().decide(&[&bad]);
    let start =
        "an analysis is invalid, and could have spoken of this node: 0.toml:1: schema: is not 1 (and 1 more); so";
    assert!(decision.reason.starts_with(start), "{}", decision.reason);
    assert!(!decision.reason.contains('\n'), "{}", decision.reason);
}

#[test]
fn abp_needs_it_in_writing_and_a_counter_that_begins_anew_never_counts() {
    let text = local("2027-05-02")
        .replace("[\"lorawan\"]", "[\"lorawan\", \"counters\"]")
        .replace("[needs]", "activation = [\"abp\"]\n[needs]")
        + "counters = { type = \"test-report\", ref = \"lab 7\", date = 2026-11-01, expires = 2027-11-01 }\n";
    let mut site = Site::local();
    site.facts.activation = Some(Activation::Abp);
    assert_eq!(site.decide(&[&text]).rule(), Rule::Ta10);
    site.facts.counters_checked = Some(false);
    assert_eq!(site.decide(&[&text]).rule(), Rule::Ta07);
    site.facts.activation = None;
    site.facts.counters_checked = None;
    assert_eq!(site.decide(&[&text]).rule(), Rule::Ta06);
}

#[test]
fn several_files_must_all_permit_and_a_broken_one_forbids() {
    let (good, other) = (local("2027-05-02"), local("2026-11-30").replace("TA-1", "TA-2"));
    let site = Site::local();
    assert_eq!(site.decide(&[&good, &other]).rule(), Rule::Ta02);
    assert_eq!(site.decide(&[&good, "schema ="]).rule(), Rule::Ta01);
    assert_eq!(site.decide(&[&good, &good]).rule(), Rule::Ta01, "one id twice");
    let elsewhere = other.replace("127.0.0.1:5683", "127.0.0.1:6683");
    assert_eq!(site.decide(&[&good, &elsewhere]).rule(), Rule::Ta10, "it speaks of another server");
    let others = other.replace("urn:dev:mac:*", "urn:imei:*");
    assert_eq!(site.decide(&[&good, &others]).rule(), Rule::Ta10, "it speaks of other nodes");
}

#[test]
fn errors_name_file_line_key_and_what_is_allowed() {
    let good = local("2027-05-02");
    for (from, to, want) in [
        ("schema = 1", "schema = 2", "x.toml:1: schema: is not 1"),
        ("method = \"STRIDE\"", "metod = \"STRIDE\"", "did you mean `method`?"),
        (
            "expires = 2027-05-02\napproved",
            "expires = 2027-12-02\napproved",
            "x.toml:6: expires: is not within 366 days",
        ),
        ("expires = 2027-05-02\napproved", "expires = \"soon\"\napproved", "x.toml:6: expires"),
        ("reviewed = 2026-11-02\n", "", "missing field `reviewed`"),
        ("\"radio-passive\", ", "", "medium \"radio\" has at least: radio-passive"),
        ("from = \"modem\", to = \"agent\", medium", "from = \"modm\", to = \"agent\", medium", "the path has a gap"),
        ("from = \"agent\", to = \"server\", medium", "from = \"agent\", to = \"node\", medium", "on the path twice"),
        ("medium = \"serial\"", "medium = \"seriel\"", "did you mean \"serial\"? Allowed: radio, serial"),
        ("kind = \"lorawan-mac\"", "kind = \"lorawan-mic\"", "did you mean \"lorawan-mac\"?"),
        (
            "\"integrity\", \"replay\", \"authentication\"",
            "\"confidentiality\"",
            "lorawan-mac cannot claim confidentiality",
        ),
        ("evidence = [\"here\"]", "evidence = [\"there\"]", "\"there\" is not known"),
        ("evidence = [\"here\"]", "evidence = []", "loopback can be looked at, and has no live evidence"),
        (", by = [\"j.doe\"]", ", by = []", "accept.by: names fewer than 1"),
        ("approved_by = [\"j.doe\"]", "approved_by = [\" \"]", "approved_by: names nobody"),
        ("coap://127.0.0.1:5683", "coap://localhost", "scope.server: has a host name"),
        ("coap://127.0.0.1:5683", "coaps://127.0.0.1", "scope.server: is an address for DTLS"),
        ("[\"urn:dev:mac:*\"]", "[]", "scope.endpoints"),
        ("probe = \"loopback\"", "probe = \"loopback\", date = 2026-01-01", "live evidence has no ref, date"),
        ("medium = \"loopback\"", "medium = \"ip\"", "loopback is for medium \"loopback\" only"),
        ("attackers = [\"host-user\"]", "attackers = [\"host-user\"], own_wire = true", "own_wire"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = Analysis::parse(Path::new("x.toml"), &text).unwrap_err().to_string();
        assert!(error.contains(want), "{want}\n{error}");
    }
    let air = good.replace(
        "{ segment = \"host\", property = \"all\", attacker = \"host-user\"",
        "{ segment = \"air\", property = \"integrity\", attacker = \"radio-active\"",
    );
    let error = Analysis::parse(Path::new("x.toml"), &air).unwrap_err().to_string();
    assert!(error.contains("rule TA08") && error.contains("approved_by") && error.contains("fewer than 2"), "{error}");
}

#[test]
fn the_first_form_with_a_server_and_nothing_else_is_refused_with_a_hint() {
    let first = "schema = 1\nid = \"x\"\nexpires = 2027-01-01\n[scope]\nserver = \"coap://127.0.0.1\"\n";
    let error = Analysis::parse(Path::new("x.toml"), first).unwrap_err().to_string();
    assert!(error.contains("missing field") && error.contains("lpwad policy new"), "{error}");
    assert_eq!(Site::local().decide(&[first]).rule(), Rule::Ta01);
}
