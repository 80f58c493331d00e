//! What is seen, and for how long it counts.

use crate::policy::facts::{Facts, Seen};
use core::time::Duration;
use std::collections::BTreeSet;

/// A look that does not come: so long after the last one nothing of what was seen with it counts.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// What is seen of this host.
#[derive(Debug)]
pub(super) struct Sight {
    /// As of the last look.
    host: Facts,
    looked: Duration,
}

impl Sight {
    /// As `host` is seen at `now`.
    pub(super) fn new(now: Duration, host: Facts) -> Sight {
        Sight { host, looked: now }
    }

    /// Takes over a look. Gives whether a decision can be another one by it: ages only count where they pass one of
    /// `limits`, in s.
    pub(super) fn look(&mut self, now: Duration, host: Facts, limits: &BTreeSet<u32>) -> bool {
        let changed = rough(&host, limits) != rough(&self.host, limits);
        (self.host, self.looked) = (host, now);
        changed
    }

    /// When [`Sight::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.host.seen.is_empty()).then(|| self.looked + LOOK_TIMEOUT)
    }

    /// Forgets what is too old; gives whether there was something.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let overdue = self.deadline().is_some_and(|deadline| deadline <= now);
        if overdue {
            self.host.seen.clear();
        }
        overdue
    }

    /// What is seen now, with what is known of a node beside it.
    pub(super) fn facts(&self) -> Facts {
        self.host.clone()
    }
}

/// Facts with their ages as the number of limits that they are beyond.
fn rough(facts: &Facts, limits: &BTreeSet<u32>) -> Facts {
    let beyond = |age_s: u32| limits.iter().take_while(|limit| **limit < age_s).zip(1..).last().map_or(0, |(_, n)| n);
    let seen = facts.seen.iter().map(|seen| Seen { age_s: beyond(seen.age_s), ..seen.clone() }).collect();
    Facts { seen, ..facts.clone() }
}
