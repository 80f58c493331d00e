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
