//! Frames of somebody who has no key cost a bounded amount of everything, and get no answer.

use super::*;

const FRAMES: u64 = 20_000;

/// Sends 100 frames a second, each made from its number.
fn flood(rig: &mut Rig, frame: impl Fn(u64) -> Vec<u8>) {
    for number in 0..FRAMES {
        rig.now += Duration::from_millis(10);
        let data = lpwad_link::hex::encode(&frame(number));
        let at_us = rig.now.as_micros() as u32;
        rig.line(&format!(r#"{{"rx":{{"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","data":"{data}"}}}}"#));
        if rig.gateway.deadline().is_some_and(|deadline| deadline <= rig.now) {
            rig.input(Input::Tick);
        }
    }
}

fn nothing_but_a_few_words(rig: &mut Rig, counter: &str) {
    assert!(rig.take_transmitted().is_empty());
    assert!(!rig.outputs.iter().any(|o| matches!(o, Output::Commit(_) | Output::Send(..) | Output::KillPlugin(_))));
    // 200 s are four minutes begun, ten words each.
    let said = rig.said(Kind::FrameDropped);
    assert!((10..=40).contains(&said), "{said} events");
    assert!(rig.outputs.len() <= 60, "{} outputs", rig.outputs.len());
    let status = rig.gateway.answer_request(rig.time(), &control::Request::Status);
    assert_eq!(status["network"][counter], FRAMES, "{status}");
    assert_eq!(status["radios"][0]["state"], "ready");
}

#[test]
fn data_frames_with_a_wrong_mic() {
    let mut rig = Rig::registered();
    flood(&mut rig, |number| {
        let [a, b, c, d] = (number as u32).to_be_bytes();
        vec![0x40, 4, 3, 2, 1, 0, a, b, 1, c, d, 0x55, 0x66, 0x77, 0x88]
    });
    nothing_but_a_few_words(&mut rig, "drop_bad_mic");
}

#[test]
fn join_requests_of_strangers() {
    let mut rig = Rig::registered();
    flood(&mut rig, |number| {
        let mut frame = vec![0; 23];
        frame[1..9].copy_from_slice(&number.to_be_bytes());
        frame[9..17].copy_from_slice(&(!number).to_be_bytes());
        frame
    });
    nothing_but_a_few_words(&mut rig, "drop_unknown_device");
}

const APP_KEY: [u8; 16] = [3; 16];

/// A gateway whose one node joins.
fn joining() -> Rig {
    let mut config = config(true);
    config.nodes[0].activation = Activation::Otaa { join_eui: None, app_key: Key::new(APP_KEY) };
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &config, analyses("2027-06-01"), Loaded::default());
    rig.outputs.clear();
    rig
}

/// A join request of the node (LoRaWAN 1.0.4 §6.2.5), under a key.
fn join_request(nonce: u16, key: [u8; 16]) -> Vec<u8> {
    use lorawan::creator::JoinRequestCreator;
    use lorawan::default_crypto::DefaultFactory;
    let dev_eui = u64::from_be_bytes(DEV_EUI.0).to_le_bytes();
    let mut creator = JoinRequestCreator::<[u8; 23], DefaultFactory>::with_options([0; 23], DefaultFactory).unwrap();
    creator.set_app_eui([0; 8]).set_dev_eui(&dev_eui).set_dev_nonce(nonce.to_le_bytes());
    creator.build(&lorawan::keys::AppKey::from(key)).to_vec()
}

#[test]
fn join_requests_of_a_configured_node_with_a_wrong_mic() {
    let mut rig = joining();
    let frames: Vec<Vec<u8>> = (0..1000).map(|nonce| join_request(nonce, [9; 16])).collect();
    flood(&mut rig, |number| frames[number as usize % frames.len()].clone());
    nothing_but_a_few_words(&mut rig, "drop_bad_mic");
    // It cost the node none of its nonces.
    let data = lpwad_link::hex::encode(&join_request(0, APP_KEY));
    let at_us = rig.now.as_micros() as u32;
    rig.line(&format!(r#"{{"rx":{{"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","data":"{data}"}}}}"#));
    rig.alive = rig.now + S(10);
    rig.run_to(rig.now + S(8));
    assert_eq!(rig.said(Kind::NodeJoining), 1);
}

#[test]
fn replays_of_a_join_request_that_was_valid() {
    let mut rig = joining();
    let request = join_request(7, APP_KEY);
    let data = lpwad_link::hex::encode(&request);
    rig.line(&format!(r#"{{"rx":{{"at_us":1,"freq_hz":868100000,"dr":"SF7BW125","data":"{data}"}}}}"#));
    rig.run_to(rig.now + S(8));
    assert_eq!(rig.said(Kind::NodeJoining), 1);
    rig.outputs.clear();
    let record = rig.disk.get(Table::Device, DEV_EUI).unwrap().to_vec();
    flood(&mut rig, |_| request.clone());
    assert!(rig.take_transmitted().is_empty(), "one join request, one answer");
    assert!(!rig.outputs.iter().any(|o| matches!(o, Output::Commit(_) | Output::Send(..) | Output::KillPlugin(_))));
    assert_eq!(rig.disk.get(Table::Device, DEV_EUI), Some(&record[..]), "a replay leaves no trace");
    // Four minutes begun, ten words each on nonces and on copies.
    assert!(rig.outputs.len() <= 100, "{} outputs", rig.outputs.len());
    let status = rig.gateway.answer_request(rig.time(), &control::Request::Status);
    let count = |name: &str| status["network"][name].as_u64().unwrap();
    // Within the window for copies of other radios a replay is such a copy.
    assert_eq!(count("drop_dev_nonce_reused") + count("drop_duplicate"), FRAMES, "{status}");
    assert!(count("drop_dev_nonce_reused") >= 500, "{status}");
    assert_eq!(count("join_accepts_sent"), 1);
}

#[test]
fn faults_and_failures_that_a_plugin_invents() {
    let mut rig = Rig::registered();
    for number in 0..2_000 {
        rig.now += Duration::from_millis(10);
        rig.line(&format!(r#"{{"status":{{"fault":"invented {number}"}}}}"#));
        rig.line(&format!(r#"{{"txdone":{{"id":{number},"status":"failed"}}}}"#));
    }
    assert_eq!((rig.said(Kind::RadioFault), rig.said(Kind::TransmitFailed)), (10, 10), "20 s: one minute begun");
}
