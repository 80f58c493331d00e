//! What the daemon sends, row by row, and what it does when somebody on the path forges or changes.

use crate::capture::Capture;
use crate::dtls::{session_of, wait_registered};
use crate::dtls_raw_keys::hello_of;
use crate::harness::Leshan;
use crate::record::{ALERT, APPLICATION_DATA, CLIENT_HELLO, handshakes, nothing_sealed_twice};
use crate::relay::Relay;
use crate::site::{Process, Site, endpoint, eui, uplink};
use serde_json::{Value, json};
use std::net::UdpSocket;

fn key(n: usize) -> String {
    format!("6e8d1f0b47c2a93550de7b1c98f4e2a{n:x}")
}

fn identity(n: usize) -> String {
    format!("wire-{n}")
}

/// Leshan behind a relay, and a site with nodes that have keys for it.
fn setup(nodes: usize, more: &str) -> (Leshan, Relay, Site) {
    let mut leshan = Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0"]);
    let relay = Relay::to(leshan.coaps_port.unwrap());
    let site = Site::new(nodes, "");
    site.configure_secure(nodes, relay.port, &format!("uri = \"{}\"\n{more}", leshan.uri()));
    for n in 0..nodes {
        leshan.permit_psk(&endpoint(n), &identity(n), &key(n));
        site.add_keys(n, &format!("psk_identity = \"{}\"\npsk = \"{}\"\n", identity(n), key(n)));
    }
    (leshan, relay, site)
}

/// Sequence numbers of forged records begin here.
const FORGED_FROM: u64 = 0x7700;

/// A plaintext alert, as anybody can send it.
fn forged_alert(level: u8, code: u8) -> Vec<u8> {
    vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0x77, code, 0, 2, level, code]
}

const CODES: [u8; 24] =
    [0, 10, 20, 21, 22, 30, 40, 42, 45, 46, 47, 48, 49, 50, 51, 60, 70, 71, 80, 86, 90, 100, 110, 115];

/// Settings that would turn everything around, if anybody read them.
const HOSTILE: &str = "openssl_conf = init
[init]
providers = providers
ssl_conf = ssl
[providers]
base = base
[base]
activate = 1
[ssl]
system_default = system
[system]
MinProtocol = DTLSv1
MaxProtocol = DTLSv1
CipherString = AES256-SHA:@SECLEVEL=5
Groups = P-521
SignatureAlgorithms = RSA+SHA512
Options = Compression,UnsafeLegacyRenegotiation,SessionTicket,EncryptThenMac
";

#[test]
fn s_16_s_22_s_26_s_42_p_04_p_12_p_17_p_35_p_44_the_hello_is_as_the_profile_says_and_forged_alerts_have_no_effect() {
    // An address for clear sessions, and no analysis that permits one.
    let (mut leshan, relay, site) = setup(1, "");
    let clear = leshan.port;
    site.write("openssl.cnf", HOSTILE);
    let capture = Capture::with_others(relay.port, &[clear]);
    relay.change(|datagram| {
        let forged = [(2, 40), (2, 115), (2, 80), (1, 0)].map(|(level, code)| forged_alert(level, code));
        [&forged[..], &[datagram], &forged[..]].concat()
    });
    let mut modem = site.modem(64);
    let mut run = site.lpwad(&["run", "--json"]);
    let mut gateway = Process::start("gateway", run.env("OPENSSL_CONF", site.path("openssl.cnf")));
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    wait_registered(&mut leshan, 0);
    relay.change(|datagram| vec![datagram]);
    for code in CODES {
        relay.inject(&forged_alert(1, code));
        relay.inject(&forged_alert(2, code));
    }
    // They were in the queue before this.
    let read = leshan.ask(json!({ "cmd": "read", "ep": endpoint(0), "path": "/3303/1/5700" }));
    assert_eq!(read["values"]["/3303/1/5700"], json!(11.2), "{read}");
    assert_eq!(session_of(&site)["session"], "dtls-psk");
    let status = site.ask(&["status"]);
    let ignored = status["sessions"]["records_ignored"].as_u64();
    assert!(ignored >= Some(2 * CODES.len() as u64), "dropped and counted: {status}");
    let said =
        gateway.seen().iter().filter(|line| line["event"].as_str().is_some_and(|event| event.starts_with("dtls-")));
    assert_eq!(said.count(), 0);
    let handshakes_done = leshan.process.seen().iter().filter(|line| line["event"] == "handshake").count();
    assert_eq!(handshakes_done, 1, "and the session is the same one");
    gateway.terminate();
    // One of our own, to see that it would be seen.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"seen", ("127.0.0.1", clear)).unwrap();

    let trace = capture.stop();
    assert_eq!(trace.datagrams(clear), 1, "nothing in the clear");
    assert_eq!(hello_of(&trace), (vec![1, 13, 23, 65281], vec![0xc0a8], vec![0]));
    let mut records = trace.records_with_psk(&key(0));
    let all = records.len();
    records.retain(|record| record.to_server || record.sequence < FORGED_FROM);
    assert!(all - records.len() >= 2 * CODES.len(), "they were on the wire");
    nothing_sealed_twice(&records);
    let hellos: Vec<_> = handshakes(&records, CLIENT_HELLO).into_iter().filter_map(|record| record.hello()).collect();
    assert_eq!(hellos.len(), 2, "with and without cookie, nothing repeated");
    assert!(hellos[0].cookie.is_empty() && !hellos[1].cookie.is_empty());
    assert_eq!(hellos[0].random, hellos[1].random);
    assert!(hellos.iter().all(|hello| hello.session_id.is_empty()));
    let fragment = &hellos[0].extensions[&1].1["dtls.handshake.max_fragment_length"];
    assert_eq!(fragment, "1", "512 bytes");
    let sent = records.iter().filter_map(|record| record.handshake.first()?.psk_identity.clone()).next();
    assert_eq!(sent.as_deref(), Some(identity(0).as_bytes()));
    let answers = records.iter().filter(|record| record.to_server && record.content_type == ALERT);
    let answers: Vec<_> = answers.map(|record| (record.epoch, record.alert)).collect();
    assert!(answers.iter().all(|answer| *answer == (1, Some((1, 0)))), "no alert but a goodbye: {answers:?}");
    let open = records.iter().filter(|record| record.content_type == APPLICATION_DATA);
    assert!(open.clone().count() > 2 && open.clone().all(|record| record.epoch == 1));
}

/// Offset of the suite in a ServerHello that is alone in its record, after its session id.
fn suite(datagram: &[u8]) -> Option<usize> {
    let is_server_hello = datagram.len() > 60 && datagram[0] == 22 && datagram[13] == 2;
    is_server_hello.then(|| 25 + 35 + usize::from(datagram[25 + 34]))
}

/// Offset of the maximum fragment length in its extensions.
fn fragment_length(datagram: &[u8], suite: usize) -> usize {
    let mut at = suite + 5;
    while datagram[at..at + 2] != [0, 1] {
        at += 4 + usize::from(datagram[at + 3]);
    }
    at + 4
}

/// What is changed in the answer, the alert that follows, and the event.
type Mutation = (fn(&mut [u8], usize), (u8, u8), &'static str);

const MUTATIONS: [Mutation; 4] = [
    (|hello, suite| hello[fragment_length(hello, suite)] = 2, (2, 47), "dtls-protocol"),
    (|hello, suite| hello[suite + 2] = 1, (2, 47), "dtls-protocol"),
    (|hello, _| hello[25..27].copy_from_slice(&[0xfe, 0xff]), (2, 70), "dtls-version"),
    (|hello, suite| hello[suite..suite + 2].copy_from_slice(&[0x00, 0xa8]), (2, 47), "dtls-no-common-suite"),
];

#[test]
fn s_16_s_17_s_22_p_22_p_37_p_40_each_changed_answer_gets_its_alert_and_its_event() {
    let (mut leshan, relay, site) = setup(MUTATIONS.len(), "");
    let mut modem = site.modem(65);
    let mut gateway = site.gateway();
    for n in 0..MUTATIONS.len() {
        modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(n).as_str());
    }
    for (n, (mutate, alert, event)) in MUTATIONS.into_iter().enumerate() {
        let capture = Capture::start(relay.port);
        relay.change(move |mut datagram| {
            if let Some(suite) = suite(&datagram) {
                mutate(&mut datagram, suite);
            }
            vec![datagram]
        });
        uplink(&mut modem, &mut gateway, n, "01670070");
        let is_it = |line: &Value| line["event"] == event && line["node"] == eui(n).as_str();
        gateway.wait(event, is_it);
        let records = capture.stop().records();
        nothing_sealed_twice(&records);
        let last = records.iter().rfind(|record| record.to_server).unwrap();
        assert_eq!((last.epoch, last.alert), (0, Some(alert)), "{event}");
        let hellos = handshakes(&records, CLIENT_HELLO);
        assert!(
            hellos
                .iter()
                .filter_map(|record| record.hello())
                .all(|hello| hello.version == 0xfefd && !hello.suites.contains(&0x5600))
        );
    }
    assert!(leshan.process.seen().iter().all(|line| line["event"] != "registered"));
}

/// Records in the server's name that fail authentication, until the session is renewed; some get lost in a full queue.
const FORGED_AT_MOST: u32 = 2_000_000;

#[test]
fn p_13_a_flood_of_forged_records_is_dropped_and_counted_and_in_the_end_the_session_is_renewed_once() {
    let (mut leshan, relay, site) = setup(1, "");
    let mut modem = site.modem(69);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    wait_registered(&mut leshan, 0);
    gateway.wait_event("registered");

    let before = relay.passed();
    let renewed = |gateway: &mut Process| gateway.seen().iter().filter(|line| line["event"] == "dtls-forged").count();
    let mut forged = vec![0x5a; 13 + 40];
    forged[..13].copy_from_slice(&[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 40]);
    let mut sent = 0;
    while renewed(&mut gateway) == 0 && sent < FORGED_AT_MOST {
        for _ in 0..256 {
            sent += 1;
            forged[7..11].copy_from_slice(&sent.to_be_bytes());
            relay.inject(&forged);
        }
    }
    gateway.wait_event("dtls-forged");
    assert!(sent >= 65_536, "not before the budget is spent: {sent}");
    assert_eq!(relay.passed(), before, "in silence");
    let status = site.ask(&["status"]);
    assert!(status["sessions"]["records_forged"].as_u64() >= Some(65_536), "{status}");

    let mark = leshan.process.mark();
    uplink(&mut modem, &mut gateway, 0, "01670071");
    leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
    leshan
        .process
        .wait_since(mark, "the registration", |line| line["event"] == "updated" || line["event"] == "registered");
    assert_eq!(renewed(&mut gateway), 1);
}

#[test]
fn s_06_what_dtls_costs_over_a_thousand_records_is_counted_to_the_byte() {
    let (mut leshan, relay, site) = setup(1, "");
    let mut modem = site.modem(69);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    wait_registered(&mut leshan, 0);
    for _ in 0..500 {
        let read = leshan.ask(json!({ "cmd": "read", "ep": endpoint(0), "path": "/3303/1/5700" }));
        assert_eq!(read["values"]["/3303/1/5700"], json!(11.2), "{read}");
    }
    // The last answer may still be on its way through the relay.
    let sum = |cost: &Value, keys: [&str; 2]| keys.iter().map(|key| cost[*key].as_u64().unwrap()).sum::<u64>();
    let mut told = (Value::Null, (0, 0));
    for _ in 0..20 {
        let cost = site.ask(&["node", "show", &eui(0)])["dtls_cost"].clone();
        let counted =
            (sum(&cost, ["handshake_bytes_out", "bytes_out"]), sum(&cost, ["handshake_bytes_in", "bytes_in"]));
        told = (cost, counted);
        if counted == relay.bytes() {
            break;
        }
    }
    let (cost, counted) = told;
    assert_eq!(counted, relay.bytes(), "{cost}");
    let records = sum(&cost, ["datagrams_out", "datagrams_in"]);
    assert!(records >= 1000, "{cost}");
    // 29 bytes a record: header 13, explicit nonce 8, tag 8 (RFC 6347 section 4.1, RFC 6655 section 3).
    let more = sum(&cost, ["bytes_out", "bytes_in"]) - sum(&cost, ["coap_bytes_out", "coap_bytes_in"]);
    assert_eq!((more, cost["handshakes"].as_u64()), (29 * records, Some(1)), "{cost}");
    // What that would be on the node's own link, marked as a model.
    let model = &cost["what_if"];
    assert_eq!((model["model"].as_bool(), model["at"][0]["dr_is"].as_str()), (Some(true), Some("of its last uplink")));
    assert!(model["at"][0]["up"]["more_airtime_ms"].as_u64() > Some(0), "{model}");
    assert_eq!(gateway.terminate(), Some(0));
}
