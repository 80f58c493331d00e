//! The host side of the plugin link: one state machine per radio, from `hello` to frames. It is pure: lines in, lines
//! out. What a plugin says is believed only as far as it can do no harm; a plugin that is silent, speaks garbage or dies
//! is stopped and started again after a growing delay.

mod cause;
mod output;
mod said;

pub use cause::Cause;
pub use output::Output;
pub use said::Said;

use core::time::Duration;
use lpwad_link::message::{
    Channel, Configure, FromPlugin, Hello, Ready, Rx, Status, Stop, ToPlugin, Tx, TxDone, TxStatus,
};
use lpwad_link::units::{LoraDr, Unwrap};
use lpwad_link::{ParseError, version};
use lpwad_lorawan::{DataRate, RadioSheet, RxFrame, TxFrame, TxOutcome};
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// How long a plugin that is started again may wait for the end of the one before it, which the kernel may hold.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a plugin may take for its `hello`.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a plugin may take from `configure` to `ready`.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Status period that plugins are asked for, in s; three times as long without a line is silence.
const STATUS_PERIOD_S: u32 = 10;
/// Shortest and longest wait before a failed plugin is started again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Bound: A plugin that was ready for so long counts as recovered: the next restart comes quickly again.
const RECOVERED_AFTER: Duration = Duration::from_secs(120);
/// Bad lines in a row after which a plugin is restarted.
/// Counted: `bad_lines`.
const MAX_BAD_LINES: u32 = 20;
/// Bound: Radiated power that a radio may claim to have, in dBm EIRP; what is allowed is another matter.
const POSSIBLE_DBM_EIRP: core::ops::RangeInclusive<f32> = -60.0..=60.0;
/// How much a frame may be later than the one before it in reaching us, in ms: the radio clock did not jump then.
/// Counted: `clock_jumps`.
const MAX_DELAY_MS: i64 = 2_000;
/// By how much two clocks may differ, in millionths.
const MAX_DRIFT_PPM: i64 = 200;
/// Longest frame in bytes.
/// Counted: `bad_lines`.
const MAX_FRAME_BYTES: usize = 255;
/// Counters of a plugin that are kept of one report; more are left out.
const MAX_PLUGIN_COUNTERS: usize = 64;
/// Longest fault that a plugin may tell, in characters; the rest is cut off.
const MAX_FAULT_CHARS: usize = 300;
/// Longest time before a transmission that a radio may ask for, in ms; a longer one counts as this.
const MAX_MIN_LEAD_MS: u32 = 10_000;
/// Most lines in one second; a radio hears at most some 20 frames per second and channel.
const MAX_LINES_PER_S: u32 = 500;

/// Where a radio stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The shell was asked to start the plugin.
    Starting,
    /// Waits for the plugin's `hello`.
    Hello {
        /// Not after.
        until: Duration,
    },
    /// Waits for `ready`.
    Configuring {
        /// Not after.
        until: Duration,
    },
    /// Frames flow.
    Ready {
        /// Since.
        since: Duration,
        /// What it can do.
        sheet: Ready,
    },
    /// Started again at `until`.
    Failed {
        /// When it is started again.
        until: Duration,
    },
    /// Told to stop; not started again.
    Stopping,
}

/// The host side of one radio.
#[derive(Debug)]
pub struct Radio {
    /// Name of the instance.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Fault last reported by the plugin, or why it was stopped.
    pub fault: Option<String>,
    /// The plugin's own counters, as last reported.
    pub plugin_counters: Map<String, Value>,
    /// Frames heard.
    pub rx_frames: u64,
    /// Frames that were on air.
    pub tx_frames: u64,
    /// Lines that were no message, oversize, or out of turn.
    pub bad_lines: u64,
    /// How often the plugin was started.
    pub starts: u64,
    /// How often its clock jumped.
    pub clock_jumps: u64,
    /// Facts of names that this version does not know.
    pub unknown_facts: u64,
    /// What this run of the plugin said of its modem's network.
    pub said: Said,
    /// When a start that nothing came of is given up. The first start waits for no other process, and has none.
    start_until: Option<Duration>,
    /// Fault that this run of the plugin reported.
    reported: Option<String>,
    settings: Map<String, Value>,
    channels: Vec<Channel>,
    clock: Unwrap,
    /// Stamp of the newest frame, and when it came.
    newest_rx: Option<(u32, Duration)>,
    last_line: Duration,
    bad_in_a_row: u32,
    second: (Duration, u32),
    failures: u32,
    jitter: u64,
    outputs: VecDeque<Output>,
}

impl Radio {
    /// A radio that asks to be started at once. `seed` decides the jitter of restarts.
    #[must_use]
    pub fn new(name: String, settings: Map<String, Value>, channels_hz: &[u32], seed: u64) -> Radio {
        let channels = channels_hz.iter().map(|freq_hz| Channel { freq_hz: *freq_hz, bw_hz: 125_000 }).collect();
        Radio {
            name,
            state: State::Starting,
            fault: None,
            plugin_counters: Map::new(),
            rx_frames: 0,
            tx_frames: 0,
            bad_lines: 0,
            starts: 1,
            clock_jumps: 0,
            unknown_facts: 0,
            said: Said::default(),
            start_until: None,
            reported: None,
            settings,
            channels,
            clock: Unwrap::default(),
            newest_rx: None,
            last_line: Duration::ZERO,
            bad_in_a_row: 0,
            second: (Duration::ZERO, 0),
            failures: 0,
            jitter: seed | 1,
            outputs: VecDeque::from([Output::Start]),
        }
    }

    /// The next thing it wants or says.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether frames can be sent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// The plugin's `run`-th process runs: say who we are.
    pub fn started(&mut self, now: Duration, run: u64) {
        if self.state != State::Starting || run != self.starts {
            return;
        }
        self.reported = None;
        self.state = State::Hello { until: now + HELLO_TIMEOUT };
        self.last_line = now;
        self.bad_in_a_row = 0;
        self.clock = Unwrap::default();
        self.newest_rx = None;
        let hello = Hello {
            protocol: version::PROTOCOL.into(),
            version: version::VERSION.into(),
            features: Vec::new(),
            plugin: None,
            kind: None,
        };
        self.write(&ToPlugin::Hello(hello));
    }

    /// The plugin's `run`-th process ended, or could not be started. The end of an earlier one is no news.
    pub fn exited(&mut self, now: Duration, run: u64, how: &str) {
        if run != self.starts {
            return;
        }
        match self.state {
            State::Failed { .. } => {}
            State::Stopping => self.fault = None,
            _ => {
                let (cause, reason) = match &self.reported {
                    Some(fault) => (Cause::Fault, format!("{fault} ({how})")),
                    None => (Cause::Ended, how.to_string()),
                };
                self.fail(now, cause, reason, false);
            }
        }
    }

    /// The plugin's `run`-th process did not read what it was told; it has been killed.
    pub fn not_reading(&mut self, now: Duration, run: u64) {
        if run == self.starts && !matches!(self.state, State::Failed { .. } | State::Stopping) {
            self.fail(now, Cause::NotReading, "plugin does not read what it is told".into(), false);
        }
    }

    /// A line of the `run`-th process came, without its end; `Err` is an oversize one.
    pub fn line(&mut self, now: Duration, run: u64, line: Result<&[u8], lpwad_link::Oversize>) {
        if run != self.starts || matches!(self.state, State::Failed { .. } | State::Starting | State::Stopping) {
            return;
        }
        if now.saturating_sub(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        if self.second.1 > MAX_LINES_PER_S {
            let reason = format!("plugin writes more than {MAX_LINES_PER_S} lines per second");
            return self.fail(now, Cause::Flood, reason, true);
        }
        if let Err(oversize) = line {
            self.bad_lines += 1;
            return self.fail(now, Cause::LineTooLong, format!("plugin writes a {oversize}"), true);
        }
        match line.map_err(|error| error.to_string()).and_then(|line| match FromPlugin::parse(line) {
            Ok(message) => Ok(Some(message)),
            Err(ParseError::Unknown(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }) {
            Ok(message) => {
                self.last_line = now;
                let before = self.bad_lines;
                if let Some(message) = message {
                    self.message(now, message);
                }
                if self.bad_lines == before {
                    self.bad_in_a_row = 0;
                }
            }
            Err(problem) => self.bad_line(now, &problem),
        }
    }

    /// Sends a frame. A radio that is not ready, cannot invert IQ or cannot use the frequency answers `Late` at once: nothing
    /// was on air.
    pub fn transmit(&mut self, frame: &TxFrame) {
        if !self.can_send(frame.freq_hz) {
            self.outputs.push_back(Output::TxDone { id: frame.id, outcome: TxOutcome::Late, margin_ms: None });
            return;
        }
        self.write(&ToPlugin::Tx(Tx {
            id: frame.id,
            at_us: Unwrap::wrap(frame.at_us),
            freq_hz: frame.freq_hz,
            dr: LoraDr { sf: frame.dr.sf, bw_hz: frame.dr.bw_hz },
            dbm_eirp: frame.dbm_eirp,
            iq_inverted: true,
            data: frame.data.clone(),
        }));
    }

    fn can_send(&self, freq_hz: u32) -> bool {
        let State::Ready { sheet, .. } = &self.state else { return false };
        let ranges = &sheet.freq_ranges_hz;
        sheet.inverted_iq && (ranges.is_empty() || ranges.iter().any(|[low, high]| (*low..=*high).contains(&freq_hz)))
    }

    /// Asks the plugin to stop, for good.
    pub fn stop(&mut self) {
        if matches!(self.state, State::Hello { .. } | State::Configuring { .. } | State::Ready { .. }) {
            self.write(&ToPlugin::Stop(Stop {}));
        }
        self.state = State::Stopping;
    }

    /// When [`Radio::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Stopping => None,
            State::Starting => self.start_until,
            State::Hello { until } | State::Configuring { until } | State::Failed { until } => Some(until),
            State::Ready { .. } => {
                let silent = self.last_line + silence();
                Some(self.said.deadline().map_or(silent, |expires| expires.min(silent)))
            }
        }
    }

    /// Restarts what is due, gives up what is overdue.
    pub fn tick(&mut self, now: Duration) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match self.state {
            State::Failed { .. } => {
                self.state = State::Starting;
                self.start_until = Some(now + START_TIMEOUT);
                self.starts += 1;
                self.outputs.push_back(Output::Start);
            }
            State::Starting => {
                let waited_s = START_TIMEOUT.as_secs();
                let reason = format!("plugin could not be started for {waited_s} s: the one before it does not end");
                self.fail(now, Cause::Silent, reason, true);
            }
            State::Hello { .. } => self.fail(now, Cause::Silent, "plugin says no hello".into(), true),
            State::Configuring { .. } => match self.reported.clone() {
                Some(fault) => self.fail(now, Cause::Fault, fault, true),
                None => self.fail(now, Cause::Silent, "plugin does not get ready".into(), true),
            },
            State::Ready { .. } if self.last_line + silence() > now => {
                if self.said.expire(now) {
                    self.outputs.push_back(Output::Facts);
                }
            }
            State::Ready { .. } => {
                self.fail(now, Cause::Silent, format!("plugin is silent for {} s", silence().as_secs()), true);
            }
            State::Stopping => {}
        }
    }

    fn message(&mut self, now: Duration, message: FromPlugin) {
        match (&self.state, message) {
            (State::Hello { .. }, FromPlugin::Hello(hello)) => self.hello(now, &hello),
            (State::Configuring { .. }, FromPlugin::Ready(ready)) => self.ready(now, ready),
            (State::Ready { .. }, FromPlugin::Rx(rx)) => self.rx(now, rx),
            (State::Ready { .. }, FromPlugin::Txdone(done)) => self.tx_done(&done),
            (State::Ready { .. }, FromPlugin::Fact(fact)) => self.fact(now, fact),
            (State::Configuring { .. } | State::Ready { .. }, FromPlugin::Status(status)) => self.status(status),
            _ => self.bad_line(now, "message out of turn"),
        }
    }

    fn hello(&mut self, now: Duration, hello: &Hello) {
        if let Err(mismatch) = version::check(&hello.protocol, &hello.version) {
            return self.fail(now, Cause::Incompatible, mismatch.to_string(), true);
        }
        if hello.kind.as_deref() != Some("lora-phy") {
            return self.fail(now, Cause::Incompatible, "plugin is not of kind lora-phy".into(), true);
        }
        self.state = State::Configuring { until: now + READY_TIMEOUT };
        let configure = Configure {
            radio: self.name.clone(),
            settings: self.settings.clone(),
            channels: self.channels.clone(),
            status_period_s: STATUS_PERIOD_S,
        };
        self.write(&ToPlugin::Configure(configure));
    }

    fn ready(&mut self, now: Duration, ready: Ready) {
        if let Some(problem) = sheet_problem(&ready) {
            return self.fail(now, Cause::Sheet, format!("plugin's capability sheet is not usable: {problem}"), true);
        }
        let single_channel = match (ready.freq_hz, ready.dr) {
            (Some(freq_hz), Some(dr)) if ready.channels == 1 => {
                Some((freq_hz, DataRate { sf: dr.sf, bw_hz: dr.bw_hz }))
            }
            _ => None,
        };
        let sheet = RadioSheet {
            max_dbm_eirp: ready.max_dbm_eirp,
            single_channel,
            timed_tx: ready.timed_tx,
            min_lead: Duration::from_millis(u64::from(ready.min_lead_ms.min(MAX_MIN_LEAD_MS))),
        };
        self.state = State::Ready { since: now, sheet: ready };
        self.fault = None;
        self.reported = None;
        self.outputs.push_back(Output::Ready(sheet));
    }

    fn rx(&mut self, now: Duration, rx: Rx) {
        if rx.data.is_empty() || rx.data.len() > MAX_FRAME_BYTES {
            return self.bad_line(now, "frame is not of 1 to 255 bytes");
        }
        self.rx_frames += 1;
        self.watch_clock(now, rx.at_us);
        self.outputs.push_back(Output::Rx(RxFrame {
            at_us: self.clock.at(rx.at_us),
            freq_hz: rx.freq_hz,
            dr: DataRate { sf: rx.dr.sf, bw_hz: rx.dr.bw_hz },
            rssi_dbm: rx.rssi_dbm,
            snr_db: rx.snr_db.filter(|snr| snr.is_finite()),
            data: rx.data,
        }));
    }

    /// Compares the radio clock with ours, from one frame to the next. Stamps are modulo 71.6 minutes, so the difference is
    /// taken modulo that too.
    fn watch_clock(&mut self, now: Duration, at_us: u32) {
        if let Some((stamp, came)) = self.newest_rx.replace((at_us, now)) {
            let passed = now.saturating_sub(came);
            let further = at_us.wrapping_sub(stamp).wrapping_sub(passed.as_micros() as u32).cast_signed();
            let jump_ms = i64::from(further / 1000);
            let drift_ms =
                i64::try_from(passed.as_millis()).unwrap_or(i64::MAX).saturating_mul(MAX_DRIFT_PPM) / 1_000_000;
            if jump_ms.abs() > drift_ms.saturating_add(MAX_DELAY_MS) {
                self.clock_jumps += 1;
                self.outputs.push_back(Output::ClockJumped(jump_ms));
            }
        }
    }

    fn tx_done(&mut self, done: &TxDone) {
        let outcome = match done.status {
            TxStatus::Sent => TxOutcome::Sent,
            TxStatus::Late => TxOutcome::Late,
            TxStatus::Collision => TxOutcome::Collision,
            TxStatus::Busy => TxOutcome::Busy,
            TxStatus::Failed => TxOutcome::Failed,
        };
        if outcome == TxOutcome::Sent {
            self.tx_frames += 1;
        }
        self.outputs.push_back(Output::TxDone { id: done.id, outcome, margin_ms: done.tx_margin_ms });
    }

    fn status(&mut self, status: Status) {
        self.plugin_counters =
            status.counters.into_iter().filter(|(_, value)| value.is_u64()).take(MAX_PLUGIN_COUNTERS).collect();
        let fault =
            status.fault.map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_FAULT_CHARS).collect::<String>());
        if fault != self.reported {
            self.reported.clone_from(&fault);
            self.fault.clone_from(&fault);
            self.outputs.push_back(Output::Fault(fault));
        }
    }

    fn bad_line(&mut self, now: Duration, problem: &str) {
        self.bad_lines += 1;
        self.bad_in_a_row += 1;
        if self.bad_in_a_row > MAX_BAD_LINES {
            let reason = format!("plugin writes {MAX_BAD_LINES} bad lines in a row; the last: {problem}");
            self.fail(now, Cause::Garbage, reason, true);
        }
    }

    fn fail(&mut self, now: Duration, cause: Cause, reason: String, kill: bool) {
        if let State::Ready { since, .. } = self.state
            && now.saturating_sub(since) >= RECOVERED_AFTER
        {
            self.failures = 0;
        }
        let base = RESTART.0.saturating_mul(1 << self.failures.min(10)).min(RESTART.1);
        self.failures = self.failures.saturating_add(1);
        // Xorshift (G. Marsaglia, 2003): up to a quarter more, so that several radios do not restart together.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let retry_in = base + base.mul_f64((self.jitter % 256) as f64 / 1024.0);
        self.state = State::Failed { until: now + retry_in };
        if self.said.clear() {
            self.outputs.push_back(Output::Facts);
        }
        self.fault = Some(reason.clone());
        if kill {
            self.outputs.push_back(Output::Kill);
        }
        self.outputs.push_back(Output::Lost { cause, reason, retry_in });
    }

    fn write(&mut self, message: &ToPlugin) {
        self.outputs.push_back(Output::Write(message.to_line()));
    }
}

/// What cannot be in a capability sheet.
fn sheet_problem(sheet: &Ready) -> Option<String> {
    let inside = |freq_hz: u32| sheet.freq_ranges_hz.iter().any(|[low, high]| (*low..=*high).contains(&freq_hz));
    if sheet.clock != "us32" {
        return Some("clock is not us32".into());
    }
    // Not a number is in no range.
    if !POSSIBLE_DBM_EIRP.contains(&sheet.max_dbm_eirp) {
        let (low, high) = POSSIBLE_DBM_EIRP.into_inner();
        return Some(format!("max_dbm_eirp {} is not within {low} to {high} dBm", sheet.max_dbm_eirp));
    }
    let outside = sheet.freq_hz.filter(|freq_hz| !sheet.freq_ranges_hz.is_empty() && !inside(*freq_hz));
    outside.map(|freq_hz| format!("freq_hz {freq_hz} is not within freq_ranges_hz"))
}

fn silence() -> Duration {
    Duration::from_secs(u64::from(3 * STATUS_PERIOD_S))
}

#[cfg(test)]
mod tests;
