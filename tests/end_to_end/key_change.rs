//! A key is changed while the gateway runs: `lpwad key rotate`, then SIGHUP.

use crate::harness::Leshan;
use crate::site::{Site, endpoint, eui, uplink};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

#[test]
fn s_38_a_rotated_key_ends_the_session_and_the_next_uplink_uses_the_new_one_in_full() {
    let mut leshan = Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0"]);
    let site = Site::new(1, "");
    site.configure_secure(1, leshan.coaps_port.unwrap(), "");
    let first = site.ask(&["key", "new", &eui(0)]);
    let text = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap().to_string();
    leshan.permit_psk(&endpoint(0), &text(&first, "identity"), &text(&first, "psk"));
    let mut modem = site.modem(55);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670070");
    leshan.process.wait_event("registered");

    let second = site.ask(&["key", "rotate", &eui(0)]);
    assert_ne!(first["psk"], second["psk"]);
    leshan.permit_psk(&endpoint(0), &text(&second, "identity"), &text(&second, "psk"));
    let mark = leshan.process.mark();
    kill(gateway.pid(), Signal::SIGHUP).unwrap();
    gateway.wait_event("dtls-key-changed");
    uplink(&mut modem, &mut gateway, 0, "01670071");
    let handshake = leshan.process.wait_since(mark, "a handshake", |line| line["event"] == "handshake");
    assert_eq!(handshake["resumed"], false, "{handshake}");
    leshan.process.wait_since(mark, "a registration", |line| line["event"] == "registered");

    // Without a key there is no session any more, and the node is told so once; nothing of it is kept.
    let keys = std::fs::read_to_string(site.path("keys.toml")).unwrap();
    let without: String =
        keys.lines().filter(|line| !line.starts_with("psk")).map(|line| format!("{line}\n")).collect();
    site.write("keys.toml", &without);
    kill(gateway.pid(), Signal::SIGHUP).unwrap();
    gateway.wait("the reload", |line| line["event"] == "reloaded" && line["changed"] == "1");
    uplink(&mut modem, &mut gateway, 0, "01670072");
    gateway.wait("a refusal", |line| line["event"] == "policy-refused" && line["node"] == json!(eui(0)));
}
