//! The way of an answer out: what it says, when it may leave, by which radio, and what becomes of it.

use super::Network;
use crate::RadioId;
use crate::counters::Counters;
use crate::device::Node;
use crate::downlink::{Air, Heard, Listening, Slot, Window};
use crate::frame::{DataDown, FHDR_LEN, FRAME_OVERHEAD, MAX_FOPTS};
use crate::join::Accepted;
use crate::mac::{MacDown, link_adr, link_check};
use crate::output::{DownlinkOutcome, Output, RefusedReason, TxFailure};
use crate::radio::{TxFrame, TxOutcome};
use crate::session::PinState;
use crate::{DataRate, DevEui};
use core::time::Duration;

/// Transmissions that radios may have at once. More are not handed out.
/// Counted: `tx_no_window`.
const MAX_FLIGHTS: usize = 1024;

/// A radio has this long after the end of a transmission to tell what became of it.
/// Counted: `tx_no_report`.
const REPORT_WITHIN: Duration = Duration::from_secs(3);

/// An answer that is still to be decided.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) listening: Listening,
    pub(super) decide_at: Duration,
    window: Window,
    content: Content,
    /// An acknowledgement or join accept leaves only when this save is on disk.
    ticket: u64,
}

/// What the device is owed. Application data and commands of our own are added when the answer is decided.
#[derive(Debug)]
pub(super) enum Content {
    JoinAccept(Accepted),
    Data {
        ack: bool,
        /// Answer even with nothing to say: acknowledgement, or ADRACKReq (LoRaWAN 1.0.4 §4.3.1.1).
        must: bool,
        link_check: bool,
    },
}

impl Answer {
    pub(super) fn new(listening: Listening, content: Content, ticket: u64, air: &Air) -> Answer {
        let decide_at = air.decide_at(&listening, Window::Rx1);
        Answer { listening, decide_at, window: Window::Rx1, content, ticket }
    }

    pub(super) fn is_join_accept(&self) -> bool {
        matches!(self.content, Content::JoinAccept(_))
    }
}

/// A transmission that a radio has.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) dev_eui: DevEui,
    pub(super) radio: RadioId,
    pub(super) report_by: Duration,
    window: Window,
    listening: Listening,
    bytes: Vec<u8>,
    cargo: Cargo,
}

#[derive(Debug, Clone, Copy)]
enum Cargo {
    JoinAccept,
    Data { fcnt: u32, downlink: Option<u64> },
}

impl Flight {
    pub(super) fn downlink_id(&self) -> Option<u64> {
        match self.cargo {
            Cargo::JoinAccept => None,
            Cargo::Data { downlink, .. } => downlink,
        }
    }
}

/// A data answer, composed for one window. Its length is known, its counter is not taken yet.
struct Draft {
    fopts: Vec<MacDown>,
    with_downlink: bool,
    len: usize,
}

impl Network {
    /// Decides the answer for the window that is due. If it cannot leave in RX1, it is decided anew for RX2.
    pub(super) fn decide(&mut self, now: Duration, dev_eui: DevEui) {
        let Some(mut answer) = self.answers.remove(&dev_eui) else { return };
        let result = match &answer.content {
            Content::JoinAccept(accepted) => self.send_join_accept(now, dev_eui, &answer, accepted),
            Content::Data { ack, must, link_check } => {
                self.send_data(now, dev_eui, &answer, (*ack, *must, *link_check))
            }
        };
        match result {
            Ok(Decision::Sent) => {}
            Ok(Decision::NothingToSay) if answer.window == Window::Rx2 => {}
            Err(reason) if answer.window == Window::Rx2 => {
                self.counters.window_missed(reason);
                if let Some(best) = answer.listening.best() {
                    self.failed(dev_eui, best.radio, reason, None);
                }
            }
            // Something may still come for RX2.
            Ok(Decision::NothingToSay) | Err(_) => {
                if let Err(reason) = result {
                    self.counters.window_missed(reason);
                }
                answer.window = Window::Rx2;
                answer.decide_at = self.air.decide_at(&answer.listening, Window::Rx2);
                self.answers.insert(dev_eui, answer);
            }
        }
    }

    fn send_join_accept(
        &mut self,
        now: Duration,
        dev_eui: DevEui,
        answer: &Answer,
        accepted: &Accepted,
    ) -> Result<Decision, TxFailure> {
        if answer.ticket > self.saved_through {
            return Err(TxFailure::NotSaved);
        }
        let slot = self.find_slot(now, &answer.listening, answer.window, accepted.bytes.len())?;
        self.outputs.push_back(Output::Joined { dev_eui, dev_addr: accepted.dev_addr, dev_nonce: accepted.dev_nonce });
        let bytes = accepted.bytes.clone();
        self.launch(now, dev_eui, slot, answer.window, answer.listening.clone(), bytes, Cargo::JoinAccept);
        Ok(Decision::Sent)
    }

    fn send_data(
        &mut self,
        now: Duration,
        dev_eui: DevEui,
        answer: &Answer,
        (ack, must, link_check): (bool, bool, bool),
    ) -> Result<Decision, TxFailure> {
        self.refuse_what_never_fits(dev_eui, &answer.listening);
        let best = answer.listening.best().ok_or(TxFailure::RadioGone)?;
        let limit = self.max_mac_payload(best, answer.window);
        let Some(node) = self.nodes.get(&dev_eui) else { return Ok(Decision::NothingToSay) };
        let Some(session) = &node.session else { return Ok(Decision::NothingToSay) };
        let single_channel = self.air.sheet(best.radio).and_then(|sheet| sheet.single_channel);
        let mut commands = Vec::new();
        if link_check {
            commands.push(link_check::answer(best.dr, best.snr_db, answer.listening.radios()));
        }
        let link_adr = link_adr::request(&session.pin, single_channel, &self.plan);
        commands.extend(link_adr);
        let draft = draft(node, commands, limit);
        if !must && draft.fopts.is_empty() && !draft.with_downlink {
            return Ok(Decision::NothingToSay);
        }
        if (ack && answer.ticket > self.saved_through) || !session.down.is_available() {
            return Err(TxFailure::NotSaved);
        }
        let slot = self.find_slot(now, &answer.listening, answer.window, draft.len)?;

        let Some(node) = self.nodes.get_mut(&dev_eui) else { return Ok(Decision::NothingToSay) };
        let Some(session) = &mut node.session else { return Ok(Decision::NothingToSay) };
        let fcnt = session.down.take().ok_or(TxFailure::NotSaved)?;
        let downlink = if draft.with_downlink { node.outbox.due().cloned() } else { None };
        if let Some(freq_hz) = single_channel.map(|(freq_hz, _)| freq_hz)
            && link_adr.is_some_and(|request| draft.fopts.contains(&request))
        {
            link_adr::asked(&mut session.pin, freq_hz);
        }
        if downlink.is_some() {
            node.outbox.handed_over();
        }
        let more = downlink.as_ref().is_some_and(|downlink| downlink.more);
        let frame = DataDown {
            dev_addr: session.dev_addr,
            fcnt,
            confirmed: downlink.as_ref().is_some_and(|downlink| downlink.confirmed),
            ack,
            adr: matches!(session.pin.state, PinState::Asked | PinState::Yes),
            pending: more || node.outbox.has_more(),
            fopts: &draft.fopts,
            data: downlink.as_ref().map(|downlink| (downlink.fport, downlink.payload.as_slice())),
        };
        let bytes = frame.encode(&session.nwk_s_key, &session.app_s_key);
        let cargo = Cargo::Data { fcnt, downlink: downlink.map(|downlink| downlink.id) };
        self.launch(now, dev_eui, slot, answer.window, answer.listening.clone(), bytes, cargo);
        Ok(Decision::Sent)
    }

    /// Takes away the application downlink that fits neither window.
    fn refuse_what_never_fits(&mut self, dev_eui: DevEui, listening: &Listening) {
        let Some(best) = listening.best() else { return };
        let limits = [Window::Rx1, Window::Rx2].map(|window| self.max_mac_payload(best, window));
        let max = limits.into_iter().max().unwrap_or(0).saturating_sub(FHDR_LEN + 1);
        let Some(node) = self.nodes.get_mut(&dev_eui) else { return };
        if let Some(id) = node.outbox.due().filter(|due| due.payload.len() > max).map(|due| due.id) {
            node.outbox.refuse_due();
            self.report(dev_eui, Some((id, DownlinkOutcome::Refused(RefusedReason::TooLong { max }))));
        }
    }

    /// Gives a frame to a radio.
    #[expect(clippy::too_many_arguments, reason = "the parts of a flight, put together here and nowhere else")]
    fn launch(
        &mut self,
        now: Duration,
        dev_eui: DevEui,
        slot: Slot,
        window: Window,
        listening: Listening,
        bytes: Vec<u8>,
        cargo: Cargo,
    ) {
        let id = self.next_tx_id;
        self.next_tx_id += 1;
        self.air.book(now, id, &slot);
        let frame = TxFrame {
            id,
            at_us: slot.at_us,
            freq_hz: slot.freq_hz,
            dr: slot.dr,
            dbm_eirp: slot.dbm_eirp,
            data: bytes.clone(),
            airtime: slot.airtime,
        };
        let report_by = slot.end().max(now) + REPORT_WITHIN;
        self.flights.insert(id, Flight { dev_eui, radio: slot.radio, report_by, window, listening, bytes, cargo });
        self.outputs.push_back(Output::Transmit { radio: slot.radio, frame });
    }

    /// A radio told what became of a transmission. If it was not sent in RX1, the very same bytes are tried in RX2: they
    /// were never (knowingly) on the air, and should they have been, the device drops the second copy by its counter.
    pub(super) fn landed(&mut self, now: Duration, id: u64, flight: Flight, outcome: TxOutcome) {
        match outcome {
            TxOutcome::Sent => return self.sent(flight),
            TxOutcome::Late => self.air.release(flight.radio, id),
            TxOutcome::Failed => self.air.free(flight.radio, id),
            TxOutcome::Collision | TxOutcome::Busy => {}
        }
        let reason = TxFailure::Radio(outcome);
        self.counters.window_missed(reason);
        let fits = flight.listening.best().is_some_and(|best| {
            matches!(flight.cargo, Cargo::JoinAccept)
                || flight.bytes.len() <= self.max_mac_payload(best, Window::Rx2) + FRAME_OVERHEAD
        });
        if flight.window == Window::Rx1 && fits {
            match self.find_slot(now, &flight.listening, Window::Rx2, flight.bytes.len()) {
                Ok(slot) => {
                    let Flight { dev_eui, listening, bytes, cargo, .. } = flight;
                    return self.launch(now, dev_eui, slot, Window::Rx2, listening, bytes, cargo);
                }
                Err(missed) => self.counters.window_missed(missed),
            }
        }
        self.failed(flight.dev_eui, flight.radio, reason, flight.downlink_id());
    }

    fn sent(&mut self, flight: Flight) {
        match flight.cargo {
            Cargo::JoinAccept => Counters::count(&mut self.counters.join_accepts_sent),
            Cargo::Data { fcnt, downlink } => {
                Counters::count(&mut self.counters.downlinks_sent);
                let node = self.nodes.get_mut(&flight.dev_eui);
                let report = node.zip(downlink).and_then(|(node, id)| node.outbox.sent(id, fcnt));
                self.report(flight.dev_eui, report);
            }
        }
    }

    /// An answer is given up; a downlink in it waits for the next uplink.
    pub(super) fn failed(&mut self, dev_eui: DevEui, radio: RadioId, reason: TxFailure, downlink: Option<u64>) {
        Counters::count(&mut self.counters.answers_failed);
        self.outputs.push_back(Output::TxFailed { dev_eui, radio, reason });
        let node = self.nodes.get_mut(&dev_eui);
        let report = node.zip(downlink).and_then(|(node, id)| node.outbox.not_sent(id));
        self.report(dev_eui, report);
    }

    /// What this radio heard or has to send is worth nothing any more.
    pub(super) fn forget_radio(&mut self, radio: RadioId) {
        let lost: Vec<u64> = self.flights.iter().filter(|(_, f)| f.radio == radio).map(|(id, _)| *id).collect();
        for flight in lost.into_iter().filter_map(|id| self.flights.remove(&id)).collect::<Vec<_>>() {
            self.counters.window_missed(TxFailure::RadioGone);
            self.failed(flight.dev_eui, radio, TxFailure::RadioGone, flight.downlink_id());
        }
        for flight in self.flights.values_mut() {
            flight.listening.remove_radio(radio);
        }
        let mut unheard = Vec::new();
        self.answers.retain(|dev_eui, answer| {
            answer.listening.remove_radio(radio);
            let keep = answer.listening.best().is_some();
            if !keep {
                unheard.push(*dev_eui);
            }
            keep
        });
        for dev_eui in unheard {
            self.failed(dev_eui, radio, TxFailure::RadioGone, None);
        }
    }

    fn find_slot(&self, now: Duration, listening: &Listening, window: Window, len: usize) -> Result<Slot, TxFailure> {
        if self.flights.len() >= MAX_FLIGHTS {
            return Err(TxFailure::NoWindow);
        }
        self.air.find(now, listening, window, len, self.plan.bands(), |copy| self.window_params(copy, window))
    }

    fn window_params(&self, copy: &Heard, window: Window) -> Option<(u32, DataRate)> {
        match window {
            Window::Rx1 => self.plan.rx1(copy.freq_hz, copy.dr),
            Window::Rx2 => self.plan.rx2(),
        }
    }

    fn max_mac_payload(&self, copy: &Heard, window: Window) -> usize {
        self.window_params(copy, window).map_or(0, |(_, dr)| self.plan.max_mac_payload(dr))
    }
}

enum Decision {
    Sent,
    NothingToSay,
}

/// Puts into `limit` bytes of MACPayload what fits: application data first, then commands in their order.
fn draft(node: &Node, commands: Vec<MacDown>, limit: usize) -> Draft {
    let data_len = node.outbox.due().map(|due| 1 + due.payload.len()).filter(|len| FHDR_LEN + len <= limit);
    let mut mac_len = FHDR_LEN + data_len.unwrap_or(0);
    let mut fopts_len = 0;
    let mut fopts = Vec::new();
    for command in commands {
        let len = command.len();
        if mac_len + len <= limit && fopts_len + len <= MAX_FOPTS {
            mac_len += len;
            fopts_len += len;
            fopts.push(command);
        }
    }
    Draft { fopts, with_downlink: data_len.is_some(), len: mac_len + FRAME_OVERHEAD }
}
