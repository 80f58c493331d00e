//! The way of a frame in: radio, copies, kind of frame, device, MIC, counter, MAC commands, delivery.

use super::Network;
use super::answer::{Answer, Content};
use crate::counter::Verdict;
use crate::counters::Counters;
use crate::downlink::{Heard, Listening};
use crate::frame::{self, DataUp, Frame, Reject, UnverifiedData, UnverifiedJoin, VerifiedData};
use crate::join;
use crate::mac::{MacUp, link_adr};
use crate::output::{DropReason, Output, Uplink};
use crate::radio::RxFrame;
use crate::session::Session;
use crate::{DevEui, RadioId};
use core::time::Duration;

/// Longest PHYPayload a radio can report.
/// Counted: `drop_malformed`.
const MAX_FRAME: usize = 255;

/// Which of a device's sessions a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Current,
    Pending,
}

impl Network {
    pub(super) fn receive(&mut self, now: Duration, radio: RadioId, rx: RxFrame) {
        let Some(at) = self.air.date(now, radio, rx.at_us) else {
            return self.drop_frame(radio, DropReason::UnknownRadio, None);
        };
        if rx.data.len() > MAX_FRAME {
            return self.drop_frame(radio, DropReason::Malformed, None);
        }
        if self.plan.dr_index(rx.dr).is_none() {
            return self.drop_frame(radio, DropReason::NotInPlan, None);
        }
        let RxFrame { at_us, freq_hz, dr, rssi_dbm, snr_db, data } = rx;
        let heard = Heard { radio, at_us, at, freq_hz, dr, rssi_dbm, snr_db };
        let known = self.dedup.check(now, &data);
        self.counters.frames_forgotten = self.dedup.forgotten;
        if let Some(accepted_by) = known {
            if let Some(answer) = accepted_by.and_then(|dev_eui| self.answers.get_mut(&dev_eui))
                && !answer.listening.add(heard)
            {
                Counters::count(&mut self.counters.copies_dropped);
            }
            return self.drop_frame(radio, DropReason::Duplicate, None);
        }
        match frame::parse(&data) {
            Ok(Frame::Join(request)) => self.join(heard, &request),
            Ok(Frame::Data(data)) => self.data(heard, &data),
            Err(Reject::Malformed) => self.drop_frame(radio, DropReason::Malformed, None),
            Err(Reject::UnsupportedMajor) => self.drop_frame(radio, DropReason::UnsupportedMajor, None),
            Err(Reject::UnsupportedMtype) => self.drop_frame(radio, DropReason::UnsupportedMtype, None),
        }
    }

    fn join(&mut self, heard: Heard, request: &UnverifiedJoin) {
        let dev_eui = request.dev_eui;
        let accepted = match self.nodes.get_mut(&dev_eui) {
            Some(node) => {
                let is_taken = |addr| self.by_addr.contains_key(&addr);
                join::accept(node, request, &self.settings, &self.plan, is_taken)
            }
            None => Err(DropReason::UnknownDevice),
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => return self.drop_frame(heard.radio, reason, Some(dev_eui.to_string())),
        };
        Counters::count(&mut self.counters.joins);
        self.dedup.accepted(dev_eui);
        self.index_addresses(dev_eui);
        self.save(dev_eui);
        let listening = Listening::new(heard, self.plan.join_accept_delay());
        self.expect_answer(dev_eui, listening, Content::JoinAccept(accepted));
    }

    fn data(&mut self, heard: Heard, frame: &UnverifiedData) {
        let name = || Some(frame.dev_addr.to_string());
        let Some((dev_eui, which, verified, verdict)) = self.find_session(frame) else {
            let known = self.by_addr.contains_key(&frame.dev_addr);
            let reason = if known { DropReason::BadMic } else { DropReason::UnknownDevice };
            return self.drop_frame(heard.radio, reason, name());
        };
        match verdict {
            Verdict::Replay => self.drop_frame(heard.radio, DropReason::Replay(verified.fcnt), name()),
            Verdict::Retransmission => self.retransmission(heard, dev_eui, verified),
            Verdict::New => self.uplink(heard, dev_eui, which, verified),
            Verdict::Reset => {
                Counters::count(&mut self.counters.counter_resets);
                self.uplink(heard, dev_eui, which, verified);
            }
        }
    }

    /// The device and session whose key fits the frame's MIC. Several devices may share one address.
    fn find_session(&self, frame: &UnverifiedData) -> Option<(DevEui, Which, VerifiedData, Verdict)> {
        let devices = self.by_addr.get(&frame.dev_addr)?;
        devices.iter().find_map(|dev_eui| {
            let node = self.nodes.get(dev_eui)?;
            let try_session = |session: &Option<Session>, which| {
                let session = session.as_ref().filter(|session| session.dev_addr == frame.dev_addr)?;
                let (verified, verdict) = session.verify(frame, node.is_relaxed())?;
                Some((*dev_eui, which, verified, verdict))
            };
            try_session(&node.session, Which::Current).or_else(|| try_session(&node.pending, Which::Pending))
        })
    }

    /// The last uplink again: answered again, not delivered again (LoRaWAN 1.0.4 §4.3.1.2).
    fn retransmission(&mut self, heard: Heard, dev_eui: DevEui, verified: VerifiedData) {
        let Some(node) = self.nodes.get_mut(&dev_eui) else { return };
        let Some(session) = &mut node.session else { return };
        if !session.repeat() {
            let (reason, name) = (DropReason::Replay(verified.fcnt), session.dev_addr.to_string());
            return self.drop_frame(heard.radio, reason, Some(name));
        }
        let (fcnt, listening) = (verified.fcnt, Listening::new(heard, Duration::from_secs(session.rx1_delay_s.into())));
        let Some(up) = verified.open(&session.nwk_s_key, &session.app_s_key) else { return };
        let is_low = session.down.is_low();
        Counters::count(&mut self.counters.retransmissions);
        self.dedup.accepted(dev_eui);
        self.outputs.push_back(Output::Retransmission { dev_eui, fcnt });
        if is_low {
            self.save(dev_eui);
        }
        self.expect_answer(dev_eui, listening, Content::of(&up));
    }

    fn uplink(&mut self, heard: Heard, dev_eui: DevEui, which: Which, verified: VerifiedData) {
        let Some(node) = self.nodes.get_mut(&dev_eui) else { return };
        let session = match which {
            Which::Current => node.session.as_mut(),
            Which::Pending => node.pending.as_mut(),
        };
        let Some(session) = session else { return };
        let (fcnt, mic, dev_addr) = (verified.fcnt, verified.mic, session.dev_addr);
        let Some(up) = verified.open(&session.nwk_s_key, &session.app_s_key) else {
            return self.drop_frame(heard.radio, DropReason::Malformed, Some(dev_addr.to_string()));
        };
        session.accept(fcnt, mic);
        link_adr::answered(&mut session.pin, link_adr_answer(&up.mac));
        let rx1_delay = Duration::from_secs(session.rx1_delay_s.into());
        node.last_dr = Some(heard.dr);
        let activated = which == Which::Pending;
        if activated {
            node.session = node.pending.take();
            node.outbox.new_session();
        }
        let report = node.outbox.heard(up.ack);
        self.dedup.accepted(dev_eui);
        self.save(dev_eui);
        if activated {
            Counters::count(&mut self.counters.activations);
            self.index_addresses(dev_eui);
            self.outputs.push_back(Output::Activated { dev_eui, dev_addr });
        }
        self.report(dev_eui, report);
        let unanswered = up.mac.iter().filter(|command| **command == MacUp::Other).count();
        self.counters.mac_unanswered = self.counters.mac_unanswered.saturating_add(unanswered as u64);
        let content = Content::of(&up);
        Counters::count(&mut self.counters.uplinks);
        self.outputs.push_back(Output::Uplink(Uplink {
            dev_eui,
            dev_addr,
            fcnt,
            fport: up.fport,
            payload: up.payload,
            confirmed: up.confirmed,
            radio: heard.radio,
            at_us: heard.at_us,
            freq_hz: heard.freq_hz,
            dr: heard.dr,
            rssi_dbm: heard.rssi_dbm,
            snr_db: heard.snr_db,
        }));
        self.expect_answer(dev_eui, Listening::new(heard, rx1_delay), content);
    }

    /// The device now listens; what it gets is decided shortly before its windows. One that waits for its join accept says nothing
    /// else meanwhile: a data frame is an old one that somebody repeats.
    fn expect_answer(&mut self, dev_eui: DevEui, listening: Listening, content: Content) {
        let Some(node) = self.nodes.get(&dev_eui) else { return };
        let joins = self.answers.get(&dev_eui).is_some_and(Answer::is_join_accept);
        if joins && matches!(content, Content::Data { .. }) {
            return Counters::count(&mut self.counters.answers_superseded);
        }
        let answer = Answer::new(listening, content, node.last_ticket, &self.air);
        if self.answers.insert(dev_eui, answer).is_some() {
            Counters::count(&mut self.counters.answers_superseded);
        }
    }
}

impl Content {
    fn of(up: &DataUp) -> Content {
        Content::Data {
            ack: up.confirmed,
            must: up.confirmed || up.adr_ack_req,
            link_check: up.mac.contains(&MacUp::LinkCheckReq),
        }
    }
}

fn link_adr_answer(commands: &[MacUp]) -> Option<bool> {
    commands.iter().find_map(|command| match command {
        MacUp::LinkAdrAns { channel_mask, data_rate, power } => Some(*channel_mask && *data_rate && *power),
        _ => None,
    })
}
