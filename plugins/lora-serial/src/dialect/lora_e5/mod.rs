//! Seeed LoRa-E5 (Wio-E5; RisingHF's AT commands) as a raw LoRa radio in its TEST mode.
//!
//! One line each way, one command at a time; answers begin with `+CMD: `. In the order of life:
//!
//! 1. *set-up*: whatever stands in the module's line buffer is spoiled, `AT+TEST=STOP` ends a reception (during which
//!    the module ignores `AT`), then `AT`, version, line timeout off (a line is loaded early and ended late), TEST mode,
//!    radio settings, reception. If `AT` is not answered, other speeds are tried to name the right one;
//! 2. *armed*: two lines are a frame, first its strength, then its bytes; the module goes on listening;
//! 3. *transmission*: see `transmit.rs`;
//! 4. *health*: after a quiet minute the reception is stopped and begun again with all settings. The module is deaf
//!    meanwhile, about 0.2 s at 9600 baud: it answers nothing during a reception.

mod reply;
mod transmit;

use crate::dialect::queue::Queue;
use crate::dialect::transmission::Transmission;
use crate::line::{Line, Lines, byte_time};
use crate::modem::{Counters, Dialect, Fault, Output, RadioConfig, RxFrame, TxRequest};
use reply::Reply;
use std::collections::VecDeque;
use std::time::Duration;

/// Longest wait for an answer, after the time on the line.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(400);
/// A spoiled line or a needless stop is answered by an error, or not at all.
const SPOIL_TIMEOUT: Duration = Duration::from_millis(100);
/// Quiet time after which the module is made again what it should be.
const HEALTH_PERIOD: Duration = Duration::from_secs(60);
/// Tries of `AT` before speeds are tried.
const WAKE_ATTEMPTS: u8 = 3;
/// Set-ups in a row that do not end in reception.
const SET_UP_ATTEMPTS: u8 = 5;
/// Speeds to try when the configured one brings nothing: the module's own first, then the usual ones.
const OTHER_SPEEDS: [u32; 6] = [9_600, 115_200, 230_400, 57_600, 38_400, 19_200];
const STOP: &str = "AT+TEST=STOP";
const LISTEN: &str = "AT+TEST=RXLRPKT";

/// The state machine of one module.
pub(crate) struct LoraE5 {
    config: RadioConfig,
    lines: Lines,
    job: Job,
    script: VecDeque<(String, Expect)>,
    waiting: Option<Waiting>,
    wakes: u8,
    set_ups: u8,
    health_at: Duration,
    /// First line of a frame whose second has not come: length, end on air, RSSI, SNR.
    strength: Option<(usize, Duration, i16, i16)>,
    heard_bytes: u64,
    said: Option<String>,
    version: String,
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
    /// Ends in reception: a health check, or after a transmission.
    Rearm,
    Transmit(Transmission),
    Failed,
}

/// What a command may be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Anything,
    Alive,
    Version,
    Uart,
    TestMode,
    /// Settings with this frequency in Hz.
    Configured(u32),
    Listening,
    Stopped,
    TxAccepted,
    TxDone,
}

struct Waiting {
    expect: Expect,
    command: String,
    until: Duration,
}

impl LoraE5 {
    /// A module that is set up by [`Dialect::start`].
    pub(crate) fn new(config: RadioConfig) -> Self {
        LoraE5 {
            lines: Lines::new(config.baud),
            config,
            job: Job::Off,
            script: VecDeque::new(),
            waiting: None,
            wakes: 0,
            set_ups: 0,
            health_at: Duration::ZERO,
            strength: None,
            heard_bytes: 0,
            said: None,
            version: String::new(),
            announced: false,
            queue: Queue::default(),
            counters: Counters::new(),
            outputs: VecDeque::new(),
        }
    }

    fn begin_set_up(&mut self, now: Duration) {
        if self.set_ups >= SET_UP_ATTEMPTS {
            let answer = format!("not after {SET_UP_ATTEMPTS} set-ups");
            return self.fail(Fault::Refused { command: LISTEN.into(), answer });
        }
        self.job = Job::SetUp;
        self.wake();
        self.command("AT+VER", Expect::Version);
        self.command("AT+UART=TIMEOUT,0", Expect::Uart);
        self.command("AT+MODE=TEST", Expect::TestMode);
        self.listen();
        self.run(now);
    }

    /// Ends whatever the module does, and asks whether it is there.
    fn wake(&mut self) {
        self.script.clear();
        self.waiting = None;
        self.strength = None;
        self.command("z", Expect::Anything);
        self.command(STOP, Expect::Anything);
        self.command("AT", Expect::Alive);
    }

    /// Settings for reception, and reception.
    fn listen(&mut self) {
        let settings = self.settings(self.config.freq_hz, self.config.dr, self.config.max_dbm, None);
        self.command(&settings, Expect::Configured(self.config.freq_hz));
        self.command(LISTEN, Expect::Listening);
    }

    /// The module is not what we made it: from the start.
    fn set_up_again(&mut self, now: Duration, why: &str) {
        self.abandon(why);
        self.count("set_ups");
        // What it said in its earlier life does not make it less silent now.
        self.heard_bytes = 0;
        self.wakes = 0;
        self.set_ups += 1;
        self.begin_set_up(now);
    }

    fn other_speed(&self, index: usize) -> Option<u32> {
        OTHER_SPEEDS.into_iter().filter(|speed| *speed != self.config.baud).nth(index)
    }

    fn try_speed(&mut self, now: Duration, index: usize) {
        let Some(speed) = self.other_speed(index) else {
            let baud = self.config.baud;
            self.outputs.push_back(Output::SetBaud(baud));
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
        self.wake();
        self.run(now);
    }

    fn fail(&mut self, fault: Fault) {
        self.abandon(&fault.to_string());
        while let Some(end) = self.queue.give_up(&fault.to_string()) {
            self.done(end);
        }
        self.script.clear();
        self.waiting = None;
        self.job = Job::Failed;
        self.outputs.push_back(Output::Fault(fault));
    }

    fn command(&mut self, text: &str, expect: Expect) {
        self.script.push_back((text.to_string(), expect));
    }

    /// Takes the next steps, until one needs an answer.
    fn run(&mut self, now: Duration) {
        while self.waiting.is_none() {
            if let Some((command, expect)) = self.script.pop_front() {
                let limit = if expect == Expect::Anything { SPOIL_TIMEOUT } else { ANSWER_TIMEOUT };
                self.outputs.push_back(Output::Write(format!("{command}\r\n").into_bytes()));
                self.wait(now + limit + self.line_time(command.len() + 100), command, expect);
            } else if !self.finish_job(now) {
                return;
            }
        }
    }

    /// The script has come to its end; whether there is a new one.
    fn finish_job(&mut self, now: Duration) -> bool {
        match std::mem::replace(&mut self.job, Job::Armed) {
            Job::SetUp | Job::Rearm => {
                self.health_at = now + HEALTH_PERIOD;
                self.wakes = 0;
                self.set_ups = 0;
                if !self.announced {
                    self.announced = true;
                    let (model, min_lead) = (format!("LoRa-E5 {}", self.version), self.longest_preparation());
                    let freq_ranges_hz = vec![[863_000_000, 870_000_000]];
                    self.outputs.push_back(Output::Ready { model, freq_ranges_hz, min_lead });
                }
                self.start_due_transmission(now)
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
            Reply::Strength { len, rssi_dbm, snr_db } => {
                self.strength = Some((len, began_at.saturating_sub(self.config.rx_offset), rssi_dbm, snr_db));
            }
            Reply::Frame(data) => self.handle_frame(now, data),
            reply => match self.waiting.take() {
                Some(waiting) => self.handle_answer(now, waiting, &reply, text),
                None => self.count("garbage_lines"),
            },
        }
    }

    fn handle_frame(&mut self, now: Duration, data: Vec<u8>) {
        let strength = self.strength.take().filter(|(len, ..)| *len == data.len());
        let (Some((_, at, rssi_dbm, snr_db)), Job::Armed | Job::Rearm | Job::Transmit(_)) = (strength, &self.job)
        else {
            // Half a frame, or one that was heard with settings that are not ours.
            return self.count("garbage_lines");
        };
        self.count("rx");
        if !matches!(self.job, Job::Armed) {
            self.count("rx_races");
        }
        self.health_at = now + HEALTH_PERIOD;
        let frame = RxFrame { at, rssi_dbm: Some(rssi_dbm), snr_db: Some(f32::from(snr_db)), data };
        self.outputs.push_back(Output::Rx(frame));
    }

    fn handle_answer(&mut self, now: Duration, waiting: Waiting, reply: &Reply, text: &str) {
        let Waiting { expect, command, until } = waiting;
        match (expect, reply) {
            (Expect::Anything, _)
            | (Expect::Uart, Reply::Uart)
            | (Expect::TestMode, Reply::TestMode)
            | (Expect::Listening, Reply::Listening)
            | (Expect::Stopped, Reply::Stopped) => {}
            (Expect::Configured(asked), Reply::Configured { freq_hz }) if asked == *freq_hz => {}
            (Expect::Version, Reply::Version(version)) => self.version.clone_from(version),
            (Expect::Alive, Reply::Alive) => {
                if let Job::Search(index) = self.job {
                    let configured = self.config.baud;
                    let found = self.other_speed(index).unwrap_or(configured);
                    return self.fail(Fault::WrongBaud { configured, found });
                }
            }
            (Expect::Alive, _) => {
                // Late answers to what went before begin with a plus sign; another language does not.
                if !text.is_empty() && !text.starts_with('+') {
                    self.said.get_or_insert(text.chars().take(40).collect());
                }
                return self.wait(until, command, expect);
            }
            _ if matches!(self.job, Job::Transmit(_)) => {
                return self.handle_transmit_answer(now, Waiting { expect, command, until }, reply, text);
            }
            (_, Reply::Other) => {
                // Notes such as `+INFO: ...` are no answers.
                self.count("garbage_lines");
                return self.wait(until, command, expect);
            }
            (_, Reply::Error | Reply::Configured { .. }) if matches!(self.job, Job::SetUp) => {
                return self.fail(Fault::Refused { command, answer: text.to_string() });
            }
            _ => {
                self.count("refusals");
                return self.set_up_again(now, "the modem refuses what it took before");
            }
        }
        self.run(now);
    }

    fn handle_timeout(&mut self, now: Duration, waiting: &Waiting) {
        match (&self.job, waiting.expect) {
            (_, Expect::Anything) => self.run(now),
            (Job::SetUp, Expect::Alive) => {
                self.wakes += 1;
                if self.wakes < WAKE_ATTEMPTS { self.begin_set_up(now) } else { self.try_speed(now, 0) }
            }
            (Job::Search(index), _) => self.try_speed(now, index + 1),
            _ => {
                self.count("no_answers");
                self.set_up_again(now, "the modem does not answer");
            }
        }
    }

    fn wait(&mut self, until: Duration, command: String, expect: Expect) {
        self.waiting = Some(Waiting { expect, command, until });
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    /// Time of `bytes` on the serial line.
    fn line_time(&self, bytes: usize) -> Duration {
        byte_time(self.config.baud) * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Dialect for LoraE5 {
    fn start(&mut self, now: Duration) {
        self.begin_set_up(now);
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
        moment.into_iter().flatten().chain(self.waiting.as_ref().map(|waiting| waiting.until)).min()
    }

    fn tick(&mut self, now: Duration) {
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
            self.job = Job::Rearm;
            self.command(STOP, Expect::Stopped);
            self.listen();
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
