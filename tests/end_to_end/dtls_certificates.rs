//! Certificates with Leshan: by trust anchors and a name, and one pinned certificate.

use crate::dtls::session_of;
use crate::dtls_raw_keys::{hello_of, lives_and_resumes, refused};
use crate::harness::Leshan;
use crate::pki::Pki;
use crate::record::{CLIENT_HELLO, handshakes};
use crate::relay::Relay;
use crate::site::{Site, endpoint, eui};
use serde_json::json;

/// Leshan with the certificate `server` of the authority.
fn leshan(pki: &Pki, endpoint: &str) -> Leshan {
    let [key, certificate, trust] = ["server.key", "server.pem", "ca.pem"].map(|name| pki.path(name));
    let mut leshan = Leshan::with(&[
        "--coap",
        "127.0.0.1:0",
        "--coaps",
        "127.0.0.1:0",
        "--key",
        &key,
        "--cert",
        &certificate,
        "--trust",
        &trust,
    ]);
    assert_eq!(leshan.ask(json!({ "cmd": "security-add", "ep": endpoint, "mode": "x509" }))["ok"], true);
    leshan
}

fn site() -> (Site, Pki) {
    let site = Site::new(1, "");
    let pki = Pki::new(site.dir.path());
    site.add_keys(0, "x509_certificate = \"node.pem\"\nx509_key = \"node.key\"\n");
    (site, pki)
}

#[test]
fn s_12_s_41_p_10_p_11_p_36_by_trust_anchors_a_node_lives_is_resumed_and_refuses_other_names_and_authorities() {
    let (site, pki) = site();
    pki.certify("server", "server", "DNS:localhost", "2");
    // Leshan takes the common name for the endpoint.
    pki.certify("node", &endpoint(0), "", "2");
    pki.authority("stranger");
    let mut leshan = leshan(&pki, &endpoint(0));
    let relay = Relay::to(leshan.coaps_port.unwrap());
    let by_name = format!("localhost:{}", relay.port);
    site.configure_secure_at(1, &by_name, "trust_anchors = \"ca.pem\"\n");
    let mut modem = site.modem(62);

    let (first, _, mut gateway) = lives_and_resumes(&mut leshan, &site, &mut modem, &endpoint(0), relay.port);
    let handshake = leshan.process.wait_event("handshake");
    assert_eq!((&handshake["mode"], &handshake["identity"]), (&json!("x509"), &json!(format!("CN={}", endpoint(0)))));
    assert_eq!(session_of(&site)["session"], "dtls-x509");
    assert_eq!(hello_of(&first), (vec![0, 1, 10, 11, 13, 23, 65281], vec![0xc0ae], vec![0]));
    let records = first.records();
    let hello = handshakes(&records, CLIENT_HELLO)[0].hello().unwrap();
    assert!(hello.extensions[&0].1.to_string().contains("localhost"), "{:?}", hello.extensions[&0]);
    gateway.terminate();

    // The address instead of the name: no SNI (RFC 6066 §3), and not what the certificate says.
    site.configure_secure(1, relay.port, "trust_anchors = \"ca.pem\"\n");
    let mark = leshan.process.mark();
    let (event, alerts) = refused(&site, &mut modem, relay.port, "dtls-wrong-name");
    assert_eq!((event["server"].as_str(), alerts.len()), (Some("site"), 1), "{event} {alerts:?}");
    site.configure_secure_at(1, &by_name, "trust_anchors = \"stranger.pem\"\n");
    let (_, alerts) = refused(&site, &mut modem, relay.port, "dtls-certificate-refused");
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(leshan.process.seen()[mark..].iter().all(|line| line["event"] != "handshake"));
}

#[test]
fn s_41_p_12_one_pinned_certificate_needs_no_name_and_no_date_and_the_common_name_may_be_the_eui_64() {
    let (site, pki) = site();
    pki.certify("server", "server", "DNS:localhost", "-1");
    pki.certify("other", "server", "DNS:localhost", "2");
    // The EUI-64 as the common name (RFC 7925 §4.4.2), and so as the endpoint.
    pki.certify("node", &eui(0), "", "2");
    std::fs::create_dir(site.path("conf.d")).unwrap();
    site.write("conf.d/endpoint.toml", &format!("[[node]]\ndev_eui = \"{0}\"\nendpoint = \"{0}\"\n", eui(0)));
    let mut leshan = leshan(&pki, &eui(0));
    let port = leshan.coaps_port.unwrap();
    site.configure_secure(1, port, "server_certificate = \"server.pem\"\n");
    let mut modem = site.modem(63);

    let (first, _, mut gateway) = lives_and_resumes(&mut leshan, &site, &mut modem, &eui(0), port);
    assert_eq!(leshan.process.wait_event("handshake")["identity"], format!("CN={}", eui(0)));
    assert_eq!(hello_of(&first).0, [1, 10, 11, 13, 23, 65281], "no name for an address");
    gateway.terminate();

    site.configure_secure(1, port, "server_certificate = \"other.pem\"\n");
    let (event, _) = refused(&site, &mut modem, port, "dtls-certificate-refused");
    assert!(event["detail"].as_str().or(event["reason"].as_str()).is_some(), "{event}");
    // Trusted by its authority, it must be of today.
    let relay = Relay::to(port);
    site.configure_secure_at(1, &format!("localhost:{}", relay.port), "trust_anchors = \"ca.pem\"\n");
    refused(&site, &mut modem, relay.port, "dtls-certificate-expired");
}
