//! The configuration read again.

use super::*;

fn reload(rig: &mut Rig, config: Config, analyses: Analyses) {
    rig.input(Input::Reload(Box::new(config), analyses));
}

fn without_nodes() -> Config {
    Config { nodes: Vec::new(), ..config(true) }
}

/// The FCntDown that comes next.
fn next_counter(rig: &Rig) -> u64 {
    let node = rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() });
    node["lorawan"]["fcnt_down"].as_u64().unwrap()
}

#[test]
fn what_did_not_change_notices_nothing() {
    let mut rig = Rig::registered();
    reload(&mut rig, config(true), analyses("2027-06-01"));
    assert_eq!((rig.said(Kind::Reloaded), rig.said(Kind::PolicyVerdict)), (1, 0));
    assert!(rig.sent().is_empty() && !rig.outputs.iter().any(|o| matches!(o, Output::Close(_))));
    rig.write(1);
    assert_eq!(rig.last_code(), 0x44, "2.04");
}

#[test]
fn a_node_that_goes_says_goodbye_and_uses_no_counter_twice_when_it_comes_back() {
    let mut rig = Rig::registered();
    rig.write(1);
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(1));
    assert_eq!(rig.said(Kind::DownlinkSent), 1);
    let unused = next_counter(&rig);
    rig.outputs.clear();
    reload(&mut rig, without_nodes(), analyses("2027-06-01"));
    assert_eq!(rig.last_code(), 0x04, "DELETE");
    let status = rig.gateway.answer_request(rig.time(), &control::Request::Status);
    assert_eq!(status["nodes"]["configured"], 0);
    rig.uplink("01670112", false);
    assert_eq!(rig.said(Kind::Uplink), 0, "it is a stranger now");
    rig.run_to(rig.now + S(6));
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Close(NODE))), "nobody answered the DELETE");
    reload(&mut rig, config(true), analyses("2027-06-01"));
    rig.outputs.clear();
    rig.fcnt -= 2;
    rig.uplink("01670112", false);
    assert_eq!(rig.said(Kind::Uplink), 0, "its uplink counter is known");
    rig.uplink("01670113", false);
    assert_eq!(rig.said(Kind::Uplink), 1);
    assert!(next_counter(&rig) >= unused);
    rig.run_to(rig.now + S(1));
    assert_eq!(rig.said(Kind::DownlinkSent), 1, "the write was not acknowledged: it is sent again");
}

#[test]
fn without_its_analysis_a_server_hears_nothing_more_not_even_goodbye() {
    let mut rig = Rig::registered();
    reload(&mut rig, without_nodes(), Analyses::default());
    rig.run_to(rig.now + S(10));
    assert_eq!(rig.said(Kind::PolicyRefused), 1);
    assert!(rig.sent().is_empty());
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Close(NODE))));
}

#[test]
fn a_server_elsewhere_gets_a_new_registration_from_the_same_node() {
    let mut rig = Rig::registered();
    let mut moved = config(true);
    moved.servers[0].uri = "coap://127.0.0.1:5685".parse().ok();
    let mut both = analyses("2027-06-01");
    let elsewhere = Draft { id: "U", server: "coap://127.0.0.1:5685", ..draft("2027-06-01") };
    both.add(std::path::Path::new("u.toml"), &elsewhere.text());
    reload(&mut rig, moved, both);
    assert!(rig.sent().is_empty(), "the old server is not spoken to any more");
    rig.uplink("01670111", false);
    let peer = rig.outputs.iter().find_map(|o| {
        if let Output::Open { to: Target::Clear { peer, .. }, .. } = o { Some(peer.port()) } else { None }
    });
    assert_eq!(peer, Some(5685));
}

#[test]
fn a_configuration_that_cannot_be_used_changes_nothing() {
    let mut rig = Rig::registered();
    rig.input(Input::ReloadFailed("lpwad.toml:3: no".into()));
    assert_eq!(rig.said(Kind::ReloadFailed), 1);
    rig.write(1);
    assert_eq!(rig.last_code(), 0x44);
}

#[test]
fn what_needs_a_restart_is_said() {
    let mut rig = Rig::registered();
    let mut other = config(true);
    other.radios.clear();
    other.rx1_delay_s = 1;
    reload(&mut rig, other, analyses("2027-06-01"));
    let said = rig.outputs.iter().find_map(|o| if let Output::Event(event) = o { Some(event.to_json()) } else { None });
    assert_eq!(said.unwrap()["after_restart"], "gateway.rx1_delay_s,radio");
}
