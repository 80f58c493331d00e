//! Transmission at a given time, with a module that sends when it is told.
//!
//! The settings are changed and the whole `radio tx` line is written early, all but its end; the end of the line is
//! written at the due time, less its own time on the serial line and the module's delay. So the length of the frame and
//! the load of the host do not add to the error. Afterwards the settings are put back and reception begins again.
//!
//! A loaded line cannot be taken back, only spoiled: one character that is no hex digit makes it invalid.

use super::reply::Reply;
use super::{ANSWER_TIMEOUT, Expect, Job, Rn2483, Waiting};
use crate::dialect::queue::{ANSWER_PLANNED, Plan, SLACK};
use crate::dialect::transmission::{End, LineEnd, Stage, Transmission};
use crate::modem::{Output, TxRequest, TxStatus};
use std::time::Duration;

impl Rn2483 {
    pub(super) fn enqueue(&mut self, now: Duration, request: TxRequest) {
        if !self.announced || matches!(self.job, Job::Failed) {
            let detail = Some("the modem is not ready".into());
            return self.done(End { id: request.id, status: TxStatus::Failed, margin_ms: None, detail });
        }
        let commands = self.commands_for(&request);
        let bytes: usize = commands.iter().map(|command| command.len() + 6).sum::<usize>() + load_length(&request);
        let plan = Plan {
            lead: self.config.tx_offset + self.line_time(2),
            shortest: self.line_time(bytes),
            commands: commands.len(),
            max_bytes: 255,
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
        for command in self.commands_for(&pending.request) {
            let expect = if command == "radio rxstop" { Expect::Stopped } else { Expect::Setting };
            self.command(&command, expect);
        }
        self.power_dbm = self.power_for(&pending.request);
        self.job = Job::Transmit(Transmission::new(pending));
        true
    }

    /// The script of a stage has ended; whether there is a new one.
    pub(super) fn finish_stage(&mut self, now: Duration, mut transmission: Transmission) -> bool {
        if transmission.stage != Stage::Preparing {
            self.job = Job::Transmit(transmission);
            return false;
        }
        let line = format!("radio tx {}", lpwad_link::hex::encode(&transmission.pending.request.data).to_uppercase());
        let loaded_at = now + self.line_time(line.len());
        if let Err(end) = transmission.load(loaded_at) {
            self.done(end);
            self.restore(&transmission.pending.request);
            return true;
        }
        self.outputs.push_back(Output::Write(line.into_bytes()));
        self.job = Job::Transmit(transmission);
        false
    }

    /// Writes the end of a loaded line when its time has come.
    pub(super) fn send_loaded(&mut self, now: Duration) {
        let Job::Transmit(transmission) = &mut self.job else { return };
        let request = transmission.pending.request.clone();
        match transmission.line_end(now) {
            LineEnd::Wait => {}
            LineEnd::Write(at) => {
                self.outputs.push_back(Output::WriteAt { at, bytes: b"\r\n".to_vec() });
                self.wait(at + ANSWER_TIMEOUT, "radio tx".into(), Expect::TxAccepted);
            }
            LineEnd::TooLate(end) => {
                self.done(end);
                self.command("z", Expect::Anything);
                self.restore(&request);
                self.run(now);
            }
        }
    }

    pub(super) fn handle_transmit_answer(&mut self, now: Duration, waiting: Waiting, reply: &Reply, text: &str) {
        let Job::Transmit(transmission) = &self.job else { return };
        let (request, until) = (transmission.pending.request.clone(), transmission.sent_by());
        let (status, detail) = match (waiting.expect, reply) {
            (Expect::TxAccepted, Reply::Ok) => return self.wait(until, waiting.command, Expect::TxDone),
            (Expect::TxAccepted | Expect::TxDone, Reply::TxOk) => {
                self.note_turnaround(now);
                (TxStatus::Sent, None)
            }
            (_, Reply::Busy) => (TxStatus::Busy, Some(format!("modem answers busy to {:?}", waiting.command))),
            (Expect::TxDone, Reply::RadioErr) => (TxStatus::Failed, Some("modem answers radio_err".to_string())),
            (Expect::TxDone, _) => {
                self.count("garbage_lines");
                return self.wait(waiting.until, waiting.command, waiting.expect);
            }
            _ => (TxStatus::Failed, Some(format!("modem answers {text:?} to {:?}", waiting.command))),
        };
        if let Job::Transmit(transmission) = &self.job {
            self.done(transmission.end(status, detail));
        }
        self.script.clear();
        self.restore(&request);
        self.run(now);
    }

    /// Ends a transmission that cannot be completed.
    pub(super) fn abandon(&mut self, why: &str) {
        if let Job::Transmit(transmission) = std::mem::replace(&mut self.job, Job::Off) {
            self.done(transmission.end(TxStatus::Failed, Some(why.to_string())));
        }
    }

    /// Time that the longest frame with all settings changed needs before its own time.
    pub(super) fn longest_preparation(&self) -> Duration {
        const LONGEST_COMMANDS: usize = 7 * 30;
        let lead = self.config.tx_offset + SLACK + ANSWER_PLANNED * 8;
        lead + self.line_time(LONGEST_COMMANDS + "radio tx ".len() + 2 * 255 + 2)
    }

    /// Puts the settings back and listens again.
    fn restore(&mut self, request: &TxRequest) {
        self.job = Job::Rearm;
        let (freq_hz, dr) = (self.config.freq_hz, self.config.dr);
        let settings = [
            Some("iqi off".to_string()).filter(|_| request.iq_inverted),
            Some("crc on".to_string()),
            Some(format!("freq {freq_hz}")).filter(|_| request.freq_hz != freq_hz),
            Some(format!("sf sf{}", dr.sf)).filter(|_| request.dr.sf != dr.sf),
            Some(format!("bw {}", dr.bw_hz / 1000)).filter(|_| request.dr.bw_hz != dr.bw_hz),
        ];
        for setting in settings.into_iter().flatten() {
            self.command(&format!("radio set {setting}"), Expect::Setting);
        }
        self.command("radio rx 0", Expect::Listening);
    }

    fn commands_for(&self, request: &TxRequest) -> Vec<String> {
        let power_dbm = self.power_for(request);
        let set = |changed: bool, setting: String| Some(format!("radio set {setting}")).filter(|_| changed);
        let commands = [
            Some("radio rxstop".to_string()),
            set(request.iq_inverted, "iqi on".into()),
            set(true, "crc off".into()),
            set(request.freq_hz != self.config.freq_hz, format!("freq {}", request.freq_hz)),
            set(request.dr.sf != self.config.dr.sf, format!("sf sf{}", request.dr.sf)),
            set(request.dr.bw_hz != self.config.dr.bw_hz, format!("bw {}", request.dr.bw_hz / 1000)),
            set(power_dbm != self.power_dbm, format!("pwr {power_dbm}")),
        ];
        commands.into_iter().flatten().collect()
    }

    /// Never more than asked for, never more than allowed, never less than the module can.
    fn power_for(&self, request: &TxRequest) -> i8 {
        let asked = request.dbm.floor().clamp(-128.0, 127.0) as i8;
        asked.min(self.config.max_dbm).max(-3)
    }

    /// How much later than expected the module reports the end: what is left to calibrate in `tx_offset_us`, plus the
    /// delay of the report itself.
    fn note_turnaround(&mut self, now: Duration) {
        if let Job::Transmit(Transmission { pending, .. }) = &self.job {
            let expected = pending.request.at + pending.airtime;
            let extra = now.saturating_sub(expected).as_micros();
            self.counters.insert("tx_extra_us", u64::try_from(extra).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn done(&mut self, end: End) {
        self.count(end.counter());
        self.outputs.push_back(end.output());
    }
}

/// Bytes of the `radio tx` line without its end.
fn load_length(request: &TxRequest) -> usize {
    "radio tx ".len() + 2 * request.data.len()
}
