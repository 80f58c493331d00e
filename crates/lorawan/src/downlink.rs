//! When and by which radio an answer goes out: receive windows, what each radio has planned, duty cycle.
//!
//! A class A device listens twice after an uplink: RX1 a set time after the end of the uplink, on its frequency and data
//! rate; RX2 one second later on a fixed frequency and data rate (LoRaWAN 1.0.4 §3.3).

use crate::output::TxFailure;
use crate::radio::{RadioClock, RadioSheet};
use crate::regulation::{self, Band, DutyCycle};
use crate::{DataRate, RadioId, airtime};
use core::time::Duration;
use std::collections::BTreeMap;

/// Copies of one uplink that are kept for the choice of the radio; more are dropped.
/// Counted: `copies_dropped`.
pub(crate) const MAX_COPIES: usize = 16;

/// Transmissions a radio may have planned.
/// Counted: `tx_no_window`.
const MAX_PLANNED: usize = 64;

/// A radio needs this long between two transmissions.
const TURNAROUND_US: u64 = 10_000;

/// Added to a radio's own lead time when a window is decided, for the caller's timer and the way to the radio.
const TIMER_SLACK: Duration = Duration::from_millis(50);

/// Bound: How late an answer may still be handed to a radio that sends at once.
const UNTIMED_SLACK: Duration = Duration::from_millis(20);

/// RX2 opens this long after RX1.
const RX2_AFTER_RX1: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Rx1,
    Rx2,
}

/// One copy of an uplink.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) radio: RadioId,
    /// End of the frame by the radio's clock, and by ours.
    pub(crate) at_us: u64,
    pub(crate) at: Duration,
    pub(crate) freq_hz: u32,
    pub(crate) dr: DataRate,
    pub(crate) rssi_dbm: Option<i16>,
    pub(crate) snr_db: Option<f32>,
}

/// The copies of one uplink, best first, and when the device listens after it.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    copies: Vec<Heard>,
    /// From the end of the uplink to RX1.
    pub(crate) rx1_delay: Duration,
}

impl Listening {
    pub(crate) fn new(first: Heard, rx1_delay: Duration) -> Listening {
        Listening { copies: vec![first], rx1_delay }
    }

    /// The best copy; None when all its radios are gone.
    pub(crate) fn best(&self) -> Option<&Heard> {
        self.copies.first()
    }

    pub(crate) fn radios(&self) -> usize {
        self.copies.len()
    }

    /// Adds a copy, unless that radio has reported one already; false: there is no room for one more.
    pub(crate) fn add(&mut self, copy: Heard) -> bool {
        if self.copies.iter().any(|known| known.radio == copy.radio) {
            return true;
        }
        if self.copies.len() >= MAX_COPIES {
            return false;
        }
        self.copies.push(copy);
        self.copies.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
        true
    }

    pub(crate) fn remove_radio(&mut self, radio: RadioId) {
        self.copies.retain(|copy| copy.radio != radio);
    }

    fn delay(&self, window: Window) -> Duration {
        match window {
            Window::Rx1 => self.rx1_delay,
            Window::Rx2 => self.rx1_delay + RX2_AFTER_RX1,
        }
    }
}

/// SNR first; without it RSSI on a scale that ranks below any SNR.
fn quality(copy: &Heard) -> f32 {
    let snr_db = copy.snr_db.filter(|snr| snr.is_finite());
    snr_db.unwrap_or_else(|| f32::from(copy.rssi_dbm.unwrap_or(i16::MIN)) - 1000.0)
}

/// A place for a transmission.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) radio: RadioId,
    pub(crate) at_us: u64,
    pub(crate) start: Duration,
    pub(crate) freq_hz: u32,
    pub(crate) dr: DataRate,
    pub(crate) dbm_eirp: f32,
    pub(crate) airtime: Duration,
    band: &'static Band,
}

impl Slot {
    /// When the transmission is over, by our clock.
    pub(crate) fn end(&self) -> Duration {
        self.start + self.airtime
    }
}

/// All radios and what they may and will transmit.
#[derive(Debug, Default)]
pub(crate) struct Air {
    radios: BTreeMap<RadioId, Radio>,
    /// Kept when a radio goes away: it is the same transmitter when it comes back.
    duty: BTreeMap<RadioId, DutyCycle>,
    decision_lead: Duration,
}

#[derive(Debug)]
struct Radio {
    sheet: RadioSheet,
    clock: RadioClock,
    planned: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    id: u64,
    start_us: u64,
    end_us: u64,
    end: Duration,
}

impl Air {
    pub(crate) fn new(decision_lead: Duration) -> Air {
        Air { decision_lead, ..Air::default() }
    }

    pub(crate) fn add_radio(&mut self, id: RadioId, sheet: RadioSheet) {
        self.radios.insert(id, Radio { sheet, clock: RadioClock::default(), planned: Vec::new() });
    }

    pub(crate) fn remove_radio(&mut self, id: RadioId) {
        self.radios.remove(&id);
    }

    pub(crate) fn sheet(&self, id: RadioId) -> Option<&RadioSheet> {
        self.radios.get(&id).map(|radio| &radio.sheet)
    }

    /// Our time for a radio's time stamp that came in now. None: no such radio.
    pub(crate) fn date(&mut self, now: Duration, id: RadioId, at_us: u64) -> Option<Duration> {
        self.radios.get_mut(&id).map(|radio| radio.clock.date(now, at_us))
    }

    /// When the answer for this window has to be decided.
    pub(crate) fn decide_at(&self, listening: &Listening, window: Window) -> Duration {
        let Some(best) = listening.best() else { return Duration::ZERO };
        let lead = match self.sheet(best.radio) {
            Some(sheet) if sheet.timed_tx => self.decision_lead.max(sheet.min_lead + TIMER_SLACK),
            Some(sheet) => sheet.min_lead,
            None => self.decision_lead,
        };
        (best.at + listening.delay(window)).saturating_sub(lead)
    }

    /// Looks for a radio, best copy first, that can send `len` bytes in this window. `params` gives the window's
    /// frequency and data rate for a copy.
    pub(crate) fn find(
        &self,
        now: Duration,
        listening: &Listening,
        window: Window,
        len: usize,
        bands: &'static [Band],
        params: impl Fn(&Heard) -> Option<(u32, DataRate)>,
    ) -> Result<Slot, TxFailure> {
        let mut failure = None;
        for copy in &listening.copies {
            let at = (copy.at_us, copy.at);
            let place = params(copy).ok_or(TxFailure::NoBand);
            match place.and_then(|(freq_hz, dr)| {
                self.slot(now, copy.radio, at, listening.delay(window), (freq_hz, dr), len, bands)
            }) {
                Ok(slot) => return Ok(slot),
                Err(reason) => failure = failure.or(Some(reason)),
            }
        }
        Err(failure.unwrap_or(TxFailure::RadioGone))
    }

    #[expect(clippy::too_many_arguments, reason = "private, called once; a struct would only repeat the names")]
    fn slot(
        &self,
        now: Duration,
        id: RadioId,
        (uplink_us, uplink): (u64, Duration),
        delay: Duration,
        (freq_hz, dr): (u32, DataRate),
        len: usize,
        bands: &'static [Band],
    ) -> Result<Slot, TxFailure> {
        let radio = self.radios.get(&id).ok_or(TxFailure::RadioGone)?;
        let start = uplink + delay;
        let slack = if radio.sheet.timed_tx { Duration::ZERO } else { UNTIMED_SLACK };
        if now + radio.sheet.min_lead > start + slack {
            return Err(TxFailure::TooLate);
        }
        let band = regulation::find(bands, freq_hz, dr.bw_hz).ok_or(TxFailure::NoBand)?;
        let airtime = airtime::time_on_air(dr, len);
        let at_us = uplink_us.saturating_add(delay.as_micros() as u64);
        if !radio.is_free(now, at_us, airtime) {
            return Err(TxFailure::NoWindow);
        }
        if !self.duty.get(&id).is_none_or(|duty| duty.allows(band, start, airtime)) {
            return Err(TxFailure::DutyCycle);
        }
        let dbm_eirp = band.max_dbm_eirp.min(radio.sheet.max_dbm_eirp);
        Ok(Slot { radio: id, at_us, start, freq_hz, dr, dbm_eirp, airtime, band })
    }

    /// Takes a slot for a transmission.
    pub(crate) fn book(&mut self, now: Duration, id: u64, slot: &Slot) {
        if let Some(radio) = self.radios.get_mut(&slot.radio) {
            radio.planned.retain(|planned| planned.end >= now);
            let end_us = slot.at_us.saturating_add(slot.airtime.as_micros() as u64);
            radio.planned.push(Planned { id, start_us: slot.at_us, end_us, end: slot.end() });
        }
        self.duty.entry(slot.radio).or_default().add(now, id, slot.band, slot.start, slot.airtime);
    }

    /// The transmission is over before its time, and may have been on the air: the radio is free again.
    pub(crate) fn free(&mut self, radio: RadioId, id: u64) {
        if let Some(radio) = self.radios.get_mut(&radio) {
            radio.planned.retain(|planned| planned.id != id);
        }
    }

    /// The transmission was not on the air: its airtime is free again as well.
    pub(crate) fn release(&mut self, radio: RadioId, id: u64) {
        self.free(radio, id);
        if let Some(duty) = self.duty.get_mut(&radio) {
            duty.release(id);
        }
    }
}

impl Radio {
    fn is_free(&self, now: Duration, start_us: u64, airtime: Duration) -> bool {
        let end_us = start_us.saturating_add(airtime.as_micros() as u64);
        let ahead = self.planned.iter().filter(|planned| planned.end >= now);
        ahead.clone().count() < MAX_PLANNED
            && ahead.clone().all(|planned| {
                end_us.saturating_add(TURNAROUND_US) <= planned.start_us
                    || planned.end_us.saturating_add(TURNAROUND_US) <= start_us
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regulation::etsi_en_300_220::BANDS_863_870;

    const SF7: DataRate = DataRate { sf: 7, bw_hz: 125_000 };

    fn sheet(timed_tx: bool) -> RadioSheet {
        RadioSheet { max_dbm_eirp: 20.0, single_channel: None, timed_tx, min_lead: Duration::from_millis(100) }
    }

    fn heard(radio: u16, snr_db: Option<f32>) -> Heard {
        Heard {
            radio: RadioId(radio),
            at_us: 5_000_000,
            at: Duration::from_secs(10),
            freq_hz: 868_100_000,
            dr: SF7,
            rssi_dbm: Some(-100),
            snr_db,
        }
    }

    fn find(air: &Air, now_ms: u64, listening: &Listening, window: Window) -> Result<Slot, TxFailure> {
        let params = |copy: &Heard| match window {
            Window::Rx1 => Some((copy.freq_hz, copy.dr)),
            Window::Rx2 => Some((869_525_000, SF7)),
        };
        air.find(Duration::from_millis(now_ms), listening, window, 20, BANDS_863_870, params)
    }

    #[test]
    fn windows_lead_and_power() {
        let mut air = Air::new(Duration::from_millis(300));
        air.add_radio(RadioId(1), sheet(true));
        let listening = Listening::new(heard(1, None), Duration::from_secs(1));
        assert_eq!(air.decide_at(&listening, Window::Rx1), Duration::from_millis(10_700));
        let slot = find(&air, 10_900, &listening, Window::Rx1).unwrap();
        assert_eq!((slot.at_us, slot.start, slot.dbm_eirp), (6_000_000, Duration::from_secs(11), 16.15));
        assert_eq!(find(&air, 10_901, &listening, Window::Rx1).unwrap_err(), TxFailure::TooLate);
        let slot = find(&air, 10_901, &listening, Window::Rx2).unwrap();
        assert_eq!((slot.at_us, slot.dbm_eirp), (7_000_000, 20.0));
        air.add_radio(RadioId(1), sheet(false));
        assert_eq!(air.decide_at(&listening, Window::Rx1), Duration::from_millis(10_900));
        assert!(find(&air, 10_919, &listening, Window::Rx1).is_ok());
    }

    #[test]
    fn one_transmission_at_a_time_and_the_other_radio_helps() {
        let mut air = Air::new(Duration::from_millis(300));
        air.add_radio(RadioId(1), sheet(true));
        let mut listening = Listening::new(heard(1, Some(3.0)), Duration::from_secs(1));
        let slot = find(&air, 10_000, &listening, Window::Rx1).unwrap();
        air.book(Duration::from_secs(10), 1, &slot);
        assert_eq!(find(&air, 10_000, &listening, Window::Rx1).unwrap_err(), TxFailure::NoWindow);
        air.add_radio(RadioId(2), sheet(true));
        listening.add(heard(2, Some(1.0)));
        assert_eq!(find(&air, 10_000, &listening, Window::Rx1).unwrap().radio, RadioId(2));
        air.release(RadioId(1), 1);
        assert_eq!(find(&air, 10_000, &listening, Window::Rx1).unwrap().radio, RadioId(1));
        air.remove_radio(RadioId(1));
        listening.remove_radio(RadioId(1));
        assert_eq!(find(&air, 10_000, &listening, Window::Rx1).unwrap().radio, RadioId(2));
    }

    #[test]
    fn best_copy_first() {
        let mut listening = Listening::new(heard(1, None), Duration::from_secs(1));
        listening.add(heard(2, Some(-12.0)));
        listening.add(heard(3, Some(4.5)));
        listening.add(heard(3, Some(9.0)));
        listening.add(heard(4, Some(f32::NAN)));
        assert_eq!(listening.copies.iter().map(|c| c.radio.0).collect::<Vec<_>>(), [3, 2, 1, 4]);
        for radio in 10..100 {
            listening.add(heard(radio, None));
        }
        assert_eq!(listening.radios(), MAX_COPIES);
    }
}
