//! DTLS as the gateway sees it: asked for when the verdict says so, paced, backed off, renewed, and never left for a clear
//! session.

use super::*;
use crate::config::{Credential, Secret};
use zeroize::Zeroizing;

/// One server by DTLS only, one node with a PSK.
fn secure() -> Config {
    let mut config = config(true);
    config.servers[0].secure_uri = "coaps://127.0.0.1:5684".parse().ok();
    let key = Secret::new(Zeroizing::new(vec![9; 16]));
    config.nodes[0].credential = Some(Arc::new(Credential::Psk { identity: b"id".to_vec(), key }));
    config
}

fn rig_of(config: &Config, handshakes: Handshakes, disk: Loaded) -> Rig {
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, config, Analyses::default(), disk);
    rig.handshakes = handshakes;
    rig
}

fn rig(handshakes: Handshakes) -> Rig {
    rig_of(&secure(), handshakes, Loaded::default())
}

/// Sessions that were asked for: clear ones, DTLS ones.
fn asked(rig: &Rig) -> (usize, usize) {
    let clear = |output: &&Output| matches!(output, Output::Open { to: Target::Clear { .. }, .. });
    let secure = |output: &&Output| matches!(output, Output::Open { to: Target::Dtls { .. }, .. });
    (rig.outputs.iter().filter(clear).count(), rig.outputs.iter().filter(secure).count())
}

fn show(rig: &Rig) -> serde_json::Value {
    rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() })
}

fn registered() -> Rig {
    let mut rig = rig(Handshakes::Succeed { resumed: false });
    rig.uplink("01670110", false);
    rig.accept();
    assert_eq!((rig.said(Kind::SessionOpened), rig.said(Kind::Registered)), (1, 1));
    rig.outputs.clear();
    rig
}

#[test]
fn s_14_without_an_analysis_dtls_is_the_outcome_and_nothing_leaves_before_it_is_up() {
    let mut rig = rig(Handshakes::Held);
    rig.uplink("01670110", false);
    rig.run_to(rig.now + S(200));
    assert_eq!((asked(&rig), rig.sent().len()), ((0, 1), 0));
    let up = Up { local_port: 4000, security: dtls(false) };
    rig.input(Input::Up(NODE, up));
    assert_eq!(rig.sent().len(), 1, "the Register");
    let shown = show(&rig);
    assert_eq!(
        (&shown["session"], &shown["dtls"]["suite"]),
        (&"dtls-psk".into(), &"TLS_PSK_WITH_AES_128_CCM_8".into())
    );
}

#[test]
fn s_03_a_failed_dtls_never_becomes_nosec() {
    for reason in Reason::ALL {
        let mut rig = rig(Handshakes::Fail(*reason));
        for n in 0..50 {
            rig.uplink(&format!("016701{n:02}"), false);
            rig.run_to(rig.now + S(900));
        }
        let (clear, secure) = asked(&rig);
        assert!(clear == 0 && secure >= 40 && rig.sent().is_empty(), "{reason:?}: {clear} clear, {secure} DTLS");
        assert_eq!(show(&rig)["session_fault"]["reason"], reason.name());
        assert!(rig.said(Kind::of_down(*reason)) >= 40);
    }
}

#[test]
fn s_03_a_clear_socket_that_the_shell_gives_by_mistake_is_not_used() {
    let mut rig = rig(Handshakes::Held);
    rig.uplink("01670110", false);
    rig.input(Input::Up(NODE, Up { local_port: 4000, security: Secured::Clear }));
    assert!(rig.sent().is_empty() && rig.outputs.iter().any(|output| matches!(output, Output::Close(NODE))));
}

#[test]
fn s_04_a_verdict_that_is_withdrawn_closes_the_clear_session_and_the_next_uplink_opens_dtls() {
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &secure(), analyses("2027-01-16"), Loaded::default());
    rig.uplink("01670110", false);
    rig.accept();
    assert_eq!(asked(&rig), (1, 0));
    rig.outputs.clear();
    // The analysis is valid to the end of its day, 2027-01-16.
    rig.run_to(S(2 * 86_400));
    assert!(rig.outputs.iter().any(|output| matches!(output, Output::Close(NODE))));
    assert!(rig.sent().is_empty(), "not even a De-register in clear");
    rig.uplink("01670111", false);
    assert_eq!(asked(&rig), (0, 1));
    let register = String::from_utf8_lossy(rig.sent()[0]).into_owned();
    assert!(register.contains("ep="), "a new session registers again");
}

#[test]
fn an_analysis_that_comes_leaves_open_dtls_sessions_alone_until_the_node_speaks() {
    let mut rig = registered();
    rig.input(Input::Reload(Box::new(secure()), analyses("2027-06-01")));
    rig.run_to(rig.now + S(1800));
    assert_eq!(asked(&rig), (0, 0));
    assert!(!rig.outputs.iter().any(|output| matches!(output, Output::Close(_))));
    rig.uplink("01670111", false);
    assert_eq!(asked(&rig), (1, 0));
}

#[test]
fn s_32_a_resumed_session_updates_first_and_registers_only_if_that_fails() {
    let rig = registered();
    let mut rig = rig_of(&secure(), Handshakes::Succeed { resumed: true }, rig.disk);
    rig.fcnt = 1;
    rig.uplink("01670111", false);
    let update = rig.sent()[0].to_vec();
    let text = String::from_utf8_lossy(&update).into_owned();
    assert!(update[1] == 0x02 && text.contains("rd") && !text.contains("ep="), "Update, not Register");
    let unknown = [&[0x68, 0x84][..], &update[2..4], &update[4..12]].concat();
    rig.input(Input::Datagram(NODE, unknown));
    assert!(String::from_utf8_lossy(rig.sent().last().unwrap()).contains("ep="), "4.04 leads to Register");

    let mut rig = rig_of(&secure(), Handshakes::Succeed { resumed: false }, rig.disk);
    rig.fcnt = 2;
    rig.uplink("01670112", false);
    assert!(String::from_utf8_lossy(rig.sent()[0]).contains("ep="), "a new session registers again");
}

#[test]
fn s_20_a_session_put_aside_is_asked_for_again_when_the_node_speaks_and_not_before() {
    let mut rig = registered();
    rig.handshakes = Handshakes::Succeed { resumed: true };
    rig.input(Input::Down(NODE, Down::new(Reason::Parked, "")));
    rig.run_to(rig.now + S(600));
    assert_eq!(asked(&rig), (0, 0));
    rig.uplink("01670111", false);
    assert_eq!(asked(&rig), (0, 1));
    let first = rig.sent()[0];
    assert!(
        first[1] == 0x02 && !String::from_utf8_lossy(first).contains("ep="),
        "the registration holds if the server says so"
    );
}

#[test]
fn a_server_that_falls_silent_gets_a_new_handshake() {
    let mut rig = registered();
    rig.run_to(rig.now + S(1800));
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(200));
    let (clear, secure) = asked(&rig);
    assert!(clear == 0 && secure >= 1, "after the Update was not answered");
    let close = rig.outputs.iter().position(|output| matches!(output, Output::Close(NODE)));
    let open = rig.outputs.iter().position(|output| matches!(output, Output::Open { .. }));
    assert!(close < open);
    // The new session registers again, on the strength of the same uplink.
    let after: Vec<&Output> = rig.outputs.iter().skip(open.unwrap()).collect();
    let register =
        |output: &&Output| matches!(output, Output::Send(_, bytes) if String::from_utf8_lossy(bytes).contains("ep="));
    assert!(after.iter().any(register));
}

#[test]
fn a_handshake_is_no_sign_of_life_of_a_node_that_fell_silent() {
    let mut rig = registered();
    // The server executes the update trigger shortly before the lifetime ends, and does not answer the Update.
    let trigger = [&[0x41, 0x02, 0x55, 1, 1, 0xb1][..], b"1", &[0x01], b"0", &[0x01], b"8"].concat();
    rig.run_to(rig.now + S(2700 - 60));
    rig.input(Input::Datagram(NODE, trigger));
    rig.run_to(rig.now + S(1000));
    let text = |output: &Output| match output {
        Output::Send(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    assert!(rig.outputs.iter().all(|output| !text(output).contains("ep=")), "it is not registered anew");
}

#[test]
fn a_node_without_a_credential_is_refused_once_with_what_to_do() {
    let mut without = secure();
    without.nodes[0].credential = None;
    let mut rig = rig_of(&without, Handshakes::Held, Loaded::default());
    for _ in 0..3 {
        rig.uplink("01670110", false);
    }
    let of_node = |output: &&Output| matches!(output, Output::Event(event) if event.kind == Kind::PolicyRefused && event.node.is_some());
    let said = rig.outputs.iter().filter(of_node).count();
    assert_eq!(
        (asked(&rig), said, rig.said(Kind::PolicyRefused)),
        ((0, 0), 1, 2),
        "at the start, and when the node speaks"
    );
    // A key that comes by a reload is used with the next uplink.
    rig.input(Input::Reload(Box::new(secure()), Analyses::default()));
    rig.uplink("01670111", false);
    assert_eq!(asked(&rig), (0, 1));
}

#[test]
fn s_17_nothing_is_longer_than_a_record_of_512_bytes() {
    let mut rig = registered();
    let read_device = [&[0x41, 0x01, 0x55, 1, 1, 0xb1][..], b"3", &[0x62, 0x2d, 0x16]].concat();
    rig.input(Input::Datagram(NODE, read_device));
    assert!(rig.sent().iter().all(|datagram| datagram.len() <= 512));
    assert_eq!(rig.last_code(), 0x45, "TLV of /3");
}

#[test]
fn the_end_of_a_session_by_the_server_is_named_and_the_next_uplink_opens_one() {
    let mut rig = registered();
    rig.input(Input::Down(NODE, Down::new(Reason::Ended, "close_notify")));
    assert_eq!(rig.said(Kind::DtlsEnded), 1);
    rig.uplink("01670111", false);
    assert_eq!(asked(&rig), (0, 1));
}

#[test]
fn handshakes_of_many_nodes_are_paced_twenty_in_a_second() {
    let mut many = secure();
    let node = many.nodes[0].clone();
    many.nodes =
        (1..=100u8).map(|n| config::Node { dev_eui: DevEui([0, 0, 0, 0, 0, 0, 0, n]), ..node.clone() }).collect();
    let mut rig = rig_of(&many, Handshakes::Held, Loaded::default());
    let ids = rig.gateway.fleet.ids();
    let now = rig.time();
    for id in &ids {
        rig.gateway.speak(now, *id);
    }
    rig.drain();
    assert_eq!(asked(&rig), (0, 20));
    rig.run_to(rig.now + S(10));
    assert_eq!(asked(&rig), (0, 48), "at once with one server");
    for id in ids.iter().take(48) {
        rig.input(Input::Down(*id, Down::new(Reason::NoAnswer, "")));
    }
    rig.run_to(rig.now + S(10));
    assert_eq!(asked(&rig), (0, 96));
    rig.input(Input::Down(ids[60], Down::new(Reason::NoAnswer, "")));
    rig.run_to(rig.now + S(1));
    assert_eq!(asked(&rig), (0, 97));
}
