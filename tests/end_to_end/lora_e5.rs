//! The second dialect of the serial plugin, through the whole gateway.

use crate::site::{Site, small_server, uplink};

#[test]
fn a_node_joins_through_a_lora_e5_and_its_port_comes_back_without_a_restart() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    let config = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    site.write("lpwad.toml", &config.replace("dialect = \"rn2483\"", "dialect = \"lora-e5\""));
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
