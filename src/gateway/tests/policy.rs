//! The policy at work: what is lost is lost at once, DTLS takes over by itself, and nothing comes back by itself.

use super::*;
use crate::config::{Credential, Secret};
use std::path::Path;
use zeroize::Zeroizing;

/// A server by both ways, and a node with a PSK.
pub(super) fn both() -> Config {
    let mut config = config(true);
    config.servers[0].secure_uri = "coaps://127.0.0.1:5684".parse().ok();
    let key = Secret::new(Zeroizing::new(vec![9; 16]));
    config.nodes[0].credential = Some(Arc::new(Credential::Psk { identity: b"id".to_vec(), key }));
    config
}

/// Registered in clear, by an analysis that needs the kernel to keep the clock in step.
fn registered() -> Rig {
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &Draft { clock: None, needs_reserve: true, ..draft("2027-06-01") }.text());
    let mut rig = Rig::of(now, &both(), analyses, Loaded::default());
    assert_eq!(verdict(&rig), "dtls-psk", "nothing is known of the clock");
    rig.input(Input::Facts(in_step(true)));
    assert_eq!(verdict(&rig), "nosec");
    rig.uplink("01670110", false);
    rig.accept();
    assert_eq!((rig.said(Kind::Registered), rig.said(Kind::PolicyLatched)), (1, 0));
    rig.outputs.clear();
    rig
}

pub(super) fn in_step(synchronised: bool) -> Facts {
    Facts { clock_synchronised: Some(synchronised), ..Facts::default() }
}

pub(super) fn explain(rig: &Rig) -> serde_json::Value {
    rig.gateway.answer_request(rig.time(), &control::Request::PolicyExplain { node: DEV_EUI.to_string() })
}

pub(super) fn verdict(rig: &Rig) -> String {
    explain(rig)["decision"]["verdict"].as_str().unwrap().to_string()
}

pub(super) fn rules(rig: &Rig) -> serde_json::Value {
    explain(rig)["decision"]["rules"].clone()
}

#[test]
fn ta15_a_fact_that_goes_bad_moves_the_proxy_to_dtls_by_itself_and_without_a_clear_word() {
    let mut rig = registered();
    // A notification is on its way again and again, and a write waits.
    rig.write(1);
    rig.outputs.clear();
    rig.input(Input::Facts(in_step(false)));
    let of = |want: &dyn Fn(&Output) -> bool| rig.outputs.iter().position(want);
    let closed = of(&|output| matches!(output, Output::Close(NODE))).unwrap();
    let opened = of(&|output| matches!(output, Output::Open { to: Target::Dtls { .. }, .. })).unwrap();
    let sent = of(&|output| matches!(output, Output::Send(..))).unwrap();
    assert!(closed < opened && opened < sent, "closed, then DTLS, then the first datagram");
    let register = String::from_utf8_lossy(rig.sent()[0]).into_owned();
    assert!(register.contains("ep="), "a new registration, at once");
    assert_eq!((rig.said(Kind::PolicyLatched), rig.said(Kind::PolicyVerdict)), (1, 1));
    assert_eq!(rules(&rig), serde_json::json!(["TA02", "TA12"]));
    let told = rig.outputs.iter().find_map(|output| match output {
        Output::Event(event) if event.kind == Kind::PolicyVerdict => Some(event.to_json()["nodes"].clone()),
        _ => None,
    });
    assert_eq!(told, Some("1".into()), "judged twice, as it is latched, and counted once");
}

#[test]
fn ta15_ten_flaps_are_one_change_of_the_verdict_and_only_rearm_restores_it() {
    let mut rig = registered();
    for _ in 0..10 {
        rig.input(Input::Facts(in_step(false)));
        rig.input(Input::Facts(in_step(true)));
        rig.run_to(rig.now + S(6));
    }
    assert_eq!((rig.said(Kind::PolicyLatched), rig.said(Kind::PolicyVerdict)), (1, 1));
    let opened = rig.outputs.iter().filter(|output| matches!(output, Output::Open { .. })).count();
    assert_eq!(opened, 1, "one DTLS session, and it stays");
    assert_eq!((verdict(&rig).as_str(), rules(&rig)), ("dtls-psk", serde_json::json!(["TA15", "TA12"])));
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    assert_eq!((verdict(&rig).as_str(), rig.said(Kind::PolicyRearmed)), ("nosec", 1));
}

#[test]
fn ta15_a_new_review_lifts_the_latch_and_the_same_one_does_not() {
    let mut rig = registered();
    rig.input(Input::Facts(in_step(false)));
    rig.input(Input::Facts(in_step(true)));
    let reviewed = |day: &str| {
        let mut analyses = Analyses::default();
        let draft = Draft { clock: None, title: "Read again", reviewed: day.parse().unwrap(), ..draft("2027-06-01") };
        analyses.add(Path::new("t.toml"), &draft.text());
        analyses
    };
    rig.input(Input::Reload(Box::new(both()), reviewed("2026-11-24")));
    assert_eq!(rules(&rig)[0], "TA15", "another text by the same review");
    rig.input(Input::Reload(Box::new(both()), reviewed("2027-01-15")));
    assert_eq!(verdict(&rig), "nosec");
}

/// Registered in clear with a server beyond this host, by `wg0`; it is reached at this address.
fn beyond(address: &str) -> (Config, Analyses) {
    let mut config = both();
    config.servers[0].uri = format!("coap://{address}:5683").parse().ok();
    let text = Draft { clock: None, ..draft("2027-06-01") }.text();
    let text = text.replace("coap://127.0.0.1:5683", &format!("coap://{address}:5683"));
    let text = text.replace(
        "medium = \"loopback\", attackers = [\"host-user\"]",
        "medium = \"ip\", attackers = [\"lan\", \"internet\"]",
    );
    let text = text.replace("kind = \"loopback\"", "kind = \"ipsec\"").replace("loopback-single-tenant", "source-port");
    let text = text.replace(
        "here = { type = \"live\", probe = \"loopback\" }",
        "here = { type = \"operator-letter\", ref = \"x\", date = 2026-11-24, expires = 2027-06-01 }",
    );
    let begin = text.find("accept = [").unwrap();
    let end = begin + text[begin..].find("\n]").unwrap() + 2;
    let text = format!("{}{}", &text[..begin], &text[end..]).replace("[scope]", "[scope]\nbearer = \"wg0\"");
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &text);
    assert!(analyses.invalid.is_empty(), "{:?}", analyses.invalid);
    (config, analyses)
}

fn bearers(of: &[(&str, &str)]) -> Input {
    Input::Bearers(of.iter().map(|(address, name)| (address.parse().unwrap(), name.to_string())).collect())
}

#[test]
fn ta11_a_server_beyond_this_host_needs_its_bearer_and_sockets_are_bound_to_it() {
    let (config, analyses) = beyond("10.9.0.10");
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &config, analyses, Loaded::default());
    rig.input(Input::Facts(in_step(true)));
    for (seen, name) in [(None, "nothing leads there"), (Some("eth0"), "another one does")] {
        rig.input(bearers(&seen.map(|seen| ("10.9.0.10", seen)).into_iter().collect::<Vec<_>>()));
        assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA11")), "{name}");
    }
    // What comes and goes without NoSec is not said each time.
    let said = rig.said(Kind::PolicyVerdict);
    for _ in 0..10 {
        rig.input(bearers(&[]));
        rig.input(bearers(&[("10.9.0.10", "eth0")]));
    }
    assert_eq!(rig.said(Kind::PolicyVerdict), said);
    rig.input(bearers(&[("10.9.0.10", "wg0")]));
    assert_eq!(verdict(&rig), "nosec");
    rig.uplink("01670110", false);
    let bound = |output: &Output| matches!(output, Output::Open { to: Target::Clear { bearer: Some(name), .. }, .. } if name == "wg0");
    assert!(rig.outputs.iter().any(bound));

    // The server moves, by hand: the shell asks for both addresses until that is taken over, and nothing latches.
    rig.input(bearers(&[("10.9.0.10", "wg0"), ("10.9.0.11", "wg0")]));
    let (config, analyses) = beyond("10.9.0.11");
    rig.input(Input::Reload(Box::new(config), analyses));
    rig.input(bearers(&[("10.9.0.11", "wg0")]));
    assert_eq!((verdict(&rig).as_str(), rig.said(Kind::PolicyLatched)), ("nosec", 0));
    rig.input(bearers(&[]));
    assert_eq!((verdict(&rig).as_str(), rig.said(Kind::PolicyLatched)), ("dtls-psk", 1));
}

#[test]
fn a_proxy_whose_node_is_not_there_waits_for_it() {
    let mut rig = registered();
    rig.looks = Some(in_step(true));
    rig.run_to(rig.now + S(86_400));
    rig.outputs.clear();
    rig.input(Input::Facts(in_step(false)));
    assert!(!rig.outputs.iter().any(|output| matches!(output, Output::Open { .. })), "presence follows the node");
    rig.uplink("01670111", false);
    assert!(rig.outputs.iter().any(|output| matches!(output, Output::Open { to: Target::Dtls { .. }, .. })));
}

#[test]
fn ta02_a_clock_that_once_was_ahead_is_not_believed_again_until_somebody_looks() {
    let mut rig = registered();
    let ahead = |rig: &Rig, years: u64| Now { mono: rig.now, unix_ms: Some(START_UNIX_MS + years * 365 * 86_400_000) };
    let now = ahead(&rig, 4);
    rig.gateway.handle(now, Input::Tick);
    rig.drain();
    assert_eq!(rules(&rig)[0], "TA02", "2031: expired");
    rig.input(Input::Tick);
    assert_eq!(rules(&rig)[0], "TA02", "set back, and not believed");
    // Also over a restart, and by another review.
    let mut analyses = Analyses::default();
    let draft = Draft { clock: None, reviewed: "2027-01-15".parse().unwrap(), ..draft("2027-06-01") };
    analyses.add(Path::new("t.toml"), &draft.text());
    let mut rig = Rig::of(rig.time(), &both(), analyses, rig.disk);
    rig.input(Input::Facts(in_step(true)));
    assert_eq!(rules(&rig)[0], "TA02");
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    assert_eq!(verdict(&rig), "nosec");
}

/// With a certificate instead, and a server that is known by an authority, or by its one certificate.
fn by_certificate(pinned: bool) -> Config {
    let mut config = both();
    let (anchors, certificate) = (vec![1], pinned.then(|| vec![1]));
    config.servers[0].dtls.trust_anchors = (!pinned).then_some(anchors);
    config.servers[0].dtls.server_certificate = certificate;
    let key = Secret::new(Zeroizing::new(vec![9; 16]));
    config.nodes[0].credential = Some(Arc::new(Credential::X509 { certificate: vec![1], key }));
    config
}

#[test]
fn ta12_a_node_with_a_certificate_waits_for_the_clock_and_one_with_a_psk_or_a_pin_does_not() {
    let opens = |rig: &Rig| rig.outputs.iter().filter(|output| matches!(output, Output::Open { .. })).count();
    let in_1970 = Now { mono: S(1), unix_ms: None };
    for config in [both(), by_certificate(true)] {
        let mut rig = Rig::of(in_1970, &config, analyses("2027-06-01"), Loaded::default());
        rig.uplink("01670110", false);
        assert_eq!((opens(&rig), rules(&rig)[1].as_str(), rig.said(Kind::SessionOpened)), (1, Some("TA12"), 1));
    }
    let mut rig = Rig::of(in_1970, &by_certificate(false), Analyses::default(), Loaded::default());
    assert_eq!((verdict(&rig).as_str(), rules(&rig)), ("refuse", serde_json::json!(["TA03", "TA12"])));
    rig.uplink("01670110", false);
    rig.uplink("01670111", false);
    assert_eq!((opens(&rig), rig.said(Kind::PolicyRefused)), (0, 2), "once of the decision, once of the node");
    // The time comes: nobody has to wait for the node's next uplink.
    rig.unix = true;
    rig.input(Input::Tick);
    assert_eq!((verdict(&rig).as_str(), opens(&rig), rig.sent().len()), ("dtls-x509", 1, 1));
    rig.accept();
    rig.outputs.clear();
    // Once it was ahead, and is set back: not believed, whatever dates certificates have.
    rig.gateway.handle(Now { mono: rig.now, unix_ms: Some(START_UNIX_MS + 4 * 365 * 86_400_000) }, Input::Tick);
    rig.drain();
    rig.input(Input::Tick);
    assert!(rig.outputs.iter().any(|output| matches!(output, Output::Close(NODE))), "closed without a word");
    rig.uplink("01670112", false);
    assert_eq!((verdict(&rig).as_str(), opens(&rig), rig.sent().len()), ("refuse", 0, 0));
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    assert_eq!((verdict(&rig).as_str(), opens(&rig)), ("dtls-x509", 1));
}

#[test]
fn ta01_a_syntax_error_keeps_running_nodes_is_shouted_and_gives_new_ones_nothing() {
    let mut rig = registered();
    let broken = || {
        let mut analyses = Analyses::default();
        analyses.add(Path::new("t.toml"), "schema = 1\nid = ");
        analyses
    };
    let mut two = both();
    let mut second = two.nodes[0].clone();
    second.dev_eui = DevEui([1; 8]);
    second.activation = Activation::Otaa { join_eui: None, app_key: Key::new([7; 16]) };
    two.nodes.push(second);
    rig.input(Input::Reload(Box::new(two), broken()));
    assert_eq!(rig.said(Kind::AnalysisInvalid), 1);
    assert!(!rig.outputs.iter().any(|output| matches!(output, Output::Close(NODE))));
    assert_eq!(verdict(&rig), "nosec");
    let ask = control::Request::PolicyExplain { node: "0101010101010101".into() };
    let new = rig.gateway.answer_request(rig.time(), &ask);
    assert_eq!(
        (new["decision"]["verdict"].as_str(), new["decision"]["rules"][0].as_str()),
        (Some("dtls-psk"), Some("TA01"))
    );
    // What runs by the former file still expires with it, and a restart does not know it.
    let later = Now { mono: rig.now, unix_ms: Some(START_UNIX_MS + 140 * 86_400_000) };
    rig.gateway.handle(later, Input::Tick);
    rig.drain();
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA02")));
    let mut rig = Rig::of(rig.time(), &both(), broken(), Loaded::default());
    rig.input(Input::Facts(in_step(true)));
    assert_eq!(rules(&rig)[0], "TA01");
}

#[test]
fn a_node_that_runs_by_the_former_analyses_is_shown_who_stands_behind_those() {
    let of = |by: &'static str, signer: &str, broken: bool| {
        let mut analyses = Analyses::default();
        analyses.add(Path::new("t.toml"), &Draft { by, needs_reserve: true, ..draft("2027-06-01") }.text());
        analyses.valid[0].signed_by = Some(signer.into());
        if broken {
            analyses.add(Path::new("u.toml"), "schema = 1\nid = ");
        }
        analyses
    };
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &both(), of("j.doe", "jane@example.org", false), Loaded::default());
    let shown = |rig: &Rig| {
        let list = rig.gateway.answer_request(rig.time(), &control::Request::PolicyList);
        (explain(rig)["signed_by"]["T"].clone(), list["nosec"][0]["approved_by"].clone())
    };
    let former = (serde_json::json!("jane@example.org"), serde_json::json!(["j.doe"]));
    assert_eq!(shown(&rig), former);
    rig.input(Input::Reload(Box::new(both()), of("m.roe", "mallory@example.org", true)));
    assert_eq!((verdict(&rig).as_str(), shown(&rig)), ("nosec", former));
    rig.input(Input::Reload(Box::new(both()), of("m.roe", "mallory@example.org", false)));
    assert_eq!(shown(&rig), (serde_json::json!("mallory@example.org"), serde_json::json!(["m.roe"])));
}

#[test]
fn each_decision_is_a_record_of_a_chain_that_goes_on_over_a_restart_and_has_a_bound() {
    let lines = |rig: &Rig| {
        let records = rig.disk.policy.iter().filter(|(number, _)| **number != crate::store::POLICY_STATE);
        records.map(|(_, line)| String::from_utf8(line.clone()).unwrap()).collect::<Vec<_>>()
    };
    let rig = registered();
    assert_eq!(lines(&rig).len(), 2, "before and after the clock was known to be in step");
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &Draft { clock: None, needs_reserve: true, ..draft("2027-06-01") }.text());
    let mut rig = Rig::of(rig.time(), &both(), analyses, rig.disk);
    for _ in 0..60 {
        rig.input(Input::Facts(in_step(true)));
        rig.input(Input::Facts(in_step(false)));
        rig.input(Input::Request(1, control::Request::PolicyRearm));
    }
    let text = lines(&rig).join("\n");
    let records = crate::policy::record::Record::verify_all(&text).unwrap();
    assert_eq!(records.len(), 100, "the oldest go");
    assert_eq!(rig.disk.policy.len(), 101, "and the state");
    assert!(records.iter().any(|record| record.outcome["verdict"] == "nosec"));
}

#[test]
fn what_expires_is_warned_of_30_7_and_1_days_before_and_once_each() {
    // START_UNIX_MS is 2027-01-15.
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS) };
    let mut rig = Rig::of(now, &both(), analyses("2027-02-20"), Loaded::default());
    let mut days = Vec::new();
    for day in 0..=40u64 {
        for hour in [0, 12] {
            let unix_ms = Some(START_UNIX_MS + day * 86_400_000 + hour * 3_600_000);
            rig.gateway.handle(Now { mono: rig.now, unix_ms }, Input::Tick);
            rig.drain();
        }
        for output in rig.outputs.drain(..) {
            if let Output::Event(event) = output
                && event.kind == Kind::AnalysisExpires
            {
                days.push(event.to_json()["days"].as_str().unwrap().to_string());
            }
        }
    }
    assert_eq!(days, ["30", "7", "1"]);
}
