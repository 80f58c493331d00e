//! The radio that it pretends to have: frames from the settings, transmissions into the air of nobody.

use crate::{Mode, say};
use lpwad_link::hex;
use lpwad_link::message::{Configure, FromPlugin, Ready, Rx, Status, Tx, TxDone, TxStatus};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pause between two frames, in s, if the settings do not say it.
const INTERVAL_S: f64 = 0.2;
/// How long after its time a transmission is told of in the mode `late-txdone`.
const LATE: Duration = Duration::from_secs(10);
/// What the clock of the mode `time-jump` is off by, frame by frame, in s.
const JUMPS_S: [i64; 5] = [0, 0, -600, 1200, -30];

pub(crate) struct Radio {
    pub(crate) counters: Map<String, Value>,
    mode: Mode,
    start: Instant,
    status_at: Instant,
    status_period: Duration,
    interval: Duration,
    hear_at: Instant,
    to_hear: VecDeque<(i64, Vec<u8>)>,
    to_tell: Vec<(Instant, TxDone)>,
}

#[expect(clippy::disallowed_methods, reason = "a plugin has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

/// Says what it can do, with this power.
pub(crate) fn say_ready(max_dbm_eirp: f32) -> Result<(), String> {
    say(&FromPlugin::Ready(Ready {
        max_dbm_eirp,
        clock: "us32".into(),
        freq_ranges_hz: vec![[863_000_000, 870_000_000]],
        channels: 8,
        freq_hz: None,
        dr: None,
        timed_tx: true,
        inverted_iq: true,
        min_lead_ms: 5,
        model: "stress".into(),
    }))
}

impl Radio {
    pub(crate) fn new(configure: &Configure, mode: Mode) -> Result<Radio, String> {
        let texts = configure.settings.get("frames").and_then(Value::as_array).into_iter().flatten();
        let frames: Vec<Vec<u8>> = texts
            .map(|text| text.as_str().and_then(|text| hex::decode(text).ok()).ok_or("settings: frames must be hex"))
            .collect::<Result<_, _>>()?;
        let jumps = JUMPS_S.iter().filter(|_| mode == Mode::TimeJump).chain(std::iter::once(&0));
        let to_hear = jumps.flat_map(|jump| frames.iter().map(|frame| (*jump, frame.clone()))).collect();
        let interval_s = configure.settings.get("interval_s").and_then(Value::as_f64).unwrap_or(INTERVAL_S);
        let interval = Duration::try_from_secs_f64(interval_s).map_err(|_| "settings: interval_s is no time")?;
        let start = now();
        Ok(Radio {
            counters: Map::new(),
            mode,
            start,
            status_at: start,
            status_period: Duration::from_secs(u64::from(configure.status_period_s.max(1))) / 2,
            interval,
            hear_at: start + interval,
            to_hear,
            to_tell: Vec::new(),
        })
    }

    /// How long nothing has to be done.
    pub(crate) fn wait(&self) -> Duration {
        let hear_at = (!self.to_hear.is_empty()).then_some(self.hear_at);
        let next = self.to_tell.iter().map(|(at, _)| *at).chain(hear_at).fold(self.status_at, Instant::min);
        next.saturating_duration_since(now())
    }

    pub(crate) fn do_what_is_due(&mut self) -> Result<(), String> {
        let now = now();
        if self.status_at <= now {
            self.status_at = now + self.status_period;
            say(&FromPlugin::Status(Status { fault: None, counters: self.counters.clone() }))?;
        }
        if self.hear_at <= now
            && let Some((jump_s, data)) = self.to_hear.pop_front()
        {
            self.hear_at = now + self.interval;
            let at_us = self.stamp(now).wrapping_add((jump_s * 1_000_000) as u32);
            let dr = "SF7BW125".parse().map_err(|_| "no data rate")?;
            let (rssi_dbm, snr_db) = (Some(-97), Some(5.5));
            say(&FromPlugin::Rx(Rx { at_us, freq_hz: 868_100_000, dr, rssi_dbm, snr_db, data }))?;
        }
        let (due, later) = std::mem::take(&mut self.to_tell).into_iter().partition(|(at, _)| *at <= now);
        self.to_tell = later;
        due.into_iter().try_for_each(|(_, done): (Instant, TxDone)| say(&FromPlugin::Txdone(done)))
    }

    pub(crate) fn transmit(&mut self, tx: &Tx) {
        let ahead = tx.at_us.wrapping_sub(self.stamp(now())).cast_signed();
        let wait = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
        if self.mode == Mode::Loud {
            let asked = (tx.dbm_eirp * 1000.0).round() as i64;
            let highest = self.counters.entry(format!("asked_mdbm_{}", tx.freq_hz)).or_insert_with(|| asked.into());
            *highest = highest.as_i64().unwrap_or(i64::MIN).max(asked).into();
            self.status_at = now();
        }
        let late = match self.mode {
            Mode::MissingTxdone => return,
            Mode::LateTxdone => LATE,
            _ => Duration::ZERO,
        };
        let done = TxDone { id: tx.id, status: TxStatus::Sent, tx_margin_ms: Some(ahead / 1000), detail: None };
        self.to_tell.push((now() + wait + late, done));
    }

    fn stamp(&self, at: Instant) -> u32 {
        at.saturating_duration_since(self.start).as_micros() as u32
    }
}
