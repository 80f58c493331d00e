//! What nodes said, and what their servers heard of it by Send: with its time, and in order.

use std::collections::BTreeMap;

/// From a node's first frame to the gateway's clock: rounding backward, and all of its repetitions
/// forward, in ms.
const ARRIVES_MS: std::ops::RangeInclusive<f64> = -10_000.0..=90_000.0;

/// A temperature that was on air.
#[derive(Clone, Copy, Debug)]
struct Reading {
    value: f64,
    /// The gateway's clock then, if it was trusted.
    unix_ms: Option<u64>,
    told: bool,
}

/// All that the nodes said, by node, oldest first.
#[derive(Default)]
pub struct Readings {
    said: BTreeMap<usize, Vec<Reading>>,
    /// The newest one of each node that a Send has told.
    newest_sent: BTreeMap<usize, usize>,
}

impl Readings {
    /// A node says a temperature.
    pub fn said(&mut self, n: usize, value: f64, unix_ms: Option<u64>) {
        self.said.entry(n).or_default().push(Reading { value, unix_ms, told: false });
    }

    /// The clock steps: the last reading of each node may come to the gateway before it, or after it.
    pub fn clock_steps(&mut self) {
        self.said.values_mut().filter_map(|all| all.last_mut()).for_each(|reading| reading.unix_ms = None);
    }

    /// A server hears it in a notification or an answer.
    pub fn told(&mut self, n: usize, value: f64) {
        let all = self.said.entry(n).or_default();
        all.iter_mut().filter(|reading| reading.value == value).for_each(|reading| reading.told = true);
    }

    /// A server hears temperatures in a Send, with their times in seconds since 1970. Gives what is wrong with them.
    pub fn sent(&mut self, n: usize, told: &[(f64, Option<f64>)]) -> Vec<String> {
        let all = self.said.entry(n).or_default();
        let newest_before = self.newest_sent.get(&n).copied();
        let mut problems = Vec::new();
        for (value, at_s) in told {
            let of_value = || all.iter().enumerate().filter(|(_, reading)| reading.value == *value);
            let (Some((first, _)), Some((last, _))) = (of_value().next(), of_value().next_back()) else {
                problems.push(format!("node {n}: the server was sent {value}, which the node never said"));
                continue;
            };
            let fits = |unix_ms: Option<u64>| match (unix_ms, at_s) {
                // Its time is derived from its age later, or stays unknown.
                (None, _) => true,
                (Some(_), None) => false,
                (Some(then), Some(at_s)) => ARRIVES_MS.contains(&(at_s * 1000.0 - then as f64)),
            };
            if !of_value().any(|(_, reading)| fits(reading.unix_ms)) {
                let said: Vec<_> = of_value().filter_map(|(_, reading)| reading.unix_ms).collect();
                problems
                    .push(format!("node {n}: {value} is sent with the time {at_s:?} s, and was said at {said:?} ms"));
            }
            let fresh = of_value().all(|(_, reading)| !reading.told);
            if fresh && newest_before.is_some_and(|newest| last < newest) {
                problems.push(format!("node {n}: {value} is sent after what is newer"));
            }
            let newest = self.newest_sent.entry(n).or_default();
            *newest = first.max(*newest);
        }
        for (value, _) in told {
            self.told(n, *value);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::Readings;

    #[test]
    fn wrong_times_wrong_order_and_what_was_never_said_are_found_and_a_repetition_is_none() {
        let mut readings = Readings::default();
        for (value, unix_ms) in [(1.0, 1_000_000), (2.0, 2_000_000), (3.0, 3_000_000), (4.0, 4_000_000)] {
            readings.said(0, value, Some(unix_ms));
        }
        assert_eq!(readings.sent(0, &[(1.0, Some(1000.5)), (3.0, Some(3000.0))]), [""; 0]);
        assert_eq!(readings.sent(0, &[(1.0, Some(1000.5)), (3.0, Some(3000.0))]), [""; 0], "sent again");
        assert_eq!(readings.sent(0, &[(2.0, Some(2000.0))]).len(), 1, "after what is newer");
        assert_eq!(readings.sent(0, &[(4.0, Some(4091.0))]).len(), 1, "another time");
        assert_eq!(readings.sent(0, &[(4.0, None)]).len(), 1, "no time");
        assert_eq!(readings.sent(0, &[(5.0, Some(4000.0))]).len(), 1, "never said");
        readings.said(0, 6.0, None);
        assert_eq!(readings.sent(0, &[(6.0, None)]), [""; 0], "the clock was not trusted");
    }
}
