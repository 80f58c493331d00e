//! From facts to verdicts: what is seen of this host, how old it may be, and what becomes of a look that does not come.

use super::policy::{both, explain, in_step, rules, verdict};
use super::*;
use crate::policy::facts::Seen;
use crate::policy::protection::Probe;
use std::path::Path;

/// Plain AT commands on the cable, so that the rights of the serial port count; for 60 s.
fn by_port() -> Analyses {
    let text = Draft { clock: Some("simulated"), needs_reserve: true, ..draft("2027-06-01") }
        .text()
        .replace("from = \"node\", to = \"agent\", claims", "from = \"node\", to = \"modem\", claims")
        .replace(
            "protections = [\n",
            "protections = [\n  \
             { kind = \"physical\", from = \"modem\", to = \"agent\", claims = [\"all\"], evidence = [\"cabinet\"] },\n  \
             { kind = \"os-access\", from = \"modem\", to = \"agent\", claims = [\"all\"], evidence = [\"tty\"] },\n",
        )
        + "cabinet = { type = \"test-report\", ref = \"visit\", date = 2026-11-24, expires = 2027-06-01 }\n\
           tty = { type = \"live\", probe = \"tty-owner\", peer = \"roof\", max_age_s = 60 }\n";
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &text);
    assert!(analyses.invalid.is_empty(), "{:?}", analyses.invalid);
    analyses
}

fn port(good: bool, age_s: u32) -> Input {
    let seen = vec![Seen { probe: Probe::TtyOwner, peer: Some("roof".into()), interface: None, good, age_s }];
    Input::Facts(Facts { seen, ..Facts::default() })
}

/// Registered in clear, with a port that was just looked at.
fn registered() -> Rig {
    let mut rig =
        Rig::of(Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) }, &both(), by_port(), Loaded::default());
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA06")), "nobody has looked");
    rig.input(port(true, 0));
    assert_eq!(verdict(&rig), "nosec");
    rig.uplink("01670110", false);
    rig.accept();
    rig.outputs.clear();
    rig
}

/// Decisions that the store has.
fn records(rig: &Rig) -> usize {
    rig.disk.policy.keys().filter(|number| **number != crate::store::POLICY_STATE).count()
}

#[test]
fn s_03_a_hundred_looks_with_growing_ages_are_one_decision_and_one_change_at_the_limit() {
    let mut rig = registered();
    let before = records(&rig);
    for look in 0..100 {
        rig.input(port(true, look * 60 / 99));
    }
    assert_eq!((verdict(&rig).as_str(), records(&rig), rig.said(Kind::PolicyVerdict)), ("nosec", before, 0));
    for age_s in 61..161 {
        rig.input(port(true, age_s));
    }
    assert_eq!((verdict(&rig).as_str(), rules(&rig)), ("dtls-psk", serde_json::json!(["TA06", "TA12"])));
    assert_eq!((rig.said(Kind::PolicyLatched), rig.said(Kind::PolicyVerdict), records(&rig)), (1, 1, before + 1));
    // Fresh again: latched.
    for age_s in 0..100 {
        rig.input(port(true, age_s % 60));
    }
    assert_eq!((rules(&rig), rig.said(Kind::PolicyLatched)), (serde_json::json!(["TA15", "TA12"]), 1));
}

#[test]
fn s_03_a_port_that_others_can_reach_withdraws_nosec_without_a_clear_word() {
    let mut rig = registered();
    rig.input(port(false, 0));
    assert_eq!(rules(&rig), serde_json::json!(["TA07", "TA12"]));
    let closed = rig.outputs.iter().position(|output| matches!(output, Output::Close(NODE))).unwrap();
    let sent = rig.outputs.iter().position(|output| matches!(output, Output::Send(..))).unwrap();
    let opened = |output: &Output| matches!(output, Output::Open { to: Target::Dtls { .. }, .. });
    assert!(closed < sent && rig.outputs[closed..sent].iter().any(opened));
}

#[test]
fn s_03_a_look_that_does_not_come_leaves_nothing_seen() {
    let mut rig = registered();
    let looked = rig.now;
    rig.run_to(looked + S(59));
    assert_eq!(verdict(&rig), "nosec");
    rig.run_to(looked + S(60));
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA06")));
    assert_eq!(rig.said(Kind::PolicyLatched), 1);
    rig.run_to(looked + S(600));
    assert_eq!(rig.said(Kind::PolicyVerdict), 1, "once");
}

#[test]
fn s_03_a_look_that_does_not_come_leaves_the_clock_unknown() {
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &Draft { clock: None, needs_reserve: true, ..draft("2027-06-01") }.text());
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &both(), analyses, Loaded::default());
    rig.input(Input::Facts(in_step(true)));
    let looked = rig.now;
    rig.run_to(looked + S(59));
    assert_eq!(verdict(&rig), "nosec");
    rig.run_to(looked + S(60));
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA02")));
    assert_eq!(explain(&rig)["facts"]["clock_synchronised"], serde_json::Value::Null);
    assert_eq!(rig.gateway.gate.deadline(), None, "nothing more to forget");
    // Also what is not as it should be is forgotten, and each look begins the time anew.
    rig.input(Input::Facts(in_step(false)));
    let looked = rig.now;
    assert_eq!(rig.gateway.gate.deadline(), Some(looked + S(60)));
    rig.run_to(looked + S(59));
    rig.input(Input::Facts(in_step(false)));
    assert_eq!(rig.gateway.gate.deadline(), Some(looked + S(119)));
    // A look that sees nothing asks for no deadline.
    rig.input(Input::Facts(Facts::default()));
    assert_eq!(rig.gateway.gate.deadline(), None);
}

/// A modem of this gateway must be at home.
fn at_home() -> Analyses {
    let text = Draft { clock: Some("simulated"), needs_reserve: true, ..draft("2027-06-01") }
        .text()
        .replace("[scope]\n", "[scope]\nplmn = [\"26201\"]\nroaming = false\n");
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &text);
    assert!(analyses.invalid.is_empty(), "{:?}", analyses.invalid);
    analyses
}

fn tell(rig: &mut Rig, radio: RadioIndex, name: &str, value: &str, age_s: u32) {
    let line = format!(r#"{{"fact":{{"name":"{name}","value":{value},"age_s":{age_s}}}}}"#);
    rig.input(Input::PluginLine(radio, 1, Ok(line.into_bytes())));
}

/// Registered in clear, with a modem that says since now that it is at home.
fn registered_at_home() -> Rig {
    let mut rig =
        Rig::of(Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) }, &both(), at_home(), Loaded::default());
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA03")), "the modem is silent");
    tell(&mut rig, RADIO, "plmn", "\"26201\"", 0);
    assert_eq!(rules(&rig)[0], "TA03", "is it roaming?");
    tell(&mut rig, RADIO, "roaming", "false", 0);
    assert_eq!(verdict(&rig), "nosec");
    rig.uplink("01670110", false);
    rig.accept();
    rig.outputs.clear();
    rig
}

#[test]
fn s_03_w3_our_modem_roams_and_nosec_is_withdrawn_and_latched() {
    let mut rig = registered_at_home();
    let before = records(&rig);
    for _ in 0..100 {
        tell(&mut rig, RADIO, "roaming", "false", 7);
    }
    assert_eq!((verdict(&rig).as_str(), records(&rig)), ("nosec", before), "what is said again is no news");
    tell(&mut rig, RADIO, "roaming", "true", 0);
    assert_eq!((verdict(&rig).as_str(), rules(&rig)), ("dtls-psk", serde_json::json!(["TA07", "TA12"])));
    assert_eq!((rig.said(Kind::PolicyLatched), records(&rig)), (1, before + 1));
    let closed = rig.outputs.iter().position(|output| matches!(output, Output::Close(NODE))).unwrap();
    let sent = rig.outputs.iter().position(|output| matches!(output, Output::Send(..))).unwrap();
    assert!(closed < sent, "nothing more in clear");
    tell(&mut rig, RADIO, "roaming", "false", 0);
    assert_eq!(rules(&rig), serde_json::json!(["TA15", "TA12"]), "home again, and latched");
    tell(&mut rig, RADIO, "plmn", "\"20801\"", 0);
    assert_eq!(rules(&rig)[0], "TA07");
}

#[test]
fn s_03_facts_end_with_their_plugin() {
    let mut rig = registered_at_home();
    rig.input(Input::PluginExited(RADIO, 1, "killed".into()));
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA03")));
    assert_eq!(rig.said(Kind::PolicyLatched), 1);
}

#[test]
fn s_03_facts_end_with_their_age_at_that_moment() {
    let mut rig = registered_at_home();
    let told = rig.now;
    rig.run_to(told + S(300));
    tell(&mut rig, RADIO, "plmn", "\"26201\"", 0);
    tell(&mut rig, RADIO, "roaming", "false", 200);
    rig.run_to(told + S(699));
    assert_eq!(verdict(&rig), "nosec", "it was true at 100 s");
    let before = records(&rig);
    rig.run_to(told + S(700));
    assert_eq!((verdict(&rig).as_str(), rules(&rig)[0].as_str()), ("dtls-psk", Some("TA03")));
    assert_eq!((records(&rig), rig.said(Kind::PolicyLatched)), (before + 1, 1));
    tell(&mut rig, RADIO, "roaming", "false", 600);
    assert_eq!(rules(&rig)[0], "TA03", "too old when it is told");
    // Null, and a value that cannot be, end it at once.
    for ends in ["null", "7"] {
        let mut rig = registered_at_home();
        tell(&mut rig, RADIO, "roaming", ends, 0);
        assert_eq!(rules(&rig)[0], "TA03", "{ends}");
    }
}

#[test]
fn s_03_of_several_modems_the_worst_holds() {
    const MAST: RadioIndex = RadioIndex(1);
    let mut config = both();
    config.radios.push(config::Radio { name: "mast".into(), ..config.radios[0].clone() });
    let mut rig =
        Rig::of(Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) }, &config, at_home(), Loaded::default());
    rig.input(Input::PluginStarted(MAST, 1));
    for line in [
        r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","plugin":"x","kind":"lora-phy"}}"#,
        r#"{"ready":{"max_dbm_eirp":14.0,"clock":"us32"}}"#,
    ] {
        rig.input(Input::PluginLine(MAST, 1, Ok(line.into())));
    }
    tell(&mut rig, RADIO, "plmn", "\"26201\"", 0);
    tell(&mut rig, RADIO, "roaming", "false", 0);
    assert_eq!(verdict(&rig), "nosec", "the other one is no modem as far as is known");
    let cellular = |rig: &Rig| super::policy::explain(rig)["facts"]["cellular"].clone();
    tell(&mut rig, MAST, "plmn", "\"26201\"", 0);
    assert_eq!((&cellular(&rig)["roaming"], rules(&rig)[0].as_str()), (&serde_json::Value::Null, Some("TA03")));
    tell(&mut rig, MAST, "roaming", "true", 0);
    assert_eq!((&cellular(&rig)["roaming"], rules(&rig)[0].as_str()), (&true.into(), Some("TA07")));
    tell(&mut rig, MAST, "roaming", "false", 0);
    tell(&mut rig, MAST, "plmn", "\"26202\"", 0);
    tell(&mut rig, MAST, "rat", "\"gsm\"", 0);
    tell(&mut rig, RADIO, "rat", "\"nb-iot\"", 0);
    assert_eq!((&cellular(&rig)["plmn"], &cellular(&rig)["rat"]), (&serde_json::Value::Null, &"gsm".into()));
}
