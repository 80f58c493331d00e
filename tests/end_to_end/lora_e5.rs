//! The second dialect of the serial plugin, through the whole gateway.

use crate::harness::Leshan;
use crate::site::{Site, downlink, endpoint, small_server, uplink};
use serde_json::json;

fn speak_lora_e5(site: &Site) {
    let config = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    site.write("lpwad.toml", &config.replace("dialect = \"rn2483\"", "dialect = \"lora-e5\""));
}

#[test]
fn a_node_joins_through_a_lora_e5_and_its_port_comes_back_without_a_restart() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    speak_lora_e5(&site);
    let mut modem = site.modem_speaking("lora-e5", 31);
    let mut gateway = site.gateway();
    // A join is a downlink received: the accept went out at its time, with inverted IQ and without CRC.
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    gateway.wait_event("registered");

    let mark = gateway.mark();
    modem.tell("unplug");
    let lost = gateway.wait_since(mark, "the loss", |line| line["event"] == "radio-lost");
    assert!(lost["reason"].as_str().unwrap().contains("gone"), "{lost}");
    modem.tell("replug");
    gateway.wait_since(mark, "the radio's return", |line| line["event"] == "radio-ready");
    uplink(&mut modem, &mut gateway, 0, "01670111");
}

#[test]
fn a_write_of_the_server_reaches_a_node_through_a_lora_e5() {
    let mut leshan = Leshan::start();
    let site = Site::new(1, "fport = 1");
    site.configure(1, &leshan.uri());
    speak_lora_e5(&site);
    let mut modem = site.modem_speaking("lora-e5", 32);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    leshan.process.wait_event("registered");

    let write = json!({ "cmd": "write", "ep": endpoint(0), "path": "/3306/0/5850", "value": true });
    assert_eq!(leshan.ask(write)["code"], "2.04");
    downlink(&mut modem, &mut gateway, 0, "000064ff");
    uplink(&mut modem, &mut gateway, 0, "01670112");
    gateway.wait_event("downlink-acked");
    let confirmed = leshan.ask(json!({ "cmd": "read", "ep": endpoint(0), "path": "/3306/0/5850" }));
    assert_eq!(confirmed["values"]["/3306/0/5850"], true, "{confirmed}");
}
