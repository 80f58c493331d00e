//! Raw public keys with Leshan, and the life of a session that does not depend on the kind of credential.

use crate::capture::{Capture, Trace};
use crate::dtls::{session_of, wait_registered};
use crate::harness::Leshan;
use crate::pki::Pki;
use crate::record::{ALERT, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, SERVER_HELLO, handshakes, nothing_sealed_twice};
use crate::site::{Process, Site, confirmed_uplink, uplink};
use serde_json::{Value, json};

/// Handshake message with a certificate or a raw public key (RFC 5246 §7.4.2, RFC 7250).
const CERTIFICATE: u8 = 11;

/// A node registers as `endpoint`, is observed and read, lpwad is killed, and the session is resumed. Gives the captures of
/// both lives; the second gateway runs on.
pub fn lives_and_resumes(
    leshan: &mut Leshan,
    site: &Site,
    modem: &mut Process,
    endpoint: &str,
    port: u16,
) -> (Trace, Trace, Process) {
    let first = Capture::start(port);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    gateway.wait_event("radio-ready");
    uplink(modem, &mut gateway, 0, "01670070");
    leshan.process.wait("a registration", |line| line["event"] == "registered" && line["ep"] == endpoint);
    let observed = leshan.ask(json!({ "cmd": "observe", "ep": endpoint, "path": "/3303/1/5700" }));
    assert_eq!(observed["code"], "2.05", "{observed}");
    // What the first life knew is on disk when the next uplink is acknowledged.
    confirmed_uplink(modem, 0, "01670071");
    leshan.process.wait("a notification", |line| line["event"] == "notify" && line["value"] == json!(11.3));
    let read = leshan.ask(json!({ "cmd": "read", "ep": endpoint, "path": "/3303/1/5700" }));
    assert_eq!((&read["code"], &read["values"]["/3303/1/5700"]), (&json!("2.05"), &json!(11.3)), "{read}");
    gateway.kill();
    let first = first.stop();

    let second = Capture::start(port);
    let mark = leshan.process.mark();
    gateway = site.gateway();
    gateway.wait_event("radio-ready");
    uplink(modem, &mut gateway, 0, "01670072");
    let handshake = leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
    assert_eq!(handshake["resumed"], true, "{handshake}");
    leshan.process.wait_since(mark, "an Update", |line| line["event"] == "updated");
    assert!(leshan.process.seen()[mark..].iter().all(|line| line["event"] != "registered"));
    assert_eq!(session_of(site)["dtls"]["resumed"], true);
    let second = second.stop();
    let (full, resumed) = (first.records(), second.records());
    nothing_sealed_twice(&full);
    nothing_sealed_twice(&resumed);
    for kind in [CERTIFICATE, CLIENT_KEY_EXCHANGE] {
        assert!(!handshakes(&full, kind).is_empty() && handshakes(&resumed, kind).is_empty(), "{kind}");
    }
    assert!(!handshakes(&resumed, SERVER_HELLO).is_empty());
    (first, second, gateway)
}

/// Types of the extensions, suites and compression methods of all hellos of the client; they must be the same.
pub fn hello_of(trace: &Trace) -> (Vec<u16>, Vec<u16>, Vec<u8>) {
    let records = trace.records();
    let hellos = handshakes(&records, CLIENT_HELLO);
    let mut shown = hellos.iter().filter_map(|record| record.hello()).map(|hello| {
        assert_eq!(hello.version, 0xfefd);
        (hello.extension_types(), hello.suites.clone(), hello.compression.clone())
    });
    let first = shown.next().unwrap();
    assert!(shown.all(|other| other == first));
    first
}

/// Runs lpwad against a server that it must refuse; gives the event, and the alerts that it sent.
pub fn refused(site: &Site, modem: &mut Process, port: u16, event: &str) -> (Value, Vec<(u8, u8)>) {
    let capture = Capture::start(port);
    let mut gateway = site.gateway();
    gateway.wait_event("radio-ready");
    uplink(modem, &mut gateway, 0, "01670073");
    let event = gateway.wait_event(event);
    let hint = session_of(site)["session_fault"]["hint"].clone();
    assert!(hint.as_str().is_some_and(|hint| hint.len() > 10), "{hint}");
    gateway.terminate();
    let records = capture.stop().records();
    nothing_sealed_twice(&records);
    assert!(records.iter().all(|record| !record.to_server || record.epoch == 0), "nothing under keys with a stranger");
    let alerts = records.iter().filter(|record| record.to_server && record.content_type == ALERT);
    (event, alerts.filter_map(|record| record.alert).collect())
}

#[test]
fn s_13_s_15_s_40_p_08_p_09_p_14_with_raw_public_keys_a_node_lives_is_resumed_and_refuses_another_server_key() {
    let site = Site::new(1, "");
    let pki = Pki::new(site.dir.path());
    ["server", "node", "other"].iter().for_each(|name| pki.key(name));
    let mut leshan =
        Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0", "--key", &pki.path("server.key")]);
    let port = leshan.coaps_port.unwrap();
    let endpoint = crate::site::endpoint(0);
    let permit = json!({ "cmd": "security-add", "ep": endpoint, "mode": "rpk", "public_key": pki.text("node.pub") });
    assert_eq!(leshan.ask(permit)["ok"], true);
    site.configure_secure(1, port, "server_public_key = \"server.pub\"\n");
    site.add_keys(0, "rpk_key = \"node.key\"\n");
    let mut modem = site.modem(61);

    let (first, _, mut gateway) = lives_and_resumes(&mut leshan, &site, &mut modem, &endpoint, port);
    let handshake = leshan.process.wait_event("handshake");
    assert_eq!((&handshake["mode"], &handshake["max_fragment"]), (&json!("rpk"), &json!(512)), "{handshake}");
    assert_eq!((&handshake["suite"], &handshake["ems"]), (&json!("TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"), &json!(true)));
    assert_eq!(session_of(&site)["session"], "dtls-rpk");
    assert_eq!(hello_of(&first), (vec![1, 10, 11, 13, 19, 20, 23, 65281], vec![0xc0ae], vec![0]));
    gateway.terminate();

    site.configure_secure(1, port, "server_public_key = \"other.pub\"\n");
    let mark = leshan.process.mark();
    let (event, alerts) = refused(&site, &mut modem, port, "dtls-wrong-server-key");
    assert_eq!(event["server"], "site");
    assert_eq!(alerts, [(2, 40)], "P-09: no alert that is about certificates");
    assert!(leshan.process.seen()[mark..].iter().all(|line| line["event"] != "handshake"));

    // The same the other way round: a node that the server does not know may shake hands, and may not register.
    site.configure_secure(1, port, "server_public_key = \"server.pub\"\n");
    let keys = std::fs::read_to_string(site.path("keys.toml")).unwrap();
    site.write("keys.toml", &keys.replace("node.key", "other.key"));
    let mark = leshan.process.mark();
    let mut gateway = site.gateway();
    gateway.wait_event("radio-ready");
    uplink(&mut modem, &mut gateway, 0, "01670074");
    let handshake = leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
    assert_eq!(handshake["resumed"], false, "a session of another credential is not resumed");
    gateway.wait_event("registration-failed");
    site.write("keys.toml", &keys);
    gateway.terminate();
    let mut gateway = site.gateway();
    gateway.wait_event("radio-ready");
    let mark = leshan.process.mark();
    uplink(&mut modem, &mut gateway, 0, "01670075");
    wait_registered(&mut leshan, mark);
}
