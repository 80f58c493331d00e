//! Days: what a threat analysis counts in. All are days of UTC, and inclusive.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// A day, counted from 1970-01-01; up to 9999-12-31 from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time in ms since 1970.
    #[must_use]
    pub fn of_unix_ms(unix_ms: u64) -> Day {
        Day(u32::try_from(unix_ms / DAY_MS).unwrap_or(u32::MAX))
    }

    /// The day of a date without a time of day; `None` for anything else, and before 1970.
    #[must_use]
    pub fn of_toml(date: &toml::value::Datetime) -> Option<Day> {
        let (Some(date), None, None) = (date.date, date.time, date.offset) else { return None };
        Day::of_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day))
    }

    /// Method: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    fn of_civil(year: i64, month: i64, day: i64) -> Option<Day> {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        u32::try_from(era * 146_097 + day_of_era - 719_468).ok().map(Day)
    }

    /// The day so many days later.
    #[must_use]
    pub fn plus(self, days: u32) -> Day {
        Day(self.0.saturating_add(days))
    }
}

impl fmt::Display for Day {
    /// `YYYY-MM-DD`. Method: H. Hinnant, `civil_from_days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shifted = i64::from(self.0) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Day, String> {
        let date: toml::value::Datetime = text.parse().map_err(|_| format!("\"{text}\" is no date YYYY-MM-DD"))?;
        Day::of_toml(&date).ok_or_else(|| format!("\"{text}\" is no date YYYY-MM-DD"))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Day, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_known_dates_and_back() {
        for (date, day) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2024-10-04", 20_000),
            ("2038-01-19", 24_855),
        ] {
            assert_eq!(date.parse(), Ok(Day(day)), "{date}");
            assert_eq!(Day(day).to_string(), date);
        }
        for day in 0..40_000 {
            assert_eq!(Day(day).to_string().parse(), Ok(Day(day)));
        }
        for wrong in ["1969-12-31", "2026-02-30", "2026-01-01T00:00:00Z", "soon", "12:00:00"] {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
    }
}
