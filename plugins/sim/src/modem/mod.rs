//! An RN2483 with firmware 1.0.5 as its serial line shows it; with [`Language::LoraE5`] a LoRa-E5, see `lora_e5.rs`.
//!
//! No clock, no port: bytes from the host come in with the time at which they reached the driver and are clocked in at
//! the line's speed; answers come out when their last bit has left. Behaviour as in Microchip's "RN2483 LoRa
//! Technology Module Command Reference User's Guide" (DS40001784G) §2.3 to 2.5, where noted otherwise as seen in the
//! drivers that the field uses.
//!
//! Not simulated: the module's own LoRaWAN stack (only `mac pause` and `mac resume`), FSK, pins, sleep, autobaud (a
//! pseudo terminal shows no break condition), coding rates other than 4/5 on the air.

mod command;
mod lora_e5;

use crate::air::{Heard, Modulation, SYNC_PUBLIC, TxOnAir};
use crate::airtime;
use crate::rng::Rng;
use command::{Order, Params};
use std::collections::VecDeque;
use std::time::Duration;

/// What the module says after a reset, and to `sys get ver`.
pub const VERSION_LINE: &str = "RN2483 1.0.5 Oct 31 2018 15:06:52";
/// Speed of the serial line after power-up.
pub const DEFAULT_BAUD: u32 = 57_600;
/// Longest line from the host; a longer one is answered with `invalid_param`.
const MAX_LINE_BYTES: usize = 600;
/// Most bytes on their way in either direction; more are lost, as in an overrun UART.
const MAX_QUEUED_BYTES: usize = 16 * 1024;
/// Preamble symbols that a receiver may miss and still catch the frame.
const SPARE_SYMBOLS: u32 = 3;

/// The command language of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Microchip RN2483.
    Rn2483,
    /// Seeed LoRa-E5, see `lora_e5.rs`.
    LoraE5,
}

impl Language {
    /// Speed of the serial line as the module leaves the factory.
    #[must_use]
    pub fn baud(self) -> u32 {
        match self {
            Language::Rn2483 => DEFAULT_BAUD,
            Language::LoraE5 => 9_600,
        }
    }

    fn received(self, heard: &Heard) -> String {
        match self {
            Language::Rn2483 => received_line(&heard.frame.data),
            Language::LoraE5 => lora_e5::received_lines(&heard.frame.data, heard.rssi_dbm, heard.snr_db),
        }
    }

    fn tx_done(self) -> &'static str {
        match self {
            Language::Rn2483 => "radio_tx_ok",
            Language::LoraE5 => "+TEST: TX DONE",
        }
    }
}

/// Speeds and delays of the module.
#[derive(Clone, Copy, Debug)]
pub struct ModemConfig {
    /// What it speaks.
    pub language: Language,
    /// Speed of its serial line.
    pub baud: u32,
    /// From the last byte of a command to the first of its answer.
    pub reply_latency: Duration,
    /// From the end of a frame to the first byte of its `radio_rx` line.
    pub rx_latency: Duration,
    /// From the last byte of `radio tx` to the start of the preamble.
    pub tx_latency: Duration,
    /// Seed of its noise.
    pub seed: u64,
}

impl Default for ModemConfig {
    /// The delays are round numbers of the right order; they have not been measured on a module.
    fn default() -> Self {
        ModemConfig {
            language: Language::Rn2483,
            baud: DEFAULT_BAUD,
            reply_latency: Duration::from_millis(1),
            rx_latency: Duration::from_millis(2),
            tx_latency: Duration::from_millis(2),
            seed: 0,
        }
    }
}

/// What the module does.
#[derive(Clone, Debug, PartialEq)]
pub enum ModemOutput {
    /// Bytes whose last bit has reached the host.
    ToHost(Vec<u8>),
    /// A frame goes on air now.
    Transmit(TxOnAir),
    /// A frame was on the air and the module did not take it; why, for people.
    Missed(String),
    /// One whole line that passed in clear, for a transcript.
    Line {
        /// From the host to the module, or back.
        from_host: bool,
        /// Without its end.
        text: String,
    },
}

/// The module.
pub struct Modem {
    config: ModemConfig,
    host_baud: u32,
    params: Params,
    mac_paused: bool,
    radio: Radio,
    last_snr_db: i8,
    last_rssi_dbm: i16,
    line: Vec<u8>,
    incoming: VecDeque<(Duration, u8)>,
    outgoing: VecDeque<(Duration, u8)>,
    in_free_at: Duration,
    out_free_at: Duration,
    muted: bool,
    race: Option<Vec<u8>>,
    rng: Rng,
    outputs: VecDeque<ModemOutput>,
}

enum Radio {
    Idle,
    Receiving { since: Duration, until: Option<Duration>, params: Params },
    Starting { at: Duration, frame: TxOnAir },
    Transmitting { until: Duration, done: &'static str },
}

impl Modem {
    /// A module that has been powered for a while: its version line is past, its MAC is not paused.
    #[must_use]
    pub fn new(config: ModemConfig) -> Self {
        Modem {
            host_baud: config.baud,
            params: Params::default(),
            mac_paused: false,
            radio: Radio::Idle,
            last_snr_db: -128,
            last_rssi_dbm: -128,
            line: Vec::new(),
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            in_free_at: Duration::ZERO,
            out_free_at: Duration::ZERO,
            muted: false,
            race: None,
            rng: Rng::new(config.seed, 0x5e71),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Bytes that the host has written. They arrive one after the other, at the speed of the line.
    pub fn handle_host_bytes(&mut self, now: Duration, bytes: &[u8]) {
        self.tick(now);
        for byte in bytes {
            if self.incoming.len() >= MAX_QUEUED_BYTES {
                return;
            }
            self.in_free_at = self.in_free_at.max(now) + self.byte_time();
            self.incoming.push_back((self.in_free_at, *byte));
        }
    }

    /// The speed that the host has set. If it is not the module's own, both sides read garbage.
    pub fn set_host_baud(&mut self, now: Duration, baud: u32) {
        self.tick(now);
        self.host_baud = baud;
    }

    /// A frame that has ended on the air now.
    pub fn handle_air(&mut self, now: Duration, heard: &Heard) {
        self.tick(now);
        let latest = heard.start + airtime::symbol(heard.frame.on.sf, heard.frame.on.bw_hz) * SPARE_SYMBOLS;
        let Radio::Receiving { since, params, .. } = &self.radio else {
            return self.miss("the modem is not receiving".into());
        };
        if params.modulation() != Some(heard.frame.on) {
            return self.miss(format!("the modem listens on {}", params.describe()));
        }
        if params.iq_inverted || !params.crc || params.sync_word != SYNC_PUBLIC {
            return self.miss("the modem listens with inverted IQ, without CRC or with another sync word".into());
        }
        if *since > latest {
            return self.miss("the modem began to listen in the middle of the frame".into());
        }
        // An RN2483 ends the reception with the frame, a LoRa-E5 goes on.
        if self.config.language == Language::Rn2483 {
            self.radio = Radio::Idle;
        }
        self.last_snr_db = heard.snr_db;
        self.last_rssi_dbm = heard.rssi_dbm;
        self.say(now + self.config.rx_latency, &self.config.language.received(heard));
    }

    /// Resets the module as a glitch of its supply does: it forgets all settings and says its version.
    pub fn reboot(&mut self, now: Duration) {
        self.tick(now);
        self.restart(now);
    }

    /// A mute module takes everything and answers nothing.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// At the next `radio rxstop` a frame with `data` is reported first, and the `ok` follows.
    pub fn race_at_next_rxstop(&mut self, data: Vec<u8>) {
        self.race = Some(data);
    }

    /// Noise on the line to the host, as from a bad cable: `count` bytes (at most 1024).
    pub fn emit_noise(&mut self, now: Duration, count: usize) {
        self.tick(now);
        let noise: Vec<u8> = (0..count.min(1024)).map(|_| self.rng.next() as u8).collect();
        self.send(now, &noise);
    }

    /// Lets everything happen that is due until `now`.
    pub fn tick(&mut self, now: Duration) {
        while let Some(due) = self.next_internal().filter(|due| *due <= now) {
            if self.radio_due().is_some_and(|radio| radio <= due) {
                self.radio_event(due);
            } else if let Some((at, byte)) = self.incoming.pop_front() {
                self.take_byte(at, byte);
            }
        }
        let mut ready = Vec::new();
        while self.outgoing.front().is_some_and(|(due, _)| *due <= now) {
            ready.extend(self.outgoing.pop_front().map(|(_, byte)| self.garble(byte)));
        }
        if !ready.is_empty() {
            self.outputs.push_back(ModemOutput::ToHost(ready));
        }
    }

    /// When [`Modem::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.next_internal().into_iter().chain(self.outgoing.front().map(|(due, _)| *due)).min()
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<ModemOutput> {
        self.outputs.pop_front()
    }

    fn next_internal(&self) -> Option<Duration> {
        self.radio_due().into_iter().chain(self.incoming.front().map(|(due, _)| *due)).min()
    }

    fn radio_due(&self) -> Option<Duration> {
        match &self.radio {
            Radio::Idle => None,
            Radio::Receiving { until, .. } => *until,
            Radio::Starting { at, .. } => Some(*at),
            Radio::Transmitting { until, .. } => Some(*until),
        }
    }

    fn radio_event(&mut self, now: Duration) {
        match std::mem::replace(&mut self.radio, Radio::Idle) {
            Radio::Idle => {}
            Radio::Receiving { .. } => self.say(now, "radio_err"),
            Radio::Starting { frame, .. } => {
                let airtime = frame.airtime();
                let watchdog = self.params.watchdog().filter(|_| self.config.language == Language::Rn2483);
                let (until, done) = match watchdog.filter(|watchdog| *watchdog < airtime) {
                    Some(watchdog) => (now + watchdog, "radio_err"),
                    None => (now + airtime, self.config.language.tx_done()),
                };
                self.radio = Radio::Transmitting { until, done };
                self.outputs.push_back(ModemOutput::Transmit(frame));
            }
            Radio::Transmitting { done, .. } => self.say(now, done),
        }
    }

    fn take_byte(&mut self, at: Duration, byte: u8) {
        let byte = self.garble(byte);
        if byte != b'\n' {
            if self.line.len() <= MAX_LINE_BYTES {
                self.line.push(byte);
            }
            return;
        }
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        self.outputs.push_back(ModemOutput::Line { from_host: true, text: text.trim_end().to_string() });
        if self.muted {
            return;
        }
        let command = text.strip_suffix('\r').filter(|_| line.len() <= MAX_LINE_BYTES).map(str::to_string);
        self.execute(at, command.as_deref().unwrap_or(""));
    }

    fn execute(&mut self, now: Duration, command: &str) {
        if self.config.language == Language::LoraE5 {
            return self.execute_lora_e5(now, command);
        }
        let reply_at = now + self.config.reply_latency;
        let busy = !self.mac_paused || matches!(self.radio, Radio::Starting { .. } | Radio::Transmitting { .. });
        let receiving = matches!(self.radio, Radio::Receiving { .. });
        match command::parse(command, &mut self.params) {
            Order::Reply(text) => self.say(reply_at, &text),
            Order::GetSnr => self.say(reply_at, &self.last_snr_db.to_string()),
            Order::GetRssi => self.say(reply_at, &self.last_rssi_dbm.to_string()),
            Order::Reset => self.restart(reply_at),
            Order::Pause => {
                self.mac_paused = true;
                self.say(reply_at, "4294967245");
            }
            Order::Resume => {
                self.mac_paused = false;
                self.radio = Radio::Idle;
                self.say(reply_at, "ok");
            }
            Order::Receive { .. } | Order::Transmit(_) if busy || receiving => self.say(reply_at, "busy"),
            Order::Receive { symbols } => {
                let window =
                    (symbols > 0).then(|| airtime::symbol(self.params.sf, self.params.bw_hz()) * u32::from(symbols));
                let until = window.into_iter().chain(self.params.watchdog()).min().map(|limit| now + limit);
                self.radio = Radio::Receiving { since: now, until, params: self.params.clone() };
                self.say(reply_at, "ok");
            }
            Order::Transmit(data) => {
                self.say(reply_at, "ok");
                self.radio = Radio::Starting { at: now + self.config.tx_latency, frame: self.params.frame(data) };
            }
            Order::StopReceiving if busy => self.say(reply_at, "busy"),
            Order::StopReceiving => {
                self.radio = Radio::Idle;
                if let Some(data) = self.race.take() {
                    self.say(now, &received_line(&data));
                }
                self.say(reply_at, "ok");
            }
        }
    }

    fn restart(&mut self, now: Duration) {
        self.params = Params::default();
        self.mac_paused = false;
        self.radio = Radio::Idle;
        self.line.clear();
        self.outgoing.clear();
        self.out_free_at = now;
        if self.config.language == Language::Rn2483 {
            self.say(now + Duration::from_millis(100), VERSION_LINE);
        }
    }

    fn say(&mut self, at: Duration, text: &str) {
        if self.muted {
            return;
        }
        for line in text.split("\r\n") {
            self.outputs.push_back(ModemOutput::Line { from_host: false, text: line.to_string() });
        }
        self.send(at, format!("{text}\r\n").as_bytes());
    }

    fn send(&mut self, at: Duration, bytes: &[u8]) {
        for byte in bytes {
            if self.outgoing.len() >= MAX_QUEUED_BYTES {
                return;
            }
            self.out_free_at = self.out_free_at.max(at) + self.byte_time();
            self.outgoing.push_back((self.out_free_at, *byte));
        }
    }

    fn miss(&mut self, reason: String) {
        self.outputs.push_back(ModemOutput::Missed(reason));
    }

    /// One start bit, eight data bits, one stop bit.
    fn byte_time(&self) -> Duration {
        Duration::from_nanos(10_000_000_000 / u64::from(self.config.baud.max(1)))
    }

    fn garble(&self, byte: u8) -> u8 {
        if self.host_baud == self.config.baud { byte } else { byte.rotate_left(3) ^ 0xA5 | 0x80 }
    }
}

fn received_line(data: &[u8]) -> String {
    format!("radio_rx  {}", lpwad_link::hex::encode(data).to_uppercase())
}

impl Params {
    fn modulation(&self) -> Option<Modulation> {
        self.lora.then(|| Modulation { freq_hz: self.freq_hz, sf: self.sf, bw_hz: self.bw_hz() })
    }

    fn describe(&self) -> String {
        format!("{} Hz SF{}BW{}", self.freq_hz, self.sf, self.bw_khz)
    }

    fn watchdog(&self) -> Option<Duration> {
        (self.watchdog_ms > 0).then(|| Duration::from_millis(u64::from(self.watchdog_ms)))
    }

    fn frame(&self, data: Vec<u8>) -> TxOnAir {
        TxOnAir {
            on: Modulation { freq_hz: self.freq_hz, sf: self.sf, bw_hz: self.bw_hz() },
            iq_inverted: self.iq_inverted,
            crc: self.crc,
            sync_word: self.sync_word,
            preamble: self.preamble,
            power_dbm: self.power_dbm,
            data,
        }
    }
}

#[cfg(test)]
mod tests;
