//! Plays transcripts against a dialect in simulated time; the marks are in `tests/transcripts/README.md`.

use crate::modem::{Dialect, Output, RadioConfig, TxRequest, WRITE_AHEAD};
use lpwad_link::hex;
use lpwad_link::units::LoraDr;
use std::collections::VecDeque;
use std::time::Duration;

/// A dialect, the time, and what came of it.
pub(super) struct Bench<D> {
    pub(super) modem: D,
    pub(super) now: Duration,
    pub(super) written: VecDeque<(Duration, String)>,
    pub(super) reports: VecDeque<String>,
    pub(super) baud: u32,
    pub(super) breaks: u32,
}

impl<D: Dialect> Bench<D> {
    /// A modem that listens at SF7 on the first channel and is being set up.
    pub(super) fn start(new: fn(RadioConfig) -> D, baud: u32) -> Self {
        let config = RadioConfig {
            freq_hz: 868_100_000,
            dr: LoraDr { sf: 7, bw_hz: 125_000 },
            baud,
            rx_offset: Duration::from_millis(2),
            tx_offset: Duration::from_millis(2),
            max_dbm: 14,
        };
        let now = Duration::from_secs(5);
        let (written, reports) = (VecDeque::new(), VecDeque::new());
        let mut bench = Bench { modem: new(config), now, written, reports, baud, breaks: 0 };
        bench.modem.start(now);
        bench.drain();
        bench
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.modem.poll() {
            let optional = |value: Option<String>| value.unwrap_or("-".into());
            match output {
                Output::Write(bytes) => self.written.push_back((self.now, String::from_utf8(bytes).unwrap())),
                Output::WriteAt { at, bytes } => {
                    assert!(at + Duration::from_millis(3) >= self.now && at <= self.now + WRITE_AHEAD);
                    self.written.push_back((at, String::from_utf8(bytes).unwrap()));
                }
                Output::Break { then } => {
                    assert_eq!(then, [0x55]);
                    self.breaks += 1;
                }
                Output::SetBaud(baud) => self.baud = baud,
                Output::Ready { model, .. } => self.reports.push_back(format!("ready {model}")),
                Output::Rx(frame) => {
                    let (data, snr, rssi) = (hex::encode(&frame.data), frame.snr_db, frame.rssi_dbm);
                    let (snr, rssi) = (optional(snr.map(|v| v.to_string())), optional(rssi.map(|v| v.to_string())));
                    self.reports.push_back(format!("rx {data} snr {snr} rssi {rssi}"));
                }
                Output::TxDone { id, status, .. } => {
                    self.reports.push_back(format!("txdone {id} {}", format!("{status:?}").to_lowercase()));
                }
                Output::Fault(fault) => self.reports.push_back(format!("fault {fault}")),
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.modem.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.modem.tick(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Lets time pass until there is something to see.
    pub(super) fn until(&mut self, seen: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if seen(self) {
                return;
            }
            let Some(due) = self.modem.deadline() else { return };
            self.pass(due.saturating_sub(self.now));
        }
    }

    pub(super) fn answer(&mut self, text: &str) {
        self.now += Duration::from_millis(2);
        self.modem.handle_bytes(self.now, text.as_bytes());
        self.drain();
    }

    pub(super) fn request(&mut self, id: u64, ahead: Duration, freq_hz: u32, sf: u8, dbm: f32, data: Vec<u8>) {
        let (at, dr) = (self.now + ahead, LoraDr { sf, bw_hz: 125_000 });
        self.modem.handle_tx(self.now, TxRequest { id, at, freq_hz, dr, dbm, iq_inverted: true, data });
        self.drain();
    }

    pub(super) fn play(&mut self, transcript: &str) {
        for (number, line) in transcript.lines().enumerate() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            let place = format!("line {}: {line}", number + 1);
            match mark {
                "#" | "" => {}
                ">" | ">|" => {
                    self.until(|bench| !bench.written.is_empty());
                    let end = if mark == ">" { "\r\n" } else { "" };
                    let written = self.written.pop_front().map(|(_, text)| text);
                    assert_eq!(written, Some(format!("{rest}{end}")), "{place}");
                }
                "<" => self.answer(&format!("{rest}\r\n")),
                "<|" => self.answer(rest),
                "~" => self.pass(Duration::from_millis(rest.parse().unwrap())),
                "tx" => {
                    let words: Vec<&str> = rest.split(' ').collect();
                    let [id, ms, freq, sf, dbm, data] = words[..] else { panic!("{place}") };
                    let ahead = Duration::from_millis(ms.parse().unwrap());
                    let (freq, sf, dbm) = (freq.parse().unwrap(), sf.parse().unwrap(), dbm.parse().unwrap());
                    self.request(id.parse().unwrap(), ahead, freq, sf, dbm, hex::decode(data).unwrap());
                }
                "=" => {
                    self.until(|bench| !bench.reports.is_empty());
                    let report = self.reports.pop_front().unwrap_or_default();
                    let same = if report.starts_with("fault") { report.contains(rest) } else { report == rest };
                    assert!(same, "{place}: {report:?}");
                }
                "." => {
                    assert_eq!(self.written, [], "{place}");
                    assert_eq!(self.reports, [] as [String; 0], "{place}");
                }
                _ => panic!("{place}"),
            }
        }
    }
}
