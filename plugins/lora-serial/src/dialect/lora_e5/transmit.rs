//! Transmission at a given time: as in `rn2483/transmit.rs`, the line is loaded early and its end is written at the due
//! time. Needs the module's line timeout to be off, or it would forget the line.

use super::reply::Reply;
use super::{ANSWER_TIMEOUT, Expect, Job, LoraE5, STOP, Waiting};
use crate::dialect::queue::{ANSWER_PLANNED, Plan, SLACK};
use crate::dialect::transmission::{End, LineEnd, Stage, Transmission};
use crate::modem::{Output, TxRequest, TxStatus};
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
            let detail = Some("the modem is not ready".into());
            return self.done(End { id: request.id, status: TxStatus::Failed, margin_ms: None, detail });
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
        if let Err(end) = self.queue.admit(now, request, &plan, active) {
            return self.done(end);
        }
        if matches!(self.job, Job::Armed) && self.start_due_transmission(now) {
            self.run(now);
        }
    }

    /// Begins the first frame of the queue if it is time; whether it was.
    pub(super) fn start_due_transmission(&mut self, now: Duration) -> bool {
        let Some(pending) = self.queue.begin(now) else { return false };
        self.command(STOP, Expect::Stopped);
        let settings = self.settings_for(&pending.request);
        self.command(&settings, Expect::Configured(pending.request.freq_hz));
        self.job = Job::Transmit(Transmission::new(pending));
        true
    }

    /// The script of a stage has ended; whether there is a new one.
    pub(super) fn finish_stage(&mut self, now: Duration, mut transmission: Transmission) -> bool {
        if transmission.stage != Stage::Preparing {
            self.job = Job::Transmit(transmission);
            return false;
        }
        let data = hex::encode(&transmission.pending.request.data).to_uppercase();
        let loaded_at = now + self.line_time(TX_OVERHEAD + data.len());
        if let Err(end) = transmission.load(loaded_at) {
            self.done(end);
            self.restore();
            return true;
        }
        let line = format!("AT+TEST=TXLRPKT,\"{data}\"");
        self.outputs.push_back(Output::Write(line.into_bytes()));
        self.job = Job::Transmit(transmission);
        false
    }

    /// Writes the end of a loaded line when its time has come.
    pub(super) fn send_loaded(&mut self, now: Duration) {
        let echo = self.line_time(MAX_COMMAND_BYTES);
        let Job::Transmit(transmission) = &mut self.job else { return };
        match transmission.line_end(now) {
            LineEnd::Wait => {}
            LineEnd::Write(at) => {
                self.outputs.push_back(Output::WriteAt { at, bytes: b"\r\n".to_vec() });
                self.wait(at + ANSWER_TIMEOUT + echo, "AT+TEST=TXLRPKT".into(), Expect::TxAccepted);
            }
            LineEnd::TooLate(end) => {
                self.done(end);
                self.command("z", Expect::Anything);
                self.restore();
                self.run(now);
            }
        }
    }

    pub(super) fn handle_transmit_answer(&mut self, now: Duration, waiting: Waiting, reply: &Reply, text: &str) {
        let Job::Transmit(transmission) = &self.job else { return };
        let until = transmission.sent_by().max(waiting.until);
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
        self.done(transmission.end(status, detail));
        self.restore();
        self.run(now);
    }

    /// Ends a transmission that cannot be completed.
    pub(super) fn abandon(&mut self, why: &str) {
        if let Job::Transmit(transmission) = std::mem::replace(&mut self.job, Job::Off) {
            self.done(transmission.end(TxStatus::Failed, Some(why.to_string())));
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

    pub(super) fn done(&mut self, end: End) {
        self.count(end.counter());
        self.outputs.push_back(end.output());
    }
}
