//! Microchip RN2483 and RN2903, firmware 1.0.5 or newer, as raw LoRa radios with their own MAC paused.
//!
//! Commands after the "RN2483 LoRa Technology Module Command Reference User's Guide" (DS40001784G): one line each way,
//! one command at a time. In the order of life:
//!
//! 1. *set-up*: whatever stands in the module's line buffer is spoiled (a crashed host may have left a frame there),
//!    then reset, version, `mac pause`, radio settings, watchdog off, `radio rx 0`. If nothing legible comes back, a break
//!    and 0x55 let the module measure our speed; if that fails too, other speeds are tried to name the right one;
//! 2. *armed*: a `radio_rx` line is a frame and ends the reception; SNR and RSSI are asked, then it is armed again;
//! 3. *transmission*: see `transmit.rs`;
//! 4. *health*: every ten quiet seconds the watchdog setting is read: no answer, or the value of a fresh module, and the
//!    module is set up again.
//!
//! An unexpected version line means that the module has restarted: it is set up again.

mod reply;
mod transmit;

use crate::dialect::queue::Queue;
use crate::dialect::transmission::Transmission;
use crate::line::{Line, Lines, byte_time};
use crate::modem::{Counters, Dialect, Fault, Output, RadioConfig, RxFrame, TxRequest};
use reply::{OLDEST_FIRMWARE_NAME, Reply, Version};
use std::collections::VecDeque;
use std::time::Duration;

/// Longest wait for an answer, after the time on the line.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest wait for the version line after a reset.
const RESET_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A spoiled line is answered by `invalid_param`, or not at all.
const SPOIL_TIMEOUT: Duration = Duration::from_millis(60);
/// Longest wait for a version line while speeds are tried.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(400);
/// Quiet time after which the module is asked whether it still is what we made it.
const HEALTH_PERIOD: Duration = Duration::from_secs(10);
/// Resets before speeds are tried; the first is without autobaud.
const RESET_ATTEMPTS: u8 = 3;
/// Retries of a command that was answered by `busy` (or `0` for `mac pause`).
const BUSY_RETRIES: u8 = 10;
/// Set-ups in a row that do not end in reception.
const SET_UP_ATTEMPTS: u8 = 5;
/// Speeds to try when the configured one brings nothing: the module's own first, then the usual ones.
const OTHER_SPEEDS: [u32; 5] = [57_600, 115_200, 9_600, 19_200, 38_400];

/// The state machine of one module.
pub(crate) struct Rn2483 {
    config: RadioConfig,
    lines: Lines,
    job: Job,
    script: VecDeque<Step>,
    waiting: Option<Waiting>,
    pause_until: Option<Duration>,
    resets: u8,
    set_ups: u8,
    busy_retries: u8,
    health_at: Duration,
    power_dbm: i8,
    heard_bytes: u64,
    said: Option<String>,
    version: Option<Version>,
    announced: bool,
    queue: Queue,
    counters: Counters,
    outputs: VecDeque<Output>,
}

/// What the script is good for.
enum Job {
    Off,
    SetUp,
    /// Tries the speeds from this one on.
    Search(usize),
    Armed,
    /// A frame waits for its SNR and RSSI.
    Report(RxFrame),
    Health,
    /// Ends in reception.
    Rearm,
    Transmit(Transmission),
    Failed,
}

enum Step {
    Command(String, Expect),
    Break,
    Pause(Duration),
}

/// What a command may be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Anything,
    Version,
    /// A number of ms; 0 means: not now.
    Paused,
    Setting,
    Listening,
    Stopped,
    Snr,
    Rssi,
    Watchdog,
    TxAccepted,
    TxDone,
}

struct Waiting {
    expect: Expect,
    command: String,
    until: Duration,
}

impl Rn2483 {
    /// A module that is set up by [`Dialect::start`].
    pub(crate) fn new(config: RadioConfig) -> Self {
        Rn2483 {
            lines: Lines::new(config.baud),
            power_dbm: config.max_dbm,
            config,
            job: Job::Off,
            script: VecDeque::new(),
            waiting: None,
            pause_until: None,
            resets: 0,
            set_ups: 0,
            busy_retries: 0,
            health_at: Duration::ZERO,
            heard_bytes: 0,
            said: None,
            version: None,
            announced: false,
            queue: Queue::default(),
            counters: Counters::new(),
            outputs: VecDeque::new(),
        }
    }

    fn begin_set_up(&mut self, now: Duration, with_reset: bool) {
        if self.set_ups >= SET_UP_ATTEMPTS {
            let (command, answer) = ("radio rx 0".into(), format!("not after {SET_UP_ATTEMPTS} set-ups"));
            return self.fail(Fault::Refused { command, answer });
        }
        self.job = Job::SetUp;
        self.script.clear();
        self.waiting = None;
        self.pause_until = None;
        self.busy_retries = 0;
        if with_reset {
            if self.resets > 0 {
                self.script.push_back(Step::Break);
                self.script.push_back(Step::Pause(Duration::from_millis(20)));
            }
            self.command("z", Expect::Anything);
            self.command("sys reset", Expect::Version);
        }
        self.command("mac pause", Expect::Paused);
        self.power_dbm = self.config.max_dbm;
        let (freq_hz, dr, power_dbm) = (self.config.freq_hz, self.config.dr, self.power_dbm);
        let settings = [
            "mod lora".to_string(),
            format!("freq {freq_hz}"),
            format!("pwr {power_dbm}"),
            format!("sf sf{}", dr.sf),
            format!("bw {}", dr.bw_hz / 1000),
            "cr 4/5".into(),
            "prlen 8".into(),
            "crc on".into(),
            "iqi off".into(),
            "sync 34".into(),
            "wdt 0".into(),
        ];
        for setting in settings {
            self.command(&format!("radio set {setting}"), Expect::Setting);
        }
        self.command("radio rx 0", Expect::Listening);
        self.run(now);
    }

    /// The module is not what we made it: from the start.
    fn set_up_again(&mut self, now: Duration, with_reset: bool, why: &str) {
        self.abandon(why);
        self.count("set_ups");
        self.heard_bytes = 0; // what it said before does not make it less silent now
        self.resets = 0;
        self.set_ups += 1;
        self.begin_set_up(now, with_reset);
    }

    fn try_speed(&mut self, now: Duration, index: usize) {
        let others = OTHER_SPEEDS.iter().filter(|speed| **speed != self.config.baud);
        let Some(speed) = others.copied().nth(index) else {
            self.outputs.push_back(Output::SetBaud(self.config.baud));
            let baud = self.config.baud;
            let fault = match self.said.take() {
                Some(said) => Fault::WrongDialect { said },
                None if self.heard_bytes > 0 => Fault::Garbage { baud },
                None => Fault::Silent { baud },
            };
            return self.fail(fault);
        };
        self.job = Job::Search(index);
        self.lines = Lines::new(speed);
        self.outputs.push_back(Output::SetBaud(speed));
        self.script.clear();
        self.command("z", Expect::Anything);
        self.command("sys get ver", Expect::Version);
        self.run(now);
    }

    fn fail(&mut self, fault: Fault) {
        self.abandon(&fault.to_string());
        while let Some(end) = self.queue.give_up(&fault.to_string()) {
            self.done(end);
        }
        self.script.clear();
        self.waiting = None;
        self.pause_until = None;
        self.job = Job::Failed;
        self.outputs.push_back(Output::Fault(fault));
    }

    fn command(&mut self, text: &str, expect: Expect) {
        self.script.push_back(Step::Command(text.to_string(), expect));
    }

    /// Takes the next steps, until one needs time or an answer.
    fn run(&mut self, now: Duration) {
        while self.waiting.is_none() && self.pause_until.is_none() {
            match self.script.pop_front() {
                Some(Step::Command(command, expect)) => {
                    let limit = match expect {
                        Expect::Anything => SPOIL_TIMEOUT,
                        Expect::Version if matches!(self.job, Job::Search(_)) => SEARCH_TIMEOUT,
                        Expect::Version => RESET_TIMEOUT,
                        _ => ANSWER_TIMEOUT,
                    };
                    self.outputs.push_back(Output::Write(format!("{command}\r\n").into_bytes()));
                    self.wait(now + limit + self.line_time(command.len() + 40), command, expect);
                }
                Some(Step::Break) => self.outputs.push_back(Output::Break { then: vec![0x55] }),
                Some(Step::Pause(pause)) => self.pause_until = Some(now + pause),
                None => {
                    if !self.finish_job(now) {
                        return;
                    }
                }
            }
        }
    }

    /// The script has come to its end; whether there is a new one.
    fn finish_job(&mut self, now: Duration) -> bool {
        match std::mem::replace(&mut self.job, Job::Armed) {
            Job::SetUp | Job::Rearm | Job::Health => {
                self.health_at = now + HEALTH_PERIOD;
                self.resets = 0;
                self.set_ups = 0;
                self.busy_retries = 0;
                if let Some(version) = self.version.clone().filter(|_| !self.announced) {
                    self.announced = true;
                    let freq_ranges_hz = version.freq_ranges_hz();
                    let min_lead = self.longest_preparation();
                    self.outputs.push_back(Output::Ready { model: version.line, freq_ranges_hz, min_lead });
                }
                self.start_due_transmission(now)
            }
            Job::Report(frame) => {
                self.outputs.push_back(Output::Rx(frame));
                self.job = Job::Rearm;
                self.command("radio rx 0", Expect::Listening);
                true
            }
            Job::Transmit(transmission) => self.finish_stage(now, transmission),
            other => {
                self.job = other;
                false
            }
        }
    }

    fn handle_text(&mut self, now: Duration, text: &str, began_at: Duration) {
        match reply::parse(text) {
            Reply::Frame(data) => {
                let at = began_at.saturating_sub(self.config.rx_offset);
                self.handle_frame(now, RxFrame { at, rssi_dbm: None, snr_db: None, data });
            }
            Reply::Version(version) => self.handle_version(now, version),
            Reply::RadioErr if !self.waits_for(Expect::TxDone) && !self.waits_for(Expect::TxAccepted) => {
                // The reception has ended without a frame.
                self.count("radio_errors");
                if matches!(self.job, Job::Armed) {
                    self.job = Job::Rearm;
                    self.command("radio rx 0", Expect::Listening);
                    self.run(now);
                }
            }
            reply => match self.waiting.take() {
                Some(waiting) => self.handle_answer(now, waiting, &reply, text),
                None => self.count("garbage_lines"),
            },
        }
    }

    fn handle_frame(&mut self, now: Duration, frame: RxFrame) {
        match &self.job {
            Job::Armed | Job::Health => {
                self.count("rx");
                self.job = Job::Report(frame);
                self.command("radio get snr", Expect::Snr);
                self.command("radio get rssi", Expect::Rssi);
                self.run(now);
            }
            Job::Report(_) | Job::Rearm | Job::Transmit(_) => {
                // It came while we were about to stop the reception: no time to ask how strong it was.
                self.count("rx");
                self.count("rx_races");
                self.outputs.push_back(Output::Rx(frame));
            }
            // Heard with settings that are not ours.
            Job::Off | Job::SetUp | Job::Search(_) | Job::Failed => self.count("garbage_lines"),
        }
    }

    fn handle_version(&mut self, now: Duration, version: Version) {
        if !version.is_new_enough {
            return self.fail(Fault::Firmware { version: version.line, needed: OLDEST_FIRMWARE_NAME });
        }
        let expected = self.waits_for(Expect::Version);
        self.version = Some(version);
        match self.job {
            Job::Search(index) => {
                let others = OTHER_SPEEDS.iter().filter(|speed| **speed != self.config.baud);
                let found = others.copied().nth(index).unwrap_or(self.config.baud);
                self.fail(Fault::WrongBaud { configured: self.config.baud, found });
            }
            Job::Off | Job::Failed => {}
            _ if expected => {
                self.waiting = None;
                self.run(now);
            }
            _ => {
                self.count("reboots");
                self.set_up_again(now, false, "the modem has restarted");
            }
        }
    }

    fn handle_answer(&mut self, now: Duration, waiting: Waiting, reply: &Reply, text: &str) {
        let Waiting { expect, command, until } = waiting;
        match (expect, reply) {
            (Expect::Anything, _)
            | (Expect::Setting | Expect::Listening | Expect::Stopped, Reply::Ok)
            | (Expect::Stopped, Reply::InvalidParam)
            | (Expect::Watchdog, Reply::Number(0)) => {}
            (Expect::Version, _) => {
                if *reply == Reply::Other && !text.is_empty() {
                    self.said.get_or_insert(text.chars().take(40).collect());
                }
                return self.wait(until, command, expect);
            }
            (Expect::Paused, Reply::Number(ms)) if *ms > 0 => self.busy_retries = 0,
            (Expect::Paused, Reply::Number(_)) | (Expect::Listening, Reply::Busy)
                if self.busy_retries < BUSY_RETRIES =>
            {
                self.busy_retries += 1;
                self.script.push_front(Step::Command(command, expect));
                if expect == Expect::Listening {
                    self.script.push_front(Step::Command("radio rxstop".into(), Expect::Stopped));
                }
                self.script.push_front(Step::Pause(Duration::from_millis(100)));
            }
            (Expect::Snr, _) => {
                if let (Job::Report(frame), Reply::Number(snr @ -127..=127)) = (&mut self.job, reply) {
                    frame.snr_db = Some(*snr as f32);
                }
            }
            (Expect::Rssi, _) => {
                if let (Job::Report(frame), Reply::Number(rssi @ -200..=0)) = (&mut self.job, reply) {
                    frame.rssi_dbm = Some(*rssi as i16).filter(|rssi| *rssi != -128);
                }
            }
            (Expect::Watchdog, _) => {
                self.count("reboots");
                return self.set_up_again(now, true, "the modem has lost its settings");
            }
            _ if matches!(self.job, Job::Transmit(_)) => {
                return self.handle_transmit_answer(now, Waiting { expect, command, until }, reply, text);
            }
            _ if matches!(self.job, Job::SetUp) && *reply == Reply::InvalidParam && expect == Expect::Setting => {
                return self.fail(Fault::Refused { command, answer: text.to_string() });
            }
            _ => {
                self.count("refusals");
                return self.set_up_again(now, true, "the modem refuses what it took before");
            }
        }
        self.run(now);
    }

    fn handle_timeout(&mut self, now: Duration, waiting: &Waiting) {
        match (&self.job, waiting.expect) {
            (_, Expect::Anything) => self.run(now),
            (Job::SetUp, Expect::Version) => {
                self.resets += 1;
                if self.resets < RESET_ATTEMPTS { self.begin_set_up(now, true) } else { self.try_speed(now, 0) }
            }
            (Job::Search(index), _) => self.try_speed(now, index + 1),
            _ => {
                self.count("no_answers");
                self.set_up_again(now, true, "the modem does not answer");
            }
        }
    }

    fn wait(&mut self, until: Duration, command: String, expect: Expect) {
        self.waiting = Some(Waiting { expect, command, until });
    }

    fn waits_for(&self, expect: Expect) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.expect == expect)
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    /// Time of `bytes` on the serial line.
    fn line_time(&self, bytes: usize) -> Duration {
        byte_time(self.config.baud) * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Dialect for Rn2483 {
    fn start(&mut self, now: Duration) {
        self.begin_set_up(now, true);
    }

    fn handle_bytes(&mut self, now: Duration, bytes: &[u8]) {
        self.heard_bytes += bytes.len() as u64;
        let mut lines = Vec::new();
        self.lines.push(now, bytes, |line| lines.push(line));
        for line in lines {
            match line {
                Line::Text { text, began_at } => self.handle_text(now, &text, began_at),
                Line::Garbage(_) => self.count("garbage_lines"),
            }
        }
    }

    fn handle_tx(&mut self, now: Duration, request: TxRequest) {
        self.enqueue(now, request);
    }

    fn deadline(&self) -> Option<Duration> {
        let moment = match &self.job {
            Job::Armed => [Some(self.health_at), self.queue.front().map(|pending| pending.begin_at)],
            Job::Transmit(transmission) if transmission.deadline().is_some() => [transmission.deadline(), None],
            _ => [None, self.queue.front().map(|pending| pending.write_at)],
        };
        let waiting = self.waiting.as_ref().map(|waiting| waiting.until);
        moment.into_iter().chain([waiting, self.pause_until]).flatten().min()
    }

    fn tick(&mut self, now: Duration) {
        if self.pause_until.is_some_and(|until| until <= now) {
            self.pause_until = None;
            self.run(now);
        }
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.until <= now) {
            // What has come so far is no beginning of the next answer.
            self.lines.clear();
            self.handle_timeout(now, &waiting);
        }
        self.send_loaded(now);
        while let Some(end) = self.queue.expire(now) {
            self.done(end);
        }
        if matches!(self.job, Job::Armed) && self.start_due_transmission(now) {
            self.run(now);
        }
        if matches!(self.job, Job::Armed) && self.health_at <= now {
            self.job = Job::Health;
            self.command("radio get wdt", Expect::Watchdog);
            self.run(now);
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[cfg(test)]
mod tests;
