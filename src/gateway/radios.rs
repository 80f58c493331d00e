//! Between the radios and the network: step 2 of an uplink (line → `RxFrame`), and what radios report.

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{Now, RadioIndex};
use super::output::Output;
use super::sight::worst;
use crate::radio::{self, Cause, Radio};
use lpwad_lorawan::{RadioId, TxOutcome};

impl Gateway {
    pub(super) fn with_radio(&mut self, index: RadioIndex, change: impl FnOnce(&mut Radio)) {
        if let Some(radio) = self.radios.get_mut(usize::from(index.0)) {
            change(radio);
        }
    }

    /// Passes on what the radios want and say; true if there was nothing.
    pub(super) fn drain_radios(&mut self, now: Now) -> bool {
        let mut quiet = true;
        for number in 0..self.radios.len() {
            let index = RadioIndex(number as u16);
            while let Some(output) = self.radios.get_mut(number).and_then(Radio::poll) {
                self.radio_said(now, index, output);
                quiet = false;
            }
        }
        quiet
    }

    fn radio_said(&mut self, now: Now, index: RadioIndex, output: radio::Output) {
        let id = RadioId(index.0);
        let name = self.radios.get(usize::from(index.0)).map_or_else(String::new, |radio| radio.name.clone());
        match output {
            radio::Output::Start => self.outputs.push_back(Output::StartPlugin(index)),
            radio::Output::Write(line) => self.outputs.push_back(Output::WritePlugin(index, line)),
            radio::Output::Kill => self.outputs.push_back(Output::KillPlugin(index)),
            radio::Output::Ready(sheet) => {
                let mut event = Event::new(Kind::RadioReady).radio(&name).with("max_dbm_eirp", sheet.max_dbm_eirp);
                if let Some((freq_hz, dr)) = sheet.single_channel {
                    event = event.with("freq_hz", freq_hz).with("dr", super::uplink::dr_name(dr));
                }
                self.say(event);
                self.network.add_radio(id, sheet);
            }
            radio::Output::Rx(frame) => self.network.handle_rx(now.mono, id, frame),
            radio::Output::TxDone { id: frame, outcome, margin_ms } => {
                if outcome != TxOutcome::Sent {
                    let event = Event::new(Kind::TransmitFailed).radio(&name).with("reason", format!("{outcome:?}"));
                    self.say_rarely(now, event.with("tx_margin_ms", margin_ms.map_or("-".into(), |ms| ms.to_string())));
                }
                if !self.network.handle_tx_done(now.mono, id, frame, outcome) {
                    self.say_rarely(now, Event::new(Kind::TxdoneUnexpected).radio(&name));
                }
            }
            radio::Output::Lost { cause, reason, retry_in } => {
                self.network.remove_radio(id);
                if let Some(kind) = kind_of(cause) {
                    self.say(Event::new(kind).radio(&name).with("reason", &reason));
                }
                let event = Event::new(Kind::RadioLost).radio(&name).with("reason", reason);
                self.say(event.with("retry_in_ms", retry_in.as_millis()));
            }
            radio::Output::Fault(Some(fault)) => {
                self.say_rarely(now, Event::new(Kind::RadioFault).radio(&name).with("fault", fault));
            }
            radio::Output::ClockJumped(ms) => {
                self.say_rarely(now, Event::new(Kind::RadioClockJumped).radio(&name).with("jump_ms", ms));
            }
            radio::Output::Facts => {
                self.gate.hear(worst(self.radios.iter().map(|radio| &radio.said)));
                self.review(now);
            }
            radio::Output::Fault(None) => self.say_rarely(now, Event::new(Kind::RadioRecovered).radio(&name)),
        }
    }

    /// Says what a plugin can cause at will: ten times a minute for each kind.
    pub(super) fn say_rarely(&mut self, now: Now, event: Event) {
        match self.quota.take(now.mono, event.kind.name()) {
            Some(0) => self.say(event),
            Some(suppressed) => self.say(event.with("suppressed", suppressed)),
            None => self.count("events_not_said"),
        }
    }
}

/// The event that names why a radio is lost; a fault that the plugin told has been said already.
fn kind_of(cause: Cause) -> Option<Kind> {
    match cause {
        Cause::Fault => None,
        Cause::Ended => Some(Kind::PluginEnded),
        Cause::Silent => Some(Kind::PluginSilent),
        Cause::Garbage => Some(Kind::PluginGarbage),
        Cause::LineTooLong => Some(Kind::PluginLineTooLong),
        Cause::Flood => Some(Kind::PluginFlood),
        Cause::Incompatible => Some(Kind::PluginIncompatible),
        Cause::Sheet => Some(Kind::PluginSheetRefused),
        Cause::NotReading => Some(Kind::PluginNotReading),
    }
}
