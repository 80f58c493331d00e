//! Events as JSON lines. Times (`at_us`, `start_us`, `end_us`) are microseconds since the simulator's start.

use crate::air::{AirEvent, Direction};
use crate::rig::RigOutput;
use lpwad_link::hex;
use serde_json::{Value, json};
use std::time::Duration;

/// The event of a rig as one JSON object, or `None` if it is none for people and tests.
#[must_use]
pub fn of(at: Duration, output: &RigOutput) -> Option<Value> {
    let mut value = match output {
        RigOutput::ToHost(_) | RigOutput::Line { .. } | RigOutput::Air(AirEvent::ToGateway(_)) => return None,
        RigOutput::ModemMissed(reason) => json!({"event": "missed", "dir": "up", "reason": reason}),
        RigOutput::Air(event) => air(event),
    };
    value["at_us"] = micros(at).into();
    Some(value)
}

/// An error as a JSON line.
#[must_use]
pub fn error(detail: &str) -> Value {
    json!({"event": "error", "detail": detail})
}

fn air(event: &AirEvent) -> Value {
    match event {
        AirEvent::OnAir { direction, start, end, frame } => json!({
            "event": "air", "dir": dir(*direction), "freq_hz": frame.on.freq_hz, "sf": frame.on.sf,
            "bw_hz": frame.on.bw_hz, "iq_inverted": frame.iq_inverted, "crc": frame.crc,
            "sync_word": frame.sync_word, "preamble": frame.preamble, "power_dbm": frame.power_dbm,
            "start_us": micros(*start), "end_us": micros(*end), "data": hex::encode(&frame.data),
        }),
        AirEvent::ToGateway(heard) => json!({
            "event": "to_gateway", "rssi_dbm": heard.rssi_dbm, "snr_db": heard.snr_db,
            "data": hex::encode(&heard.frame.data),
        }),
        AirEvent::UplinkSent { dev_eui, fcnt, uplink } => json!({
            "event": "uplink", "dev_eui": dev_eui.to_string(), "fcnt": fcnt, "fport": uplink.fport,
            "payload": hex::encode(&uplink.payload), "confirmed": uplink.confirmed,
        }),
        AirEvent::NodeJoined { dev_eui, dev_addr } => json!({
            "event": "joined", "dev_eui": dev_eui.to_string(), "dev_addr": hex::encode(dev_addr),
        }),
        AirEvent::JoinFailed { dev_eui } => json!({"event": "join_failed", "dev_eui": dev_eui.to_string()}),
        AirEvent::NodeReceived { dev_eui, fcnt, fport, payload, confirmed, window, window_error_us } => json!({
            "event": "received", "dev_eui": dev_eui.to_string(), "fcnt": fcnt, "fport": fport,
            "payload": hex::encode(payload), "confirmed": confirmed, "window": window.to_string(),
            "window_error_us": window_error_us,
        }),
        AirEvent::Acked { dev_eui, fcnt } => json!({"event": "acked", "dev_eui": dev_eui.to_string(), "fcnt": fcnt}),
        AirEvent::NoAck { dev_eui, fcnt } => json!({"event": "no_ack", "dev_eui": dev_eui.to_string(), "fcnt": fcnt}),
        AirEvent::Missed { direction, dev_eui, reason, window_error_us } => json!({
            "event": "missed", "dir": dir(*direction), "dev_eui": dev_eui.map(|eui| eui.to_string()),
            "reason": reason, "window_error_us": window_error_us,
        }),
        AirEvent::NodeBroken { dev_eui, detail } => json!({
            "event": "node_broken", "dev_eui": dev_eui.to_string(), "detail": detail,
        }),
    }
}

fn dir(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
