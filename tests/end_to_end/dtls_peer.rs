//! Leshan's DTLS and OpenSSL's, two foreign programs with one another: what the harness says, and what the capture shows,
//! is what the tests of our own DTLS build on.

use crate::capture::Capture;
use crate::harness::Leshan;
use crate::pki::Pki;
use crate::record::{
    CLIENT_HELLO, CLIENT_KEY_EXCHANGE, FINISHED, HELLO_VERIFY_REQUEST, Hello, Record, SERVER_HELLO,
    nothing_sealed_twice,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};

const KEY: &str = "10a132c354e576079829ba4bdc6dfe8f";
const OTHER_KEY: &str = "8f10a132c354e576079829ba4bdc6dfe";
const ENDPOINT: &str = "urn:dev:peer";

/// `openssl s_client`; it says goodbye at the end of its input.
struct Client(Child);

impl Client {
    fn with_psk(port: u16, identity: &str, key: &str, more: &[&str]) -> Client {
        let psk = ["-psk_identity", identity, "-psk", key, "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0"];
        Client::start(port, &[&psk, more].concat())
    }

    fn start(port: u16, arguments: &[&str]) -> Client {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-dtls1_2", "-quiet", "-no_ign_eof", "-connect", &format!("127.0.0.1:{port}")]);
        let child = command.args(arguments).env_remove("OPENSSL_CONF").stdin(Stdio::piped()).stdout(Stdio::null());
        Client(child.stderr(Stdio::null()).spawn().expect("openssl"))
    }

    /// Registers by LwM2M: its first data, as soon as the handshake is done.
    fn register(mut self) -> Client {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(&registration()).and_then(|()| stdin.flush()).unwrap();
        self
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `CON POST /rd?ep=..&lwm2m=1.1&lt=60` (RFC 7252 section 3).
fn registration() -> Vec<u8> {
    let mut message = vec![0x41, 0x02, 0x12, 0x34, 0xaa];
    let query = format!("ep={ENDPOINT}");
    // Option numbers 11, 12 and 15 as differences.
    for (delta, value) in [(11, &b"rd"[..]), (1, &[40]), (3, query.as_bytes()), (0, b"lwm2m=1.1"), (0, b"lt=60")] {
        match value.len() {
            length @ 0..13 => message.push(delta << 4 | length as u8),
            length => message.extend([delta << 4 | 13, (length - 13) as u8]),
        }
        message.extend(value);
    }
    message.extend(b"\xff</1/0>,</3/0>");
    message
}

/// Kinds of the handshake messages from the client, in their order; what is repeated counts once.
fn sent_by_client(records: &[&Record]) -> Vec<u8> {
    let messages = records.iter().filter(|record| record.to_server).flat_map(|record| &record.handshake);
    let by_number: BTreeMap<u16, u8> = messages.map(|message| (message.message_seq, message.kind)).collect();
    by_number.into_values().collect()
}

/// The first hello of this kind and message number.
fn hello(records: &[&Record], kind: u8, message_seq: u16) -> Hello {
    let is_it = |record: &&&Record| {
        record.handshake.iter().any(|message| (message.kind, message.message_seq) == (kind, message_seq))
    };
    records.iter().find(is_it).and_then(|record| record.hello()).cloned().unwrap()
}

#[test]
fn psk_handshake_resumption_and_fragment_length_are_told_and_captured() {
    let mut leshan = Leshan::with(&["--coaps", "127.0.0.1:0"]);
    let port = leshan.coaps_port.unwrap();
    leshan.permit_psk(ENDPOINT, "peer-1", KEY);
    let dir = tempfile::tempdir().unwrap();
    let session = dir.path().join("session.pem").display().to_string();
    let capture = Capture::start(port);

    let registered = |leshan: &mut Leshan, more: &[&str]| {
        let mark = leshan.process.mark();
        let client = Client::with_psk(port, "peer-1", KEY, &[&["-maxfraglen", "512"], more].concat()).register();
        let handshake = leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
        leshan.process.wait_since(mark, "a registration", |line| line["event"] == "registered");
        client.end();
        handshake
    };
    let first = registered(&mut leshan, &["-sess_out", &session]);
    assert_eq!((&first["mode"], &first["identity"]), (&json!("psk"), &json!("peer-1")), "{first}");
    assert_eq!((&first["suite"], &first["cid"]), (&json!("TLS_PSK_WITH_AES_128_CCM_8"), &json!(false)), "{first}");
    assert_eq!((&first["resumed"], &first["max_fragment"]), (&json!(false), &json!(512)), "{first}");
    let second = registered(&mut leshan, &["-sess_in", &session]);
    assert_eq!((&second["resumed"], &second["session"]), (&json!(true), &first["session"]), "{second}");
    // The endpoint goes and comes back with its sessions; then it loses them.
    assert_eq!(leshan.ask(json!({ "cmd": "dtls-restart" }))["ok"], true);
    assert_eq!(registered(&mut leshan, &["-sess_in", &session])["resumed"], true);
    assert_eq!(leshan.ask(json!({ "cmd": "dtls-forget" }))["ok"], true);
    assert_eq!(registered(&mut leshan, &["-sess_in", &session])["resumed"], false);

    let trace = capture.stop();
    let records = trace.records_with_psk(KEY);
    nothing_sealed_twice(&records);
    let port_of = |event: &Value| event["port"].as_u64().unwrap() as u16;
    let of = |event: &Value| -> Vec<&Record> {
        records.iter().filter(|record| record.client_port == port_of(event)).collect()
    };
    let full = of(&first);
    assert_eq!(sent_by_client(&full), [CLIENT_HELLO, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, FINISHED]);
    assert!(full.iter().any(|record| record.handshake.iter().any(|message| message.kind == HELLO_VERIFY_REQUEST)));
    let (first_hello, again) = (hello(&full, CLIENT_HELLO, 0), hello(&full, CLIENT_HELLO, 1));
    assert_eq!(
        (first_hello.version, &first_hello.suites[..], &first_hello.compression[..]),
        (0xfefd, &[0xc0a8, 0xff][..], &[0][..])
    );
    let (length, fragment) = &first_hello.extensions[&1];
    assert_eq!((*length, &fragment["dtls.handshake.max_fragment_length"]), (1, &json!("1")));
    // OpenSSL's own hello has two extensions that RFC 7925 does not want: 22 and 35 are seen, so that their absence can be.
    assert_eq!(first_hello.extension_types(), [1, 13, 22, 23, 35]);
    assert!(first_hello.cookie.is_empty() && !again.cookie.is_empty());
    assert_eq!(first_hello.random, again.random);
    let identity = full.iter().find_map(|record| record.handshake.first()?.psk_identity.clone());
    assert_eq!(identity.as_deref(), Some(&b"peer-1"[..]));
    assert!(full.iter().all(|record| record.length <= 512 + 8 + 8), "nonce and tag are not counted");
    let paths: Vec<(&str, u8)> =
        full.iter().filter_map(|record| record.coap.as_ref()).map(|coap| (&coap.path[..], coap.code)).collect();
    assert_eq!(paths, [("/rd", 0x02), ("/rd", 0x41)], "POST and 2.01");
    assert_eq!(full.last().unwrap().alert, Some((1, 0)), "close_notify, decrypted");

    let resumed = of(&second);
    assert_eq!(sent_by_client(&resumed), [CLIENT_HELLO, FINISHED]);
    let (offered, answer) = (hello(&resumed, CLIENT_HELLO, 0), hello(&resumed, SERVER_HELLO, 0));
    assert_eq!(offered.session_id, answer.session_id);
    assert_eq!(lpwad_link::hex::encode(&answer.session_id), second["session"].as_str().unwrap());
    // Without the key nothing of it can be read, but it is there.
    let sealed = trace.records();
    assert_eq!(sealed.len(), records.len());
    assert!(sealed.iter().all(|record| record.coap.is_none() && (record.epoch == 0 || record.handshake.is_empty())));
    assert!(sealed.iter().map(|record| record.time).is_sorted());
}

#[test]
fn a_wrong_key_and_an_unknown_identity_are_named_and_lost_datagrams_are_repeated() {
    let mut leshan = Leshan::with(&["--coaps", "127.0.0.1:0"]);
    let port = leshan.coaps_port.unwrap();
    leshan.permit_psk(ENDPOINT, "peer-1", KEY);

    let wrong = Client::with_psk(port, "peer-1", OTHER_KEY, &[]);
    let error = leshan.process.wait_event("mac-error");
    assert_eq!((&error["count"], &error["in_handshake"]), (&json!(1), &json!(true)), "{error}");
    let unknown = Client::with_psk(port, "peer-2", KEY, &[]);
    let alert = leshan.process.wait_event("alert");
    assert_eq!((&alert["alert"], &alert["name"]), (&json!(115), &json!("unknown_psk_identity")), "{alert}");
    assert!(leshan.process.seen().iter().all(|line| line["event"] != "handshake"));
    drop((wrong, unknown));

    // A lost datagram: the client repeats its hello.
    leshan.ask(json!({ "cmd": "lose", "datagrams_in": 1 }));
    let capture = Capture::start(port);
    let client = Client::with_psk(port, "peer-1", KEY, &[]).register();
    leshan.process.wait_event("registered");
    client.end();
    let records = capture.stop().records();
    let hellos: Vec<&Record> = records.iter().filter(|record| record.to_server && record.hello().is_some()).collect();
    assert!(hellos.len() >= 3, "lost, repeated, with the cookie");
    assert_eq!((hellos[0].handshake[0].message_seq, hellos[1].handshake[0].message_seq), (0, 0));
    assert_eq!(hellos[0].hello(), hellos[1].hello());
    nothing_sealed_twice(&records);

    // Who is not permitted any more is refused.
    assert_eq!(leshan.ask(json!({ "cmd": "security-remove", "ep": ENDPOINT }))["removed"], true);
    let mark = leshan.process.mark();
    let _removed = Client::with_psk(port, "peer-1", KEY, &[]);
    leshan.process.wait_since(mark, "the refusal", |line| line["alert"] == 115);
}

#[test]
fn certificates_are_checked_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new(dir.path());
    let path = |name: &str| pki.path(name);
    pki.certify("server", "server", "", "2");
    let (ca, key, certificate) = (path("ca.pem"), path("server.key"), path("server.pem"));
    let server = ["--coaps", "127.0.0.1:0", "--key", &key, "--cert", &certificate, "--trust", &ca];
    let mut leshan = Leshan::with(&server);
    let port = leshan.coaps_port.unwrap();
    assert_eq!(leshan.ask(json!({ "cmd": "security-add", "ep": ENDPOINT, "mode": "x509" }))["ok"], true);

    pki.certify("client", ENDPOINT, "", "2");
    let (key, certificate) = (path("client.key"), path("client.pem"));
    let suite = ["-cipher", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0", "-CAfile", &ca, "-verify_return_error"];
    let client = Client::start(port, &[&suite[..], &["-cert", &certificate, "-key", &key]].concat()).register();
    let handshake = leshan.process.wait_event("handshake");
    assert_eq!((&handshake["mode"], &handshake["identity"]), (&json!("x509"), &json!(format!("CN={ENDPOINT}"))));
    assert_eq!(handshake["suite"], "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8");
    assert_eq!(leshan.process.wait_event("registered")["ep"], ENDPOINT);
    client.end();
    // Without a certificate, and with one of nobody known.
    let _anonymous = Client::start(port, &suite);
    leshan.process.wait_event("handshake-failed");
    let stranger = path("stranger.pem");
    pki.openssl(&["req", "-x509", "-new", "-key", &key, "-subj", &format!("/CN={ENDPOINT}"), "-out", &stranger]);
    let mark = leshan.process.mark();
    let _stranger = Client::start(port, &[&suite[..], &["-cert", &stranger, "-key", &key]].concat());
    let failed = leshan.process.wait_since(mark, "the refusal", |line| line["event"] == "handshake-failed");
    assert!(failed["alert"].as_u64().is_some_and(|alert| (42..=48).contains(&alert)), "{failed}");
}
