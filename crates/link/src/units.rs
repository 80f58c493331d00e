//! Units of the radio side: data rate names and the 32-bit microsecond clock of a radio.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A LoRa data rate, written `SF7BW125` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoraDr {
    /// Spreading factor, 5 to 12.
    pub sf: u8,
    /// Bandwidth in Hz: 125 000, 250 000 or 500 000.
    pub bw_hz: u32,
}

/// A data rate name that is not of the form `SF7BW125`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data rate is not of the form SF7BW125 (SF5 to SF12, BW125, BW250 or BW500)")]
pub struct BadDr;

impl fmt::Display for LoraDr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SF{}BW{}", self.sf, self.bw_hz / 1000)
    }
}

impl FromStr for LoraDr {
    type Err = BadDr;

    fn from_str(text: &str) -> Result<Self, BadDr> {
        let (sf, bw) = text.strip_prefix("SF").and_then(|rest| rest.split_once("BW")).ok_or(BadDr)?;
        let sf: u8 = sf.parse().map_err(|_| BadDr)?;
        let bw_khz: u32 = bw.parse().map_err(|_| BadDr)?;
        if !(5..=12).contains(&sf) || ![125, 250, 500].contains(&bw_khz) {
            return Err(BadDr);
        }
        Ok(LoraDr { sf, bw_hz: bw_khz * 1000 })
    }
}

impl Serialize for LoraDr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LoraDr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Unwraps a radio's 32-bit microsecond clock, which starts anew every 71.6 minutes, into 64 bits.
///
/// Stamps may come slightly out of order: each one is placed at the distance of less than half a turn (35.8 minutes)
/// from the newest one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrap {
    newest: Option<u64>,
}

impl Unwrap {
    /// The 64-bit time, in µs, of the 32-bit stamp `at_us`. The first stamp lies in turn 1, so that a slightly
    /// earlier one can still be told.
    pub fn at(&mut self, at_us: u32) -> u64 {
        let Some(newest) = self.newest else {
            let first = (1 << 32) + u64::from(at_us);
            self.newest = Some(first);
            return first;
        };
        let ahead = at_us.wrapping_sub(newest as u32);
        let full = if ahead < 1 << 31 {
            newest + u64::from(ahead)
        } else {
            newest.saturating_sub(u64::from(ahead.wrapping_neg()))
        };
        self.newest = Some(newest.max(full));
        full
    }

    /// The 32-bit stamp of a 64-bit time.
    #[must_use]
    pub fn wrap(at_us: u64) -> u32 {
        at_us as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_rate_names_round_trip() {
        for text in ["SF7BW125", "SF12BW125", "SF8BW500", "SF7BW250"] {
            assert_eq!(text.parse::<LoraDr>().unwrap().to_string(), text);
        }
        for text in
            ["", "SF", "SF7", "SF13BW125", "SF4BW125", "SF7BW62", "BW125SF7", "SF7BW125 ", "sf7bw125", "SF-7BW125"]
        {
            assert_eq!(text.parse::<LoraDr>(), Err(BadDr), "{text}");
        }
    }

    #[test]
    fn clock_unwraps_over_several_turns_and_takes_small_steps_back() {
        let mut clock = Unwrap::default();
        let base = clock.at(u32::MAX - 10);
        assert_eq!(clock.at(9), base + 20);
        assert_eq!(clock.at(u32::MAX), base + 10, "an older stamp is placed before the newest");
        assert_eq!(clock.at(10), base + 21, "and does not move the newest back");
        let mut expected = base + 21;
        for turn in 1..=10u64 {
            for quarter in 1..=4u32 {
                expected += 1 << 30;
                assert_eq!(clock.at(10u32.wrapping_add(quarter << 30)), expected, "turn {turn}");
            }
        }
        assert_eq!(Unwrap::wrap(expected), 10);
    }

    #[test]
    fn first_stamp_may_be_followed_by_an_older_one() {
        let mut clock = Unwrap::default();
        let first = clock.at(5);
        assert_eq!(clock.at(u32::MAX - 4), first - 10);
    }
}
