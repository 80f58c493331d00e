//! Handshakes that are under way, and nodes that wait to begin one: so many at once, so many in a second, for the sake of
//! servers and backhaul (a restart of a thousand proxies is not a storm).

use super::input::NodeId;
use super::pace::Pace;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

/// Handshakes that begin in a second.
const HANDSHAKES_PER_S: u32 = 20;
/// Handshakes that are under way at once.
const MAX_HANDSHAKES: usize = 64;

/// All handshakes.
#[derive(Debug)]
pub(super) struct Handshakes {
    pace: Pace,
    under_way: BTreeSet<NodeId>,
    waiting: VecDeque<NodeId>,
    /// Admitted by [`Handshakes::next`], and about to begin.
    called: Option<NodeId>,
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes {
            pace: Pace::new(HANDSHAKES_PER_S),
            under_way: BTreeSet::new(),
            waiting: VecDeque::new(),
            called: None,
        }
    }
}

impl Handshakes {
    /// Whether this node may begin now; if not, it is called when its turn comes.
    pub(super) fn admit(&mut self, now: Duration, id: NodeId) -> bool {
        let called = self.called.take() == Some(id);
        if called || (self.waiting.is_empty() && self.has_room() && self.pace.take(now)) {
            self.under_way.insert(id);
            return true;
        }
        if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
        false
    }

    /// The next node whose turn it is; it is admitted if it asks now.
    pub(super) fn next(&mut self, now: Duration) -> Option<NodeId> {
        if !self.has_room() || self.waiting.is_empty() || !self.pace.take(now) {
            return None;
        }
        self.called = self.waiting.pop_front();
        self.called
    }

    /// A handshake has ended, one way or the other, or its node has gone.
    pub(super) fn ended(&mut self, id: NodeId) {
        self.under_way.remove(&id);
    }

    /// A node has gone.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.ended(id);
        self.waiting.retain(|waiting| *waiting != id);
    }

    /// Nobody begins any more.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
    }

    /// When the next one may begin.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.waiting.is_empty() && self.has_room()).then(|| self.pace.next())
    }

    /// Under way, and waiting.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.under_way.len(), self.waiting.len())
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < MAX_HANDSHAKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_in_a_second_and_sixty_four_at_once_in_the_order_of_asking() {
        let mut handshakes = Handshakes::default();
        let start = Duration::from_secs(9);
        let begun = (0..200).filter(|n| handshakes.admit(start, NodeId(*n))).count();
        assert_eq!((begun, handshakes.counts()), (20, (20, 180)));
        let mut now = start;
        let mut order = Vec::new();
        while let Some(due) = handshakes.deadline() {
            now = due;
            while let Some(id) = handshakes.next(now) {
                assert!(handshakes.admit(now, id));
                order.push(id.0);
            }
        }
        assert_eq!(order, (20..64).collect::<Vec<_>>());
        assert!((2100..=2300).contains(&(now - start).as_millis()), "44 more at 20 in a second: {:?}", now - start);
        handshakes.ended(NodeId(3));
        handshakes.forget(NodeId(64));
        assert_eq!(handshakes.next(now + Duration::from_secs(1)), Some(NodeId(65)));
    }
}
