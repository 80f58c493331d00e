//! DTLS with Eclipse Leshan, and what the wire shows of it.

use crate::capture::Capture;
use crate::harness::Leshan;
use crate::record::{
    APPLICATION_DATA, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, SERVER_HELLO, handshakes, nothing_sealed_twice,
};
use crate::site::{Site, confirmed_uplink, endpoint, eui, uplink};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

const IDENTITY: &str = "a-7c21";
const KEY: &str = "6e8d1f0b47c2a93550de7b1c98f4e2a7";
const OTHER_KEY: &str = "b1407ce95a8f23d6c80e97412bd5f36a";

fn leshan() -> Leshan {
    Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0", "--block-size", "256"])
}

/// A node with a pre-shared key, and nothing but DTLS to its server.
fn site(leshan: &Leshan, key: &str, more: &str) -> Site {
    let site = Site::new(1, "");
    site.configure_secure(1, leshan.coaps_port.unwrap(), more);
    site.add_keys(0, &format!("psk_identity = \"{IDENTITY}\"\npsk = \"{key}\"\n"));
    site
}

/// The payload of a node with `count` temperatures (Cayenne LPP), from channel 1.
fn temperatures(count: u8) -> String {
    (1..=count).map(|channel| format!("{channel:02x}670{:03x}", 0x100 + u16::from(channel))).collect()
}

pub fn wait_registered(leshan: &mut Leshan, mark: usize) {
    let is_it = |line: &Value| line["event"] == "registered" && line["ep"] == endpoint(0).as_str();
    leshan.process.wait_since(mark, "a registration", is_it);
}

pub fn session_of(site: &Site) -> Value {
    site.ask(&["node", "show", &eui(0)])
}

#[test]
fn s_14_s_17_p_03_a_node_registers_is_observed_and_read_by_blocks_within_records_of_512_bytes() {
    let mut leshan = leshan();
    leshan.permit_psk(&endpoint(0), IDENTITY, KEY);
    let site = site(&leshan, KEY, "");
    let capture = Capture::start(leshan.coaps_port.unwrap());
    let mut modem = site.modem(51);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, &temperatures(50));
    wait_registered(&mut leshan, 0);
    let handshake = leshan.process.wait_event("handshake");
    assert_eq!((&handshake["resumed"], &handshake["identity"]), (&json!(false), &json!(IDENTITY)));
    assert_eq!((&handshake["max_fragment"], &handshake["ems"]), (&json!(512), &json!(true)));
    assert_eq!(handshake["suite"], "TLS_PSK_WITH_AES_128_CCM_8");
    let shown = session_of(&site);
    assert_eq!((&shown["session"], &shown["dtls"]["max_datagram_bytes"]), (&json!("dtls-psk"), &json!(512)));

    let path = "/3303/1/5700";
    let observed = leshan.ask(json!({ "cmd": "observe", "ep": endpoint(0), "path": path }));
    assert_eq!(observed["code"], "2.05", "{observed}");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    leshan.process.wait("a notification", |line| line["event"] == "notify" && line["value"] == json!(11.2));

    let read = leshan.ask(json!({ "cmd": "read", "ep": endpoint(0), "path": "/3303", "accept": "SENML_JSON" }));
    assert_eq!((&read["code"], &read["format"]), (&json!("2.05"), &json!("SENML_JSON")), "{read}");
    let values = read["values"].as_object().unwrap();
    assert!(values.len() >= 50 && values["/3303/50/5700"] == json!(30.6), "{read}");
    assert_eq!(gateway.terminate(), Some(0));

    let records = capture.stop().records_with_psk(KEY);
    nothing_sealed_twice(&records);
    let blocks = records.iter().filter(|record| record.to_server && record.length > 256 && record.coap.is_some());
    assert!(blocks.count() >= 8, "2 kB in blocks of 256 bytes");
    // The 8 bytes of the explicit nonce and the 8 of the tag are not of the fragment (RFC 6066 §4).
    let longest = records.iter().filter(|record| record.epoch > 0).map(|record| record.length - 16).max();
    assert!(longest <= Some(512), "{longest:?}");
    // S-38: no application data before both sides have finished.
    let first = records.iter().position(|record| record.content_type == APPLICATION_DATA).unwrap();
    let finished = records.iter().position(|record| !record.to_server && record.epoch == 1).unwrap();
    assert!(finished < first);
    let clear = records.iter().filter(|record| record.content_type == APPLICATION_DATA && record.epoch == 0);
    assert_eq!(clear.count(), 0);
}

#[test]
fn s_19_s_20_after_a_kill_the_session_is_resumed_without_a_key_exchange_and_the_registration_goes_on() {
    let mut leshan = leshan();
    leshan.permit_psk(&endpoint(0), IDENTITY, KEY);
    let site = site(&leshan, KEY, "");
    let mut modem = site.modem(52);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    confirmed_uplink(&mut modem, 0, "01670070");
    wait_registered(&mut leshan, 0);
    // What the first life knew is on disk when the next uplink is acknowledged.
    confirmed_uplink(&mut modem, 0, "01670071");
    gateway.kill();

    let capture = Capture::start(leshan.coaps_port.unwrap());
    let mark = leshan.process.mark();
    gateway = site.gateway();
    gateway.wait_event("radio-ready");
    uplink(&mut modem, &mut gateway, 0, "01670072");
    let handshake = leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
    assert_eq!(handshake["resumed"], true, "{handshake}");
    leshan.process.wait_since(mark, "an Update", |line| line["event"] == "updated");
    assert!(leshan.process.seen()[mark..].iter().all(|line| line["event"] != "registered"));
    assert_eq!(session_of(&site)["dtls"]["resumed"], true);
    gateway.terminate();
    let records = capture.stop().records();
    assert!(handshakes(&records, CLIENT_KEY_EXCHANGE).is_empty() && !handshakes(&records, SERVER_HELLO).is_empty());
    let hello = handshakes(&records, CLIENT_HELLO);
    let offered = hello.iter().filter_map(|record| record.hello()).all(|hello| hello.session_id.len() == 32);
    assert!(offered && !hello.is_empty());
    nothing_sealed_twice(&records);

    // A server that has lost its sessions makes a full handshake of it, and the node registers anew.
    leshan.ask(json!({ "cmd": "dtls-forget" }));
    let mark = leshan.process.mark();
    gateway = site.gateway();
    gateway.wait_event("radio-ready");
    uplink(&mut modem, &mut gateway, 0, "01670073");
    wait_registered(&mut leshan, mark);
}

#[test]
fn s_21_s_38_p_19_a_new_key_closes_the_live_session_and_nothing_of_the_old_one_is_offered_again() {
    let mut leshan = leshan();
    leshan.permit_psk(&endpoint(0), IDENTITY, KEY);
    let site = site(&leshan, KEY, "");
    let mut modem = site.modem(54);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    wait_registered(&mut leshan, 0);
    gateway.wait_event("session-opened");
    leshan.permit_psk(&endpoint(0), IDENTITY, OTHER_KEY);
    site.write("keys.toml", &std::fs::read_to_string(site.path("keys.toml")).unwrap().replace(KEY, OTHER_KEY));

    let capture = Capture::start(leshan.coaps_port.unwrap());
    let mark = leshan.process.mark();
    kill(gateway.pid(), Signal::SIGHUP).unwrap();
    gateway.wait_event("dtls-key-changed");
    uplink(&mut modem, &mut gateway, 0, "01670071");
    let handshake = leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
    assert_eq!(handshake["resumed"], false, "{handshake}");
    wait_registered(&mut leshan, mark);
    gateway.terminate();
    let records = capture.stop().records_with_psk(OTHER_KEY);
    nothing_sealed_twice(&records);
    let hellos = handshakes(&records, CLIENT_HELLO);
    let empty = hellos.iter().filter_map(|record| record.hello()).all(|hello| hello.session_id.is_empty());
    assert!(empty && !hellos.is_empty(), "no session is offered");
}

#[test]
fn p_16_wrong_key_and_wrong_identity_are_concluded_from_silence_and_neither_shows_the_key() {
    let mut leshan = leshan();
    leshan.permit_psk(&endpoint(0), IDENTITY, KEY);
    // So that silence is concluded within the test.
    let quick = "dtls_timer_initial_s = 1\ndtls_timer_reason = \"test\"\n";
    let site = site(&leshan, OTHER_KEY, quick);
    let capture = Capture::start(leshan.coaps_port.unwrap());
    let mut modem = site.modem(53);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    leshan.process.wait_event("mac-error");
    let event = gateway.wait_event("dtls-wrong-key");
    assert!(event["hint"].as_str().unwrap().contains("psk") && event["server"] == "site", "{event}");
    assert_eq!(session_of(&site)["session_fault"]["reason"], "wrong-key");
    gateway.terminate();

    site.write("keys.toml", &std::fs::read_to_string(site.path("keys.toml")).unwrap().replace(IDENTITY, "nobody"));
    gateway = site.gateway();
    gateway.wait_event("radio-ready");
    uplink(&mut modem, &mut gateway, 0, "01670071");
    // Scandium says nothing to an identity that it does not know, as to a wrong key; others send alert 115 or 51.
    leshan.process.wait("its own reason", |line| line["event"] == "alert" && line["alert"] == 115);
    gateway.wait_event("dtls-wrong-key");
    let said: String = gateway.seen().iter().map(Value::to_string).collect();
    assert!(!said.contains(OTHER_KEY) && !said.contains(KEY));
    assert!(leshan.process.seen().iter().all(|line| line["event"] != "registered"));
    let records = capture.stop().records();
    assert!(!handshakes(&records, CLIENT_KEY_EXCHANGE).is_empty());
    nothing_sealed_twice(&records);
}
