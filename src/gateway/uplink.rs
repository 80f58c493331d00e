//! The way of an uplink from step 3 on: network → node → codec → object → client. Each step consumes what the one before
//! gave it:
//!
//! | step | in → out | where |
//! |---|---|---|
//! | 1 | serial bytes → line | the plugin, `plugins/lora-serial` |
//! | 2 | line → `RxFrame` | `src/radio`, `radios.rs` |
//! | 3 | `RxFrame` → `Uplink` | `crates/lorawan` |
//! | 4 | `Uplink` → `Node` | here, `fleet.rs` |
//! | 5 | payload → `Reading`s | `src/codec` |
//! | 6 | `Reading`s → changed values | `lpwad_lwm2m`, object tree |
//! | 7 | changed values → CoAP messages | `lpwad_lwm2m`, observe |
//! | 8, 9 | message → datagram → socket | `proxy.rs`, `src/io/udp.rs` |

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{Now, RadioIndex};
use crate::{codec, store::Table};
use lpwad_lorawan::{DataRate, Output as NetworkOutput, RadioId, TxFailure, TxFrame, Uplink};

/// LoRaWAN 1.0.4 §6.2.5: a device counts its DevNonce on for as long as its AppKey lives.
const NONCE_HINT: &str =
    "a replayed join request; or the node counts its DevNonce from the start again: give it a new AppKey";

impl Gateway {
    /// Step 3 gave something.
    pub(super) fn network_said(&mut self, now: Now, output: NetworkOutput) {
        match output {
            NetworkOutput::Uplink(uplink) => self.uplink(now, &uplink),
            NetworkOutput::Save { ticket, dev_eui, record } => self.persist.put_device(ticket, dev_eui, &record),
            NetworkOutput::Transmit { radio, frame } => self.transmit(radio, &frame),
            NetworkOutput::Downlink { dev_eui, id, outcome } => self.downlink_outcome(now, dev_eui, id, outcome),
            NetworkOutput::Joined { dev_eui, dev_addr, dev_nonce } => {
                let event = Event::new(Kind::NodeJoining).node(dev_eui).with("dev_addr", dev_addr);
                self.say(event.with("dev_nonce", dev_nonce));
            }
            NetworkOutput::Activated { dev_eui, dev_addr } => {
                self.say(Event::new(Kind::NodeJoined).node(dev_eui).with("dev_addr", dev_addr));
            }
            NetworkOutput::Retransmission { dev_eui, fcnt } => {
                self.say(Event::new(Kind::UplinkRepeated).node(dev_eui).with("fcnt", fcnt));
            }
            NetworkOutput::Dropped { radio, reason, dev_addr_or_eui } => {
                let reason = format!("{reason:?}");
                let kind = reason.split('(').next().unwrap_or_default();
                let Some(suppressed) = self.quota.take(now.mono, kind) else { return };
                let event = Event::new(Kind::FrameDropped).radio(&self.radio_name(radio)).with("reason", &reason);
                let event = event.with("from", dev_addr_or_eui.unwrap_or_else(|| "-".into()));
                let event = match kind {
                    "DevNonceReused" => event.with("hint", NONCE_HINT),
                    _ => event,
                };
                self.say(if suppressed > 0 { event.with("suppressed", suppressed) } else { event });
            }
            NetworkOutput::TxFailed { dev_eui, radio, reason } => {
                let kind = if reason == TxFailure::NoReport { Kind::TxdoneMissing } else { Kind::TransmitFailed };
                let event = Event::new(kind).node(dev_eui).radio(&self.radio_name(radio));
                self.say(event.with("reason", format!("{reason:?}")));
            }
        }
    }

    /// Steps 4 to 7.
    fn uplink(&mut self, now: Now, uplink: &Uplink) {
        let Some(id) = self.fleet.by_eui(uplink.dev_eui) else {
            self.count("uplinks_of_unknown_nodes");
            return;
        };
        let Some(node) = self.fleet.get_mut(id) else { return };
        let mut readings = node.hear(now.mono, now.unix_ms, uplink);
        let mut told = Vec::new();
        let mut problem = None;
        if let Some(fport) = uplink.fport.filter(|fport| *fport != 0) {
            let decoded = codec::decode(&node.profile, fport, &uplink.payload, now.unix_ms);
            told.clone_from(&decoded.readings);
            readings.extend(decoded.readings);
            problem = decoded.problem;
        }
        node.client.apply(now.mono, &readings);
        let record = node.values_record().to_bytes();
        self.persist.put(Table::Values, uplink.dev_eui, record);
        self.keep(now, uplink.dev_eui, told);
        self.dirty.insert(id);
        let event = Event::new(Kind::Uplink).node(uplink.dev_eui).radio(&self.radio_name(uplink.radio));
        let dash = || "-".to_string();
        self.say(
            event
                .with("fcnt", uplink.fcnt)
                .with("fport", uplink.fport.map_or_else(dash, |fport| fport.to_string()))
                .with("bytes", uplink.payload.len())
                .with("dr", dr_name(uplink.dr))
                .with("rssi_dbm", uplink.rssi_dbm.map_or_else(dash, |rssi| rssi.to_string()))
                .with("snr_db", uplink.snr_db.map_or_else(dash, |snr| snr.to_string())),
        );
        if let Some(problem) = problem {
            let event = Event::new(Kind::PayloadNotUnderstood).node(uplink.dev_eui).with("problem", problem);
            self.say(event.with("fcnt", uplink.fcnt));
        }
        self.speak(now, id);
    }

    fn transmit(&mut self, radio: RadioId, frame: &TxFrame) {
        let event = Event::new(Kind::Transmit).radio(&self.radio_name(radio)).with("bytes", frame.data.len());
        self.say(
            event
                .with("freq_hz", frame.freq_hz)
                .with("dr", dr_name(frame.dr))
                .with("airtime_ms", frame.airtime.as_millis()),
        );
        self.with_radio(RadioIndex(radio.0), |radio| radio.transmit(frame));
    }

    fn radio_name(&self, radio: RadioId) -> String {
        self.radios.get(usize::from(radio.0)).map_or_else(String::new, |radio| radio.name.clone())
    }
}

/// A data rate as people write it.
pub(super) fn dr_name(dr: DataRate) -> String {
    format!("SF{}BW{}", dr.sf, dr.bw_hz / 1000)
}
