//! What the law says about transmitting: bands, power and duty cycle. One file per standard.

pub(crate) mod etsi_en_300_220;

use core::time::Duration;
use std::collections::VecDeque;

/// The period over which a duty cycle is observed (ETSI EN 300 220-1 §5.4: one hour).
const PERIOD: Duration = Duration::from_secs(3600);

/// Remembered transmissions of one transmitter. When full, nothing more is allowed, which is the safe side.
/// Counted: `tx_duty_cycle`.
const MAX_ENTRIES: usize = 8192;

/// A stretch of spectrum with one rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Band {
    pub(crate) low_hz: u32,
    pub(crate) high_hz: u32,
    pub(crate) duty_permille: u32,
    pub(crate) max_dbm_eirp: f32,
}

/// Finds the band in which the whole signal lies.
pub(crate) fn find(bands: &'static [Band], freq_hz: u32, bw_hz: u32) -> Option<&'static Band> {
    let half = bw_hz / 2;
    let (low, high) = (freq_hz.checked_sub(half)?, freq_hz.checked_add(half)?);
    bands.iter().find(|band| band.low_hz <= low && high <= band.high_hz)
}

/// The transmissions of one transmitter within the last hour, and those already planned.
#[derive(Debug, Default)]
pub(crate) struct DutyCycle {
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    band_low_hz: u32,
    end: Duration,
    airtime: Duration,
}

impl DutyCycle {
    /// Whether a transmission at `start` keeps the band's budget in every hour that contains it.
    ///
    /// Counted is all that ends later than one hour before `start`, planned transmissions behind `start` included. So for
    /// any hour, whichever of its transmissions was admitted last has seen all the others.
    pub(crate) fn allows(&self, band: &Band, start: Duration, airtime: Duration) -> bool {
        let budget = PERIOD * band.duty_permille / 1000;
        let since = start.saturating_sub(PERIOD);
        let used: Duration =
            self.entries.iter().filter(|e| e.band_low_hz == band.low_hz && e.end > since).map(|e| e.airtime).sum();
        self.entries.len() < MAX_ENTRIES && used + airtime <= budget
    }

    /// Counts a transmission.
    pub(crate) fn add(&mut self, now: Duration, id: u64, band: &Band, start: Duration, airtime: Duration) {
        let keep = now.saturating_sub(PERIOD + Duration::from_secs(60));
        self.entries.retain(|entry| entry.end > keep);
        self.entries.push_back(Entry { id, band_low_hz: band.low_hz, end: start + airtime, airtime });
    }

    /// Forgets a transmission that never was on the air.
    pub(crate) fn release(&mut self, id: u64) {
        self.entries.retain(|entry| entry.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAND: Band = Band { low_hz: 868_000_000, high_hz: 868_600_000, duty_permille: 10, max_dbm_eirp: 16.15 };

    #[test]
    fn one_percent_is_36_seconds_in_any_hour() {
        let mut duty = DutyCycle::default();
        let second = Duration::from_secs(1);
        for i in 0..36 {
            assert!(duty.allows(&BAND, second * 10 * i, second));
            duty.add(Duration::ZERO, i.into(), &BAND, second * 10 * i, second);
        }
        assert!(!duty.allows(&BAND, second * 361, second));
        // The first one ended at 1 s: an hour later it no longer counts.
        assert!(!duty.allows(&BAND, second * 3600, second));
        assert!(duty.allows(&BAND, second * 3601, second));
        duty.release(20);
        assert!(duty.allows(&BAND, second * 361, second));
    }

    #[test]
    fn a_planned_transmission_counts_for_an_earlier_one() {
        let mut duty = DutyCycle::default();
        duty.add(Duration::ZERO, 1, &BAND, Duration::from_secs(6), Duration::from_secs(36));
        assert!(!duty.allows(&BAND, Duration::from_secs(5), Duration::from_millis(1)));
    }
}
