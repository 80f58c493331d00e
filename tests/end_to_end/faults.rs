//! What comes from the air, the serial line and other programs: each thing counted or named, nothing crashes.

use crate::site::{Site, eui, small_server};
use serde_json::Value;

fn dropped(line: &Value, reason: &str) -> bool {
    line["event"] == "frame-dropped" && line["reason"].as_str().is_some_and(|text| text.starts_with(reason))
}

#[test]
fn bad_frames_noise_reboot_and_a_lost_port_are_named_and_survived() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    let mut modem = site.modem(21);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    let uplink = format!("uplink {} 1 01670110", eui(0));
    modem.tell(&uplink);
    gateway.wait_event("registered");

    modem.tell("corrupt 1");
    modem.tell(&uplink);
    gateway.wait("a dropped frame", |line| {
        ["BadMic", "UnknownDevice", "Malformed", "Unsupported"].iter().any(|reason| dropped(line, reason))
    });
    modem.tell(&uplink);
    let mark = gateway.mark();
    gateway.wait_since(mark, "an uplink after the corrupt one", |line| line["event"] == "uplink");
    // An exact copy of the newest frame is a repetition, of an older one a replay; neither is delivered again.
    modem.tell("replay");
    gateway.wait("a repetition or replay", |line| {
        line["event"] == "uplink-repeated" || dropped(line, "Replay") || dropped(line, "Duplicate")
    });
    modem.tell("replay-join");
    gateway.wait("a reused DevNonce", |line| dropped(line, "DevNonceReused"));

    let mark = gateway.mark();
    modem.tell("garbage");
    modem.tell(&uplink);
    gateway.wait_since(mark, "an uplink after noise", |line| line["event"] == "uplink");
    modem.tell("reboot");
    modem.tell("unplug");
    let lost = gateway.wait_event("radio-lost");
    assert!(lost["reason"].as_str().unwrap().contains("gone"), "{lost}");
    modem.tell("replug");
    gateway.wait_since(mark, "the radio's return", |line| line["event"] == "radio-ready");
    let mark = gateway.mark();
    modem.tell(&uplink);
    gateway.wait_since(mark, "an uplink after the return", |line| line["event"] == "uplink");

    let status = site.ask(&["status"]);
    assert_eq!(status["radios"][0]["state"], "ready");
    assert_eq!(status["nodes"]["registered"], 1);
    assert!(status["network"]["drop_dev_nonce_reused"].as_u64().unwrap() >= 1);
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn a_second_program_on_the_port_is_told_who_holds_it_and_a_wrong_baud_rate_is_named() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(0, "");
    site.configure(0, &uri);
    let _modem = site.modem(22);
    let mut first = site.gateway();
    first.wait_event("radio-ready");

    let other = Site::new(0, "");
    other.configure(0, &uri);
    let config = std::fs::read_to_string(other.path("lpwad.toml")).unwrap();
    let config = config.replace(&other.path("modem").display().to_string(), &site.path("modem").display().to_string());
    other.write("lpwad.toml", &config);
    let mut second = other.gateway();
    let lost = second.wait_event("radio-lost");
    let reason = lost["reason"].as_str().unwrap();
    assert!(reason.contains("lora-serial") && reason.contains("pid"), "{reason}");
    second.terminate();
    assert!(first.is_running());
    first.terminate();

    let config = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    site.write("lpwad.toml", &config.replace("dialect = \"rn2483\"", "dialect = \"rn2483\", baud = 9600"));
    let mut wrong = site.gateway();
    let lost = wrong.wait("the fault", |line| line["event"] == "radio-lost" || line["event"] == "radio-fault");
    let text = lost.to_string();
    assert!(text.contains("baud"), "{text}");
    wrong.terminate();
}
