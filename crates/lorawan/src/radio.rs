//! What the network knows of a radio: its data sheet, the frames that cross to it, and its clock against ours.

use crate::DataRate;
use core::time::Duration;

/// What a radio can do, as it said itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioSheet {
    /// Highest radiated power in dBm EIRP.
    pub max_dbm_eirp: f32,
    /// Frequency in Hz and data rate of a radio that hears nothing else; None for a multi-channel radio.
    pub single_channel: Option<(u32, DataRate)>,
    /// Whether the radio starts a transmission by its own clock at `TxFrame::at_us`. If not, it sends as soon as it can,
    /// and [`Output::Transmit`](crate::Output::Transmit) comes `min_lead` before the window instead.
    pub timed_tx: bool,
    /// How long before its start a transmission must be handed over.
    pub min_lead: Duration,
}

/// A frame that a radio heard.
#[derive(Debug, Clone, PartialEq)]
pub struct RxFrame {
    /// When the frame ended on the air: microseconds of the radio's own clock, unwrapped.
    pub at_us: u64,
    /// Centre frequency in Hz.
    pub freq_hz: u32,
    /// Data rate.
    pub dr: DataRate,
    /// Signal strength, if measured.
    pub rssi_dbm: Option<i16>,
    /// Signal to noise ratio, if measured.
    pub snr_db: Option<f32>,
    /// PHYPayload, 1 to 255 bytes.
    pub data: Vec<u8>,
}

/// A frame that a radio shall send, with inverted IQ.
#[derive(Debug, Clone, PartialEq)]
pub struct TxFrame {
    /// Number of this transmission, for [`Network::handle_tx_done`](crate::Network::handle_tx_done). Never repeated.
    pub id: u64,
    /// When to start: microseconds of the clock that dated the uplink.
    pub at_us: u64,
    /// Centre frequency in Hz.
    pub freq_hz: u32,
    /// Data rate.
    pub dr: DataRate,
    /// Radiated power in dBm EIRP, within the limits of band and radio.
    pub dbm_eirp: f32,
    /// PHYPayload, up to 255 bytes.
    pub data: Vec<u8>,
    /// Time on air.
    pub airtime: Duration,
}

/// What became of a transmission. After all but `Late` it counts as having been on the air, and its airtime stays in the duty cycle:
/// a radio that says anything else may still have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxOutcome {
    /// It was sent in time.
    Sent,
    /// It came too late and was not sent.
    Late,
    /// It would overlap, or did overlap, with another transmission.
    Collision,
    /// The radio was doing something else.
    Busy,
    /// The radio could not send it, or not to its end.
    Failed,
}

/// Relates a radio's clock to the caller's. The least delay ever seen between the end of a frame and its arrival here
/// gives the offset; frames that come with more delay are then dated back.
#[derive(Debug, Default)]
pub(crate) struct RadioClock {
    /// Caller's time minus radio's time in µs, and when that was found.
    offset: Option<(i128, Duration)>,
}

impl RadioClock {
    /// Bound: Crystal difference that the offset may follow.
    const DRIFT_PPM: i128 = 100;
    /// Bound: A frame later than this is taken as a new relation of the clocks.
    const MAX_LATENESS_US: i128 = 500_000;

    /// The caller's time at which the radio's clock showed `at_us`; never later than `now`, when the report came.
    pub(crate) fn date(&mut self, now: Duration, at_us: u64) -> Duration {
        let now_us = now.as_micros() as i128;
        let seen = now_us - i128::from(at_us);
        let offset = match self.offset {
            Some((offset, since)) => {
                let aged = offset + now.saturating_sub(since).as_micros() as i128 * Self::DRIFT_PPM / 1_000_000;
                if (0..=Self::MAX_LATENESS_US).contains(&(seen - aged)) { aged } else { seen }
            }
            None => seen,
        };
        self.offset = Some((offset, now));
        Duration::from_micros(u64::try_from(i128::from(at_us) + offset).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_reports_are_dated_back() {
        let ms = Duration::from_millis;
        let mut clock = RadioClock::default();
        assert_eq!(clock.date(ms(1_000), 500_000), ms(1_000));
        assert_eq!(clock.date(ms(1_180), 600_000), Duration::from_micros(1_100_018), "80 ms late");
        assert_eq!(clock.date(ms(1_190), 700_000), ms(1_190), "quicker than ever before");
        assert_eq!(clock.date(ms(5_000), 0), ms(5_000), "the clock began anew");
        assert_eq!(clock.date(ms(6_000), u64::MAX), ms(6_000));
        assert_eq!(clock.date(ms(7_000), 3), ms(7_000));
    }
}
