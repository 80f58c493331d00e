//! The radio's plugin: eight channels, transmits at the time it is told. It crashes, falls silent and writes garbage.

use crate::shadow::Rule;
use lpwad::gateway::input::{Input, RadioIndex};
use lpwad_sim::air::{Air, Heard, Modulation, TxOnAir};
use lpwad_sim::rng::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The one radio.
pub const RADIO: RadioIndex = RadioIndex(0);
const STATUS: Duration = Duration::from_secs(10);
/// What it needs between an order and its time, as its sheet says.
const MIN_LEAD_MS: u32 = 50;

/// What the plugin says, to be made inside the gateway's memory.
#[derive(Clone, Debug)]
pub enum Said {
    /// Its process runs.
    Started(u64),
    /// A line.
    Line(u64, String),
    /// Its process has ended.
    Exited(u64),
}

impl Said {
    /// As an input.
    #[must_use]
    pub fn input(&self) -> Input {
        match self {
            Said::Started(run) => Input::PluginStarted(RADIO, *run),
            Said::Line(run, line) => Input::PluginLine(RADIO, *run, Ok(line.as_bytes().to_vec())),
            Said::Exited(run) => Input::PluginExited(RADIO, *run, "plugin was ended by signal 11".into()),
        }
    }
}

/// A transmission that was ordered.
struct Ordered {
    id: u64,
    frame: TxOnAir,
}

/// The plugin.
pub struct Plugin {
    rng: Rng,
    /// Process number since the gateway's start; 0: none was started.
    run: u64,
    alive: bool,
    ready: bool,
    /// It writes nothing before this.
    pub silent_until: Duration,
    clock_offset_us: u32,
    says: BTreeMap<(Duration, u64), Said>,
    orders: BTreeMap<(Duration, u64), Ordered>,
    transmits_until: Duration,
    next_status: Duration,
    next: u64,
    /// Frames that were on air.
    pub sent: u64,
}

impl Plugin {
    /// No process yet.
    #[must_use]
    pub fn new(seed: u64) -> Plugin {
        Plugin {
            rng: Rng::new(seed, 13),
            run: 0,
            alive: false,
            ready: false,
            silent_until: Duration::ZERO,
            clock_offset_us: 0,
            says: BTreeMap::new(),
            orders: BTreeMap::new(),
            transmits_until: Duration::ZERO,
            next_status: Duration::ZERO,
            next: 0,
            sent: 0,
        }
    }

    /// The gateway starts it.
    pub fn start(&mut self, now: Duration) {
        self.end();
        self.run += 1;
        self.alive = true;
        self.clock_offset_us = self.rng.next() as u32;
        let run = self.run;
        self.say(now + Duration::from_millis(50), Said::Started(run));
    }

    /// It crashes, or the gateway kills it.
    pub fn exit(&mut self, now: Duration) {
        if self.alive {
            self.end();
            self.say(now + Duration::from_millis(5), Said::Exited(self.run));
        }
    }

    /// The power goes.
    pub fn power_cut(&mut self) {
        self.end();
        self.run = 0;
    }

    fn end(&mut self) {
        self.alive = false;
        self.ready = false;
        self.says.clear();
        self.orders.clear();
    }

    /// A line that nobody understands.
    pub fn garbage(&mut self, now: Duration) {
        let line = match self.rng.below(3) {
            0 => "\u{0}\u{1}garbage".to_string(),
            1 => r#"{"rx":{"at_us":1,"data":"zz"}}"#.to_string(),
            _ => r#"{"txdone":{"id":18446744073709551615,"status":"sent"}}"#.to_string(),
        };
        self.line(now, line);
    }

    /// The gateway writes a line; a complaint if the line is not what the protocol says, or comes too late.
    pub fn written(&mut self, now: Duration, line: &str) -> Result<(), (Rule, String)> {
        if !self.alive {
            return Ok(());
        }
        let value: Value =
            serde_json::from_str(line).map_err(|error| (Rule::Protocol, format!("not JSON: {error}")))?;
        if value.get("hello").is_some() {
            let hello =
                r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","plugin":"simulated","kind":"lora-phy"}}"#;
            self.line(now + Duration::from_millis(5), hello.into());
        } else if value.get("configure").is_some() {
            let ready = format!(
                r#"{{"ready":{{"max_dbm_eirp":14.0,"clock":"us32","channels":8,"timed_tx":true,"inverted_iq":true,"min_lead_ms":{MIN_LEAD_MS}}}}}"#
            );
            self.line(now + Duration::from_millis(300), ready);
            self.ready = true;
            self.next_status = now + STATUS;
        } else if value.get("stop").is_some() {
            self.exit(now);
        } else if let Some(tx) = value.get("tx") {
            let problem = || (Rule::Protocol, format!("a tx line that does not follow the protocol: {line}"));
            let in_time = self.order(now, tx).ok_or_else(problem)?;
            if !in_time {
                return Err((
                    Rule::Deadline,
                    format!("a frame is handed over less than {MIN_LEAD_MS} ms before its time: {line}"),
                ));
            }
        }
        Ok(())
    }

    /// Takes an order; `false` if its time is too near or has passed, `None` if it is none.
    fn order(&mut self, now: Duration, tx: &Value) -> Option<bool> {
        let id = tx["id"].as_u64()?;
        let at_us = u32::try_from(tx["at_us"].as_u64()?).ok()?;
        let (sf, bw) = tx["dr"].as_str()?.strip_prefix("SF")?.split_once("BW")?;
        let on = Modulation {
            freq_hz: u32::try_from(tx["freq_hz"].as_u64()?).ok()?,
            sf: sf.parse().ok()?,
            bw_hz: bw.parse::<u32>().ok()? * 1000,
        };
        let mut frame =
            TxOnAir::downlink(on, tx["dbm_eirp"].as_f64()? as i8, lpwad_link::hex::decode(tx["data"].as_str()?).ok()?);
        frame.iq_inverted = tx["iq_inverted"].as_bool()?;
        let ahead_us = at_us.wrapping_sub(self.clock_us(now)) as i32;
        match u64::try_from(ahead_us) {
            Ok(ahead_us) => _ = self.orders.insert((now + Duration::from_micros(ahead_us), id), Ordered { id, frame }),
            Err(_) => self.done(now, id, "late"),
        }
        Some(i64::from(ahead_us) >= i64::from(MIN_LEAD_MS) * 1000)
    }

    /// A frame reached the antenna.
    pub fn heard(&mut self, heard: &Heard) {
        if !self.ready || self.silent_until > heard.end {
            return;
        }
        let dr = format!("SF{}BW{}", heard.frame.on.sf, heard.frame.on.bw_hz / 1000);
        let line = serde_json::json!({ "rx": {
            "at_us": self.clock_us(heard.end),
            "freq_hz": heard.frame.on.freq_hz,
            "dr": dr,
            "rssi_dbm": heard.rssi_dbm,
            "snr_db": heard.snr_db,
            "data": lpwad_link::hex::encode(&heard.frame.data),
        }});
        let delay = Duration::from_millis(2 + self.rng.below(30));
        self.line(heard.end + delay, line.to_string());
    }

    /// A frame that somebody sends who has no key.
    pub fn forged(&mut self, now: Duration, data: &[u8]) {
        let frame = TxOnAir::uplink(Modulation { freq_hz: 868_100_000, sf: 7, bw_hz: 125_000 }, 14, data.to_vec());
        self.heard(&Heard { frame, rssi_dbm: -40, snr_db: 9, start: now, end: now });
    }

    /// When it has something to do or to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let status = self.ready.then_some(self.next_status);
        let says = self.says.first_key_value().map(|((due, _), _)| *due);
        let orders = self.orders.first_key_value().map(|((due, _), _)| *due);
        status.into_iter().chain(says).chain(orders).min()
    }

    /// Sends what is due.
    pub fn tick(&mut self, now: Duration, air: &mut Air) {
        while let Some(entry) = self.orders.first_entry().filter(|entry| entry.key().0 <= now) {
            let Ordered { id, frame } = entry.remove();
            if self.transmits_until > now {
                self.done(now, id, "collision");
            } else {
                self.transmits_until = air.transmit_from_gateway(now, frame);
                self.sent += 1;
                self.done(self.transmits_until + Duration::from_millis(3), id, "sent");
            }
        }
        if self.ready && self.next_status <= now {
            self.next_status = now + STATUS;
            self.line(now, r#"{"status":{}}"#.into());
        }
    }

    /// What it says now.
    pub fn take(&mut self, now: Duration) -> Option<Said> {
        self.says.first_key_value().filter(|((due, _), _)| *due <= now)?;
        self.says.pop_first().map(|(_, said)| said)
    }

    fn done(&mut self, at: Duration, id: u64, status: &str) {
        self.line(at, format!(r#"{{"txdone":{{"id":{id},"status":"{status}"}}}}"#));
    }

    fn line(&mut self, at: Duration, line: String) {
        if self.alive && self.silent_until <= at {
            let run = self.run;
            self.say(at, Said::Line(run, line));
        }
    }

    fn say(&mut self, at: Duration, said: Said) {
        self.next += 1;
        self.says.insert((at, self.next), said);
    }

    fn clock_us(&self, at: Duration) -> u32 {
        (at.as_micros() as u32).wrapping_add(self.clock_offset_us)
    }
}
