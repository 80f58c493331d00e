//! What a plugin writes: bytes in pieces to lines, lines to messages, messages to the state machine of a radio.
//!
//! A byte 0xff (never part of a message) ends a piece; the byte behind it is how many quarter seconds pass then.
use lpwad::radio::{Output, Radio, State};
use lpwad_link::fact::FactName;
use lpwad_link::{FromPlugin, LineReader, MAX_LINE_BYTES, ToPlugin};
use std::time::Duration;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let mut now = Duration::from_secs(1);
    let mut reader = LineReader::default();
    let mut radio = Radio::new("roof".into(), serde_json::Map::new(), &[868_100_000], 7);
    drain(&mut radio, now);
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0xff).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        reader.push(piece, |line| {
            if let Ok(line) = line {
                assert!(!line.is_empty() && line.len() <= MAX_LINE_BYTES && !line.contains(&b'\n'));
                written(line);
            }
            radio.line(now, radio.starts, line);
            drain(&mut radio, now);
        });
        let pause = behind.get(1).copied().unwrap_or(0);
        now += Duration::from_millis(250) * u32::from(pause);
        rest = behind.get(2..).unwrap_or_default();
        let deadline = radio.deadline();
        radio.tick(now);
        assert!(deadline.is_none_or(|due| due > now) || radio.deadline().is_none_or(|due| due > now));
        drain(&mut radio, now);
    }
}

/// A message that was read is one line when it is written.
fn written(line: &[u8]) {
    let texts = [FromPlugin::parse(line).map(|m| m.to_line()), ToPlugin::parse(line).map(|m| m.to_line())];
    for text in texts.into_iter().flatten() {
        assert_eq!(text.find('\n'), Some(text.len() - 1));
    }
}

fn drain(radio: &mut Radio, now: Duration) {
    while let Some(output) = radio.poll() {
        match output {
            Output::Start => radio.started(now, radio.starts),
            Output::Rx(frame) => {
                assert!((1..=255).contains(&frame.data.len()) && frame.snr_db.is_none_or(f32::is_finite));
            }
            Output::Ready(sheet) => {
                assert!(sheet.max_dbm_eirp.is_finite() && sheet.min_lead <= Duration::from_secs(10));
                assert!(matches!(radio.state, State::Ready { .. }));
            }
            Output::Write(line) => assert!(line.ends_with('\n')),
            Output::Fault(fault) => assert!(fault.is_none_or(|text| text.chars().count() <= 300)),
            Output::Facts => {
                for name in FactName::ALL {
                    assert!(radio.said.get(name).is_none_or(|value| name.takes(value)));
                }
                assert!(radio.said.is_empty() || radio.is_ready(), "facts end with their plugin");
            }
            Output::Kill | Output::TxDone { .. } | Output::Lost { .. } | Output::ClockJumped(_) => {}
        }
    }
    assert!(radio.plugin_counters.len() <= 64);
}
