//! DTLS in reserve (rule TA13): proven before NoSec is used, rehearsed every day, and never a reason to go dark.

use super::policy::{both, in_step};
use super::*;
use std::path::Path;

const HOUR: Duration = Duration::from_secs(3600);

/// What was asked of the shell about sessions.
fn asked(rig: &Rig) -> String {
    let word = |output: &Output| match output {
        Output::Open { to: Target::Clear { .. }, .. } => Some("clear"),
        Output::Open { to: Target::Dtls { .. }, .. } => Some("dtls"),
        Output::Rehearse { .. } => Some("rehearse"),
        Output::Close(_) => Some("close"),
        Output::Send(..) => Some("send"),
        _ => None,
    };
    rig.outputs.iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

fn required() -> Analyses {
    let mut analyses = Analyses::default();
    analyses.add(Path::new("t.toml"), &Draft { clock: None, needs_reserve: true, ..draft("2027-06-01") }.text());
    analyses
}

fn rig(handshakes: Handshakes) -> Rig {
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &both(), required(), Loaded::default());
    rig.handshakes = handshakes;
    rig.looks = Some(in_step(true));
    rig.input(Input::Facts(in_step(true)));
    rig.outputs.clear();
    rig
}

/// In clear, at a server that knows it.
fn in_clear() -> Rig {
    let mut rig = rig(Handshakes::Succeed { resumed: false });
    rig.uplink("01670110", false);
    assert_eq!(asked(&rig), "dtls close clear send", "a handshake first, and the first datagram after it in clear");
    rig.accept();
    assert_eq!((rig.said(Kind::Registered), rig.said(Kind::ReserveFailed)), (1, 0));
    rig.outputs.clear();
    rig
}

#[test]
fn ta13_nosec_is_used_only_after_a_handshake_with_the_nodes_credential() {
    in_clear();
    let mut rig = rig(Handshakes::Fail(Reason::WrongKey));
    rig.uplink("01670110", false);
    rig.run_to(rig.now + HOUR);
    assert_eq!(asked(&rig), "dtls", "nothing leaves");
    assert_eq!((rig.said(Kind::DtlsWrongKey), rig.said(Kind::ReserveFailed)), (1, 1));
    rig.handshakes = Handshakes::Succeed { resumed: false };
    rig.outputs.clear();
    rig.uplink("01670110", false);
    assert_eq!(asked(&rig), "dtls close clear send");
}

#[test]
fn ta13_a_rehearsal_is_due_every_day_and_the_clear_session_goes_on_meanwhile() {
    let mut rig = in_clear();
    let speak = |rig: &mut Rig, after: Duration| {
        rig.run_to(rig.now + after);
        rig.outputs.clear();
        rig.uplink("01670110", false);
        asked(rig).matches("rehearse").count()
    };
    let before: usize = (0..23).map(|_| speak(&mut rig, HOUR)).sum();
    assert_eq!(before, 0);
    assert_eq!(speak(&mut rig, HOUR), 1);
    assert!(!asked(&rig).contains("close"), "{}", asked(&rig));
    assert_eq!((0..23).map(|_| speak(&mut rig, HOUR)).sum::<usize>(), 0, "the next one is due tomorrow");
}

#[test]
fn ta13_a_rehearsal_that_fails_is_said_and_withdraws_nothing() {
    let mut rig = in_clear();
    for _ in 0..24 {
        rig.run_to(rig.now + HOUR);
        rig.uplink("01670110", false);
    }
    rig.handshakes = Handshakes::Fail(Reason::NoAnswer);
    rig.run_to(rig.now + HOUR * 24);
    rig.outputs.clear();
    for _ in 0..8 {
        rig.uplink("01670111", false);
        rig.run_to(rig.now + HOUR / 2);
    }
    assert_eq!((rig.said(Kind::ReserveFailed), asked(&rig).matches("rehearse").count()), (4, 4), "once an hour");
    // The server of this test is silent, so that sockets are renewed; they stay what they were.
    assert!(!asked(&rig).contains("dtls") && rig.sent().len() > 1, "{}", asked(&rig));
}

#[test]
fn ta13_another_credential_is_tried_before_anything_more_leaves_in_clear_and_the_same_one_is_not() {
    let mut rig = in_clear();
    rig.input(Input::Reload(Box::new(both()), required()));
    rig.uplink("01670110", false);
    assert!(!asked(&rig).contains("rehearse") && !asked(&rig).contains("close"), "{}", asked(&rig));
    rig.outputs.clear();
    let mut other = both();
    let key = crate::config::Secret::new(zeroize::Zeroizing::new(vec![8; 16]));
    other.nodes[0].credential = Some(Arc::new(crate::config::Credential::Psk { identity: b"id".to_vec(), key }));
    rig.input(Input::Reload(Box::new(other), required()));
    assert_eq!(asked(&rig), "close dtls close clear send");
}

#[test]
fn ta13_an_earlier_session_that_goes_on_is_enough_to_begin_with_and_the_credential_is_tried_next() {
    let mut rig = rig(Handshakes::Succeed { resumed: true });
    rig.uplink("01670110", false);
    assert_eq!(asked(&rig), "dtls close clear send");
    rig.accept();
    rig.outputs.clear();
    rig.uplink("01670111", false);
    assert!(asked(&rig).contains("rehearse"), "{}", asked(&rig));
}

#[test]
fn a_clear_session_that_cannot_be_opened_leaves_nobody_dark() {
    let mut rig = in_clear();
    rig.clear_sockets = false;
    rig.input(Input::Down(NODE, Down::new(Reason::Ended, "")));
    rig.uplink("01670111", false);
    assert_eq!(asked(&rig), "clear dtls send", "DTLS takes over");
    rig.accept();
    rig.clear_sockets = true;
    rig.outputs.clear();
    rig.uplink("01670112", false);
    assert!(!asked(&rig).contains("clear"), "{}", asked(&rig));
    rig.run_to(rig.now + HOUR);
    rig.outputs.clear();
    rig.uplink("01670113", false);
    assert_eq!(asked(&rig), "close clear send", "it is tried again after an hour");
}

#[test]
fn a_proxy_with_dtls_goes_back_to_nosec_when_it_is_permitted_again_and_its_node_speaks() {
    let mut rig = in_clear();
    rig.input(Input::Facts(in_step(false)));
    rig.accept();
    rig.input(Input::Facts(in_step(true)));
    rig.outputs.clear();
    rig.uplink("01670110", false);
    assert!(!asked(&rig).contains("clear"), "latched");
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    assert!(!asked(&rig).contains("clear"), "presence follows the node");
    rig.outputs.clear();
    rig.uplink("01670112", false);
    assert_eq!(asked(&rig), "close clear send", "DTLS was open: no other handshake is needed");
    rig.accept();
    assert_eq!(rig.said(Kind::Registered), 1);
}
