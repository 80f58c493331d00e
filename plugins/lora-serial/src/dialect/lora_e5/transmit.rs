//! Transmission at a given time: as in `rn2483/transmit.rs`, the line is loaded early and its end is written at the due
//! time. Needs the module's line timeout to be off, or it would forget the line.

use super::reply::Reply;
use super::{ANSWER_TIMEOUT, Expect, Job, LoraE5, STOP, Waiting};
use crate::dialect::queue::{self, ANSWER_PLANNED, DONE_TIMEOUT, Pending, Plan, SLACK, TOLERANCE, signed_ms};
use crate::modem::{Output, TxRequest, TxStatus, WRITE_AHEAD};
use lpwad_link::hex;
use lpwad_link::units::LoraDr;
use std::time::Duration;

/// Longest command line of the module, with its end; from memory of its manual, not proven.
const MAX_COMMAND_BYTES: usize = 528;
/// The transmit command without its bytes: name, quotes.
const TX_OVERHEAD: usize = "AT+TEST=TXLRPKT,\"\"".len();
/// Longest frame, in bytes.
const MAX_FRAME_BYTES: usize = (MAX_COMMAND_BYTES - TX_OVERHEAD - 2) / 2;
/// The answers to stop and settings.
const ANSWER_BYTES: usize = 110;

/// A frame that is being sent.
pub(super) struct Transmission {
    pub(super) pending: Pending,
    pub(super) stage: Stage,
    margin_ms: i32,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Settings are being changed.
    Preparing,
    /// The line is in the module, all but its end.
    Loaded,
    /// The end of the line is written.
    Sending,
}

impl LoraE5 {
    /// The settings command; `iq_inverted` is `None` for reception, which has a CRC and plain IQ.
    pub(super) fn settings(&self, freq_hz: u32, dr: LoraDr, dbm: i8, iq_inverted: Option<bool>) -> String {
        let (mhz, rest) = (freq_hz / 1_000_000, freq_hz % 1_000_000);
        let mhz = if rest % 1_000 == 0 { format!("{mhz}.{:03}", rest / 1_000) } else { format!("{mhz}.{rest:06}") };
        let on_off = |flag| if flag { "ON" } else { "OFF" };
        let (crc, iq) = (on_off(iq_inverted.is_none()), on_off(iq_inverted == Some(true)));
        format!("AT+TEST=RFCFG,{mhz},SF{},{},8,8,{dbm},{crc},{iq},ON", dr.sf, dr.bw_hz / 1000)
    }

    fn settings_for(&self, request: &TxRequest) -> String {
        // Never more than asked for, never more than allowed, never less than the module can.
        let asked = request.dbm.floor().clamp(-128.0, 127.0) as i8;
        let dbm = asked.min(self.config.max_dbm).max(-3);
        self.settings(request.freq_hz, request.dr, dbm, Some(request.iq_inverted))
    }

    pub(super) fn enqueue(&mut self, now: Duration, request: TxRequest) {
        if !self.announced || matches!(self.job, Job::Failed) {
            return self.done(request.id, TxStatus::Failed, None, Some("the modem is not ready".into()));
        }
        let commands = STOP.len() + self.settings_for(&request).len() + 4;
        let plan = Plan {
            lead: self.config.tx_offset + self.line_time(2),
            shortest: self.line_time(commands + ANSWER_BYTES + TX_OVERHEAD + 2 * request.data.len()),
            commands: 2,
            max_bytes: MAX_FRAME_BYTES,
        };
        let active = match &self.job {
            Job::Transmit(transmission) => Some(&transmission.pending),
            _ => None,
        };
        let id = request.id;
        if let Err(refusal) = self.queue.admit(now, request, &plan, active) {
            return self.done(id, refusal.status, refusal.margin_ms, Some(refusal.detail));
        }
        if matches!(self.job, Job::Armed) && self.start_due_transmission(now) {
            self.run(now);
        }
    }

    /// Begins the first frame of the queue if it is time; whether it was.
    pub(super) fn start_due_transmission(&mut self, now: Duration) -> bool {
        let Some(pending) = self.queue.first_if(|pending| pending.begin_at <= now) else { return false };
        self.command(STOP, Expect::Stopped);
        let settings = self.settings_for(&pending.request);
        self.command(&settings, Expect::Configured(pending.request.freq_hz));
        self.job = Job::Transmit(Transmission { pending, stage: Stage::Preparing, margin_ms: 0 });
        true
    }

    /// The script of a stage has ended; whether there is a new one.
    pub(super) fn finish_stage(&mut self, now: Duration, mut transmission: Transmission) -> bool {
        if transmission.stage != Stage::Preparing {
            self.job = Job::Transmit(transmission);
            return false;
        }
        let request = &transmission.pending.request;
        let loaded_at = now + self.line_time(TX_OVERHEAD + 2 * request.data.len());
        transmission.margin_ms = signed_ms(transmission.pending.write_at, loaded_at);
        if loaded_at > transmission.pending.write_at + TOLERANCE {
            let detail = "the preparation took too long".to_string();
            self.done(request.id, TxStatus::Late, Some(transmission.margin_ms), Some(detail));
            self.restore();
            return true;
        }
        let line = format!("AT+TEST=TXLRPKT,\"{}\"", hex::encode(&request.data).to_uppercase());
        self.outputs.push_back(Output::Write(line.into_bytes()));
        transmission.stage = Stage::Loaded;
        self.job = Job::Transmit(transmission);
        false
    }

    /// Writes the end of a loaded line when its time has come.
    pub(super) fn send_loaded(&mut self, now: Duration) {
        let echo = self.line_time(MAX_COMMAND_BYTES);
        let Job::Transmit(transmission) = &mut self.job else { return };
        let write_at = transmission.pending.write_at;
        if transmission.stage != Stage::Loaded || now < write_at.saturating_sub(WRITE_AHEAD) {
            return;
        }
        if now <= write_at + TOLERANCE {
            transmission.stage = Stage::Sending;
            self.outputs.push_back(Output::WriteAt { at: write_at, bytes: b"\r\n".to_vec() });
            return self.wait(write_at + ANSWER_TIMEOUT + echo, "AT+TEST=TXLRPKT".into(), Expect::TxAccepted);
        }
        let (id, margin) = (transmission.pending.request.id, signed_ms(write_at, now));
        self.done(id, TxStatus::Late, Some(margin), Some("this host woke up too late".into()));
        self.command("z", Expect::Anything);
        self.restore();
        self.run(now);
    }

    pub(super) fn handle_transmit_answer(&mut self, now: Duration, waiting: Waiting, reply: &Reply, text: &str) {
        let Job::Transmit(transmission) = &self.job else { return };
        let (margin, id) = (Some(transmission.margin_ms), transmission.pending.request.id);
        let until = transmission.pending.write_at + transmission.pending.airtime + DONE_TIMEOUT;
        let until = until.max(waiting.until);
        let (status, detail) = match (waiting.expect, reply) {
            (Expect::TxAccepted, Reply::TxAccepted) => return self.wait(until, waiting.command, Expect::TxDone),
            (Expect::TxAccepted | Expect::TxDone, Reply::TxDone) => (TxStatus::Sent, None),
            (_, Reply::Other) => {
                self.count("garbage_lines");
                return self.wait(waiting.until, waiting.command, waiting.expect);
            }
            (_, Reply::Busy) => (TxStatus::Busy, Some(format!("modem answers busy to {:?}", waiting.command))),
            _ => (TxStatus::Failed, Some(format!("modem answers {text:?} to {:?}", waiting.command))),
        };
        self.done(id, status, margin, detail);
        self.restore();
        self.run(now);
    }

    /// Frames whose time has passed while the modem was busy with something else.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some(pending) = self.queue.first_if(|pending| pending.write_at <= now) {
            let margin = signed_ms(pending.write_at, now);
            let detail = "the modem was busy with something else".to_string();
            self.done(pending.request.id, TxStatus::Late, Some(margin), Some(detail));
        }
    }

    /// Ends a transmission that cannot be completed.
    pub(super) fn abandon(&mut self, why: &str) {
        if let Job::Transmit(transmission) = std::mem::replace(&mut self.job, Job::Off) {
            let margin = Some(transmission.margin_ms);
            self.done(transmission.pending.request.id, TxStatus::Failed, margin, Some(why.to_string()));
        }
    }

    pub(super) fn drop_queue(&mut self, why: &str) {
        while let Some(pending) = self.queue.pop() {
            self.done(pending.request.id, TxStatus::Failed, None, Some(why.to_string()));
        }
    }

    /// Time that the longest frame needs before its own time.
    pub(super) fn longest_preparation(&self) -> Duration {
        const COMMANDS: usize = 80;
        let lead = self.config.tx_offset + SLACK + ANSWER_PLANNED * 2;
        lead + self.line_time(COMMANDS + ANSWER_BYTES + MAX_COMMAND_BYTES)
    }

    /// Puts the settings back and listens again.
    fn restore(&mut self) {
        self.job = Job::Rearm;
        self.script.clear();
        self.listen();
    }

    fn done(&mut self, id: u64, status: TxStatus, margin: Option<i32>, detail: Option<String>) {
        self.count(queue::counter(status));
        self.outputs.push_back(Output::TxDone { id, status, margin, detail });
    }
}
