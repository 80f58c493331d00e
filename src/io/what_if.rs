//! What the DTLS that was counted would have cost on the air, if it ran from the node itself over its own LoRaWAN link and
//! not from here. A model: datagrams are taken as long as their mean, and headers of IP and UDP, repetitions, confirmations
//! and the wait for windows are left out, so it is less than it would really be.
//!
//! Time on air is that of Semtech AN1200.13 and of the SX1276 data sheet §4.1.1.7, as the network uses it for its own frames.

use super::cost::Cost;
use crate::config::Power;
use crate::gateway::OwnLink;
use lpwad_lorawan::{DataRate, Region, time_on_air};
use serde_json::{Value, json};

/// Bytes around the payload of a frame: MHDR 1, FHDR 7 without options, FPort 1, MIC 4 (LoRaWAN 1.0.4 §4).
const AROUND: usize = 13;
/// The data rates between which a node is that was not heard yet.
const FASTEST: DataRate = DataRate { sf: 7, bw_hz: 125_000 };
const SLOWEST: DataRate = DataRate { sf: 12, bw_hz: 125_000 };

/// Frames, and their time on air in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Air {
    frames: u64,
    time_us: u64,
}

impl Air {
    /// Of so many datagrams with so many bytes together, each split into frames of at most `max_payload` bytes.
    fn of(dr: DataRate, max_payload: usize, datagrams: u64, bytes: u64) -> Air {
        if datagrams == 0 || max_payload == 0 {
            return Air::default();
        }
        let (each, max) = (bytes.div_ceil(datagrams), max_payload as u64);
        let frame_us = |payload: u64| time_on_air(dr, AROUND + payload as usize).as_micros() as u64;
        let (full, rest) = (each / max, each % max);
        let of_rest = if rest > 0 { frame_us(rest) } else { 0 };
        Air {
            frames: datagrams.saturating_mul(full + u64::from(rest > 0)),
            time_us: datagrams.saturating_mul(full.saturating_mul(frame_us(max)).saturating_add(of_rest)),
        }
    }

    fn and(self, other: Air) -> Air {
        Air { frames: self.frames.saturating_add(other.frames), time_us: self.time_us.saturating_add(other.time_us) }
    }

    fn without(self, other: Air) -> Air {
        Air { frames: self.frames.saturating_sub(other.frames), time_us: self.time_us.saturating_sub(other.time_us) }
    }

    /// At a duty cycle of 1 % a radio is done with it after a hundred times as long (ETSI EN 300 220-2).
    fn to_json(self) -> Value {
        json!({
            "more_frames": self.frames,
            "more_airtime_ms": self.time_us.div_ceil(1000),
            "at_1_percent_s": self.time_us.saturating_mul(100).div_ceil(1_000_000),
        })
    }
}

/// What DTLS adds at a data rate, up and down: its handshakes, and what records are longer than the CoAP in them.
fn added(cost: Cost, dr: DataRate) -> (Air, Air) {
    let max = Region::Eu868.max_payload(dr);
    let air = |datagrams, bytes| Air::of(dr, max, datagrams, bytes);
    let records = |datagrams, bytes, coap_bytes| air(datagrams, bytes).without(air(datagrams, coap_bytes));
    let up = air(cost.handshake_datagrams_out, cost.handshake_bytes_out);
    let down = air(cost.handshake_datagrams_in, cost.handshake_bytes_in);
    (
        up.and(records(cost.datagrams_out, cost.bytes_out, cost.coap_bytes_out)),
        down.and(records(cost.datagrams_in, cost.bytes_in, cost.coap_bytes_in)),
    )
}

/// Energy of the node in mJ: voltage times current times time.
fn energy_mj(power: Power, up: Air, down: Air) -> f64 {
    let charge = power.tx_current_ma * up.time_us as f64 + power.rx_current_ma * down.time_us as f64;
    (power.voltage_v * charge / 1e5).round() / 10.0
}

/// For `lpwad node show` and `lpwad policy explain`: at the data rate of the last uplink, or at the fastest and the slowest
/// where none was heard. Energy only where the profile says what the radio draws.
#[must_use]
pub fn of(cost: Cost, link: OwnLink) -> Value {
    let known = link.last_dr.filter(|dr| Region::Eu868.max_payload(*dr) > 0);
    let rates = match known {
        Some(dr) => vec![(dr, "of its last uplink")],
        None => vec![(FASTEST, "the fastest"), (SLOWEST, "the slowest")],
    };
    let at = rates.into_iter().map(|(dr, dr_is)| {
        let (up, down) = added(cost, dr);
        let mut at = json!({
            "dr": format!("SF{}BW{}", dr.sf, dr.bw_hz / 1000),
            "dr_is": dr_is,
            "max_payload_bytes": Region::Eu868.max_payload(dr),
            "up": up.to_json(),
            "down": down.to_json(),
        });
        if let Some(power) = link.power {
            at["energy_mj"] = energy_mj(power, up, down).into();
        }
        at
    });
    json!({
        "model": true,
        "of": "the same DTLS from the node itself, over its own link",
        "sources": ["Semtech AN1200.13", "SX1276 data sheet 4.1.1.7", "LoRaWAN 1.0.4 section 4", "ETSI EN 300 220-2"],
        "leaves_out": "IP and UDP headers, repetitions, confirmations, waits for windows; datagrams have their mean length",
        "at": at.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_06_time_on_air_is_that_of_a_published_example_and_of_a_calculation_by_hand() {
        // The spreadsheet "Formulas taken from AN1200.13" that users of public networks share has, for 13 bytes at SF9, coding
        // rate 4/5 and 125 kHz: 164.864 ms, and 16.4864 s between two starts at 1 %.
        let sf9 = time_on_air(DataRate { sf: 9, bw_hz: 125_000 }, AROUND).as_micros() as u64;
        let told = Air { frames: 1, time_us: sf9 }.to_json();
        assert_eq!((sf9, &told["at_1_percent_s"]), (164_864, &json!(17)));
        // 10 bytes of payload, 23 on the air: 12.25 + 8 + 5 * ceil(200 / 28) = 60.25 symbols of 1.024 ms at SF7, and 12.25 + 8 +
        // 5 * ceil(180 / 40) = 45.25 of 32.768 ms at SF12.
        assert_eq!(Air::of(FASTEST, 242, 1, 10), Air { frames: 1, time_us: 61_696 });
        assert_eq!(Air::of(SLOWEST, 51, 1, 10), Air { frames: 1, time_us: 1_482_752 });
        // 500 bytes at SF7: two frames of 242 bytes and one of 16. Symbols of 1.024 ms; 255 bytes on the air are 12.25 + 8 +
        // 5 * ceil(2056 / 28) = 390.25 of them, 29 bytes 12.25 + 8 + 5 * ceil(248 / 28) = 65.25.
        assert_eq!(Air::of(FASTEST, 242, 1, 500), Air { frames: 3, time_us: 2 * 399_616 + 66_816 });
        assert_eq!(Air::of(FASTEST, 242, 1, 484).frames, 2);
        assert_eq!(Air::of(FASTEST, 242, 0, 0), Air::default());
        assert_eq!(Air::of(FASTEST, 0, 1, 1), Air::default());
        let huge = Air::of(SLOWEST, 51, u64::MAX, u64::MAX).and(Air::of(SLOWEST, 51, 1, u64::MAX));
        assert_eq!(huge.time_us, u64::MAX);
    }

    #[test]
    fn s_06_payloads_are_as_long_as_the_region_has_them() {
        let of = |sf| Region::Eu868.max_payload(DataRate { sf, bw_hz: 125_000 });
        assert_eq!([7, 8, 9, 10, 11, 12].map(of), [242, 242, 115, 51, 51, 51]);
        assert_eq!(of(6), 0);
    }

    /// One handshake of 250 and 200 bytes in 2 datagrams each, and ten records with 20 bytes of CoAP each up.
    fn cost() -> Cost {
        Cost {
            handshakes: 1,
            handshake_datagrams_out: 2,
            handshake_datagrams_in: 2,
            handshake_bytes_out: 250,
            handshake_bytes_in: 200,
            datagrams_out: 10,
            bytes_out: 490,
            coap_bytes_out: 200,
            ..Cost::default()
        }
    }

    #[test]
    fn s_06_the_whole_is_handshakes_and_what_records_add_and_energy_only_by_the_profile() {
        // By hand at SF7: up 2 frames of 125 + 13 bytes (12.25 + 8 + 5 * 40 = 220.25 symbols each) and ten times the
        // difference of 49 + 13 bytes (12.25 + 8 + 5 * 19 = 115.25) and 20 + 13 bytes (12.25 + 8 + 5 * 10 = 70.25);
        // down 2 frames of 100 + 13 bytes (12.25 + 8 + 5 * 33 = 185.25).
        let up_us = (2 * 22_025 + 10 * (11_525 - 7_025)) * 1024 / 100;
        let down_us = 2 * 18_525 * 1024 / 100;
        let (up, down) = added(cost(), FASTEST);
        assert_eq!((up, down), (Air { frames: 2, time_us: up_us }, Air { frames: 2, time_us: down_us }));
        let mut link = OwnLink { last_dr: Some(FASTEST), power: None };
        let told = of(cost(), link);
        assert_eq!(told["model"], true);
        assert_eq!(told["at"].as_array().unwrap().len(), 1);
        assert_eq!(told["at"][0]["up"], json!({ "more_frames": 2, "more_airtime_ms": 912, "at_1_percent_s": 92 }));
        assert!(told["at"][0].get("energy_mj").is_none(), "{told}");
        // 3.3 V, 44 mA for 911.872 ms and 11.2 mA for 379.392 ms: 132.4 mJ and 14.0 mJ.
        link.power = Some(Power { voltage_v: 3.3, tx_current_ma: 44.0, rx_current_ma: 11.2 });
        assert_eq!(of(cost(), link)["at"][0]["energy_mj"], 146.4);
    }

    #[test]
    fn a_node_that_was_not_heard_or_not_by_a_rate_of_the_plan_gets_both_bounds() {
        for last_dr in [None, Some(DataRate { sf: 6, bw_hz: 125_000 })] {
            let told = of(cost(), OwnLink { last_dr, power: None });
            let rates: Vec<_> = told["at"].as_array().unwrap().iter().map(|at| at["dr"].clone()).collect();
            assert_eq!(rates, ["SF7BW125", "SF12BW125"]);
        }
    }
}
