//! What comes from the air, the serial line and other programs: each thing counted or named, nothing crashes.

use crate::site::{Process, Site, eui, small_server, uplink};
use serde_json::Value;

fn dropped(line: &Value, reason: &str) -> bool {
    line["event"] == "frame-dropped" && line["reason"].as_str().is_some_and(|text| text.starts_with(reason))
}

#[test]
fn bad_frames_noise_and_a_lost_port_are_named_and_survived() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    let mut modem = site.modem(21);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    gateway.wait_event("registered");

    // Each frame that must be refused is told to the modem until the gateway has heard it: while it sends, it hears nothing.
    let refused = |modem: &mut Process, gateway: &mut Process, lines: &[String], reasons: &[&str]| {
        for _ in 0..12 {
            let mark = gateway.mark();
            lines.iter().for_each(|line| modem.tell(line));
            let wanted = |line: &Value| reasons.iter().any(|reason| line["event"] == *reason || dropped(line, reason));
            if gateway.comes_since(mark, wanted) {
                return;
            }
        }
        panic!("none of {reasons:?} is named after {lines:?}");
    };
    let frame = format!("uplink {} 1 01670110", eui(0));
    refused(&mut modem, &mut gateway, &["corrupt 1".into(), frame], &["BadMic"]);
    uplink(&mut modem, &mut gateway, 0, "01670111");
    // An exact copy of the newest frame is a repetition, of an older one a replay; neither is delivered again.
    refused(&mut modem, &mut gateway, &["replay".into()], &["uplink-repeated", "Replay", "Duplicate"]);
    refused(&mut modem, &mut gateway, &["replay-join".into()], &["DevNonceReused"]);
    // Noise on the line is counted by the plugin, whose counters come with its status.
    modem.tell("garbage");
    let counted = || site.ask(&["status"])["radios"][0]["plugin"]["garbage_lines"].as_u64().unwrap_or(0) > 0;
    let seen = (0..6).any(|_| {
        uplink(&mut modem, &mut gateway, 0, "01670112");
        counted()
    });
    assert!(seen, "noise on the serial line is not counted");

    let mark = gateway.mark();
    modem.tell("unplug");
    let lost = gateway.wait_since(mark, "the loss", |line| line["event"] == "radio-lost");
    assert!(lost["reason"].as_str().unwrap().contains("gone"), "{lost}");
    modem.tell("replug");
    gateway.wait_since(mark, "the radio's return", |line| line["event"] == "radio-ready");
    uplink(&mut modem, &mut gateway, 0, "01670113");
    // A modem that restarts is set up again.
    modem.tell("reboot");
    uplink(&mut modem, &mut gateway, 0, "01670114");

    let status = site.ask(&["status"]);
    assert_eq!(status["radios"][0]["state"], "ready");
    assert_eq!(status["nodes"]["registered"], 1);
    for counter in ["drop_bad_mic", "drop_dev_nonce_reused"] {
        assert!(status["network"][counter].as_u64().unwrap() >= 1, "{counter}");
    }
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
