//! How often the same thing is said. Anybody with a transmitter, and a plugin that lies, can cause events; the journal must
//! not drown in them.

use core::time::Duration;
use std::collections::BTreeMap;

/// Events of one kind and reason that are said in a minute.
/// Counted: `events_not_said`.
const MAX_SAID_PER_MINUTE: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// What was said in this minute, by reason; reasons are a closed set.
#[derive(Debug, Default)]
pub(super) struct Quota(BTreeMap<String, Minute>);

#[derive(Debug)]
struct Minute {
    since: Duration,
    said: u64,
    suppressed: u64,
}

impl Quota {
    /// Whether an event with this reason is to be said now, and how many were not said before it.
    pub(super) fn take(&mut self, now: Duration, reason: &str) -> Option<u64> {
        let fresh = || Minute { since: now, said: 0, suppressed: 0 };
        let minute = self.0.entry(reason.to_string()).or_insert_with(fresh);
        if now.saturating_sub(minute.since) >= MINUTE {
            *minute = Minute { suppressed: minute.suppressed, ..fresh() };
        }
        if minute.said >= MAX_SAID_PER_MINUTE {
            minute.suppressed += 1;
            return None;
        }
        minute.said += 1;
        Some(std::mem::take(&mut minute.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_minute_are_said_and_the_rest_is_counted() {
        let mut quota = Quota::default();
        let at = Duration::from_millis;
        let said: Vec<_> = (0..1000).filter_map(|n| quota.take(at(n * 10), "BadMic")).collect();
        assert_eq!(said, [0; 10]);
        assert_eq!(quota.take(at(10_000), "Malformed"), Some(0), "another reason has its own");
        assert_eq!(quota.take(at(60_000), "BadMic"), Some(990));
        assert_eq!(quota.take(at(60_001), "BadMic"), Some(0));
    }
}
