//! Registrations per second, so that a restart is not a storm: a token bucket, for the server's and the backhaul's sake.

use core::time::Duration;

/// A token bucket of one second's worth.
#[derive(Clone, Debug)]
pub struct Pace {
    per_second: u32,
    /// Tokens in µs of refill time: one token is `1_000_000 / per_second` of them.
    level_us: u64,
    filled: Duration,
}

impl Pace {
    /// At most `per_second` (1 or more) in a second, evenly afterwards.
    #[must_use]
    pub fn new(per_second: u32) -> Pace {
        Pace { per_second: per_second.max(1), level_us: 1_000_000, filled: Duration::ZERO }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        let gained = now.saturating_sub(self.filled).as_micros() as u64;
        self.filled = self.filled.max(now);
        self.level_us = (self.level_us + gained).min(1_000_000);
        let price = 1_000_000 / u64::from(self.per_second);
        let paid = self.level_us >= price;
        if paid {
            self.level_us -= price;
        }
        paid
    }

    /// When the next token is there.
    #[must_use]
    pub fn next(&self) -> Duration {
        let price = 1_000_000 / u64::from(self.per_second);
        self.filled + Duration::from_micros(price.saturating_sub(self.level_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_evenly() {
        let mut pace = Pace::new(100);
        let start = Duration::from_secs(5);
        assert_eq!((0..1000).filter(|_| pace.take(start)).count(), 100);
        assert!(!pace.take(pace.next() - Duration::from_micros(1)));
        let mut now = start;
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            now = pace.next().max(now);
            taken += u32::from(pace.take(now));
        }
        assert!((999..=1001).contains(&taken), "{taken}");
    }
}
