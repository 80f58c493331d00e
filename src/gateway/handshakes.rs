//! Handshakes that are under way, and nodes that wait to begin one: so many at once, so many in a second, for the sake of
//! servers and backhaul (a restart of a thousand proxies is not a storm).

use super::input::NodeId;
use super::pace::Pace;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

/// Handshakes that begin in a second.
const HANDSHAKES_PER_S: u32 = 20;
/// Handshakes that are under way at once.
const MAX_HANDSHAKES: usize = 64;
/// Of these, with one server: one that is silent keeps its handshakes for two minutes, and must not keep out the others.
const MAX_OF_A_SERVER: usize = 48;

/// All handshakes.
#[derive(Debug)]
pub(super) struct Handshakes {
    pace: Pace,
    /// With the number of the server.
    under_way: BTreeMap<NodeId, usize>,
    waiting: VecDeque<(NodeId, usize)>,
    /// Admitted by [`Handshakes::next`], and about to begin.
    called: Option<NodeId>,
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes {
            pace: Pace::new(HANDSHAKES_PER_S),
            under_way: BTreeMap::new(),
            waiting: VecDeque::new(),
            called: None,
        }
    }
}

impl Handshakes {
    /// Whether this node may begin now; if not, it is called when its turn comes.
    pub(super) fn admit(&mut self, now: Duration, id: NodeId, server: usize) -> bool {
        let called = self.called.take() == Some(id);
        if called || (self.turn().is_none() && self.has_room(server) && self.pace.take(now)) {
            self.under_way.insert(id, server);
            return true;
        }
        if !self.waiting.iter().any(|(waiting, _)| *waiting == id) {
            self.waiting.push_back((id, server));
        }
        false
    }

    /// The next node whose turn it is; it is admitted if it asks now.
    pub(super) fn next(&mut self, now: Duration) -> Option<NodeId> {
        let turn = self.turn()?;
        if !self.pace.take(now) {
            return None;
        }
        self.called = self.waiting.remove(turn).map(|(id, _)| id);
        self.called
    }

    /// A handshake has ended, one way or the other, or its node has gone.
    pub(super) fn ended(&mut self, id: NodeId) {
        self.under_way.remove(&id);
    }

    /// A node has gone.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.ended(id);
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }

    /// Nobody begins any more.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
    }

    /// When the next one may begin.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.turn().map(|_| self.pace.next())
    }

    /// Under way, and waiting.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.under_way.len(), self.waiting.len())
    }

    /// Place in the queue of who may begin: the first of the server that has the fewest under way, so that servers which are silent
    /// do not keep out the others.
    fn turn(&self) -> Option<usize> {
        if self.waiting.is_empty() || self.under_way.len() >= MAX_HANDSHAKES {
            return None;
        }
        let mut under_way: BTreeMap<usize, usize> = BTreeMap::new();
        for server in self.under_way.values() {
            *under_way.entry(*server).or_default() += 1;
        }
        let of = |server: &usize| under_way.get(server).copied().unwrap_or(0);
        let may = self.waiting.iter().enumerate().filter(|(_, (_, server))| of(server) < MAX_OF_A_SERVER);
        may.min_by_key(|(_, (_, server))| of(server)).map(|(place, _)| place)
    }

    fn has_room(&self, server: usize) -> bool {
        let of_it = self.under_way.values().filter(|of| **of == server).count();
        self.under_way.len() < MAX_HANDSHAKES && of_it < MAX_OF_A_SERVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_in_a_second_and_sixty_four_at_once_in_the_order_of_asking() {
        let mut handshakes = Handshakes::default();
        let start = Duration::from_secs(9);
        // Two servers, in turn.
        let server = |id: NodeId| id.0 as usize % 2;
        let begun = (0..200).map(NodeId).filter(|id| handshakes.admit(start, *id, server(*id))).count();
        assert_eq!((begun, handshakes.counts()), (20, (20, 180)));
        let mut now = start;
        let mut order = Vec::new();
        while let Some(due) = handshakes.deadline() {
            now = due;
            while let Some(id) = handshakes.next(now) {
                assert!(handshakes.admit(now, id, server(id)));
                order.push(id.0);
            }
        }
        assert_eq!(order, (20..64).collect::<Vec<_>>());
        assert!((2100..=2300).contains(&(now - start).as_millis()), "44 more at 20 in a second: {:?}", now - start);
        handshakes.ended(NodeId(3));
        handshakes.forget(NodeId(64));
        assert_eq!(handshakes.next(now + Duration::from_secs(1)), Some(NodeId(65)));
    }

    #[test]
    fn a_silent_server_does_not_keep_out_the_others() {
        let mut handshakes = Handshakes::default();
        let at = |n: u32| Duration::from_secs(u64::from(n));
        let silent = (0..100).filter(|n| handshakes.admit(at(*n), NodeId(*n), 0)).count();
        assert_eq!((silent, handshakes.counts()), (MAX_OF_A_SERVER, (48, 52)));
        assert!(handshakes.admit(at(100), NodeId(100), 1), "it does not wait behind those that cannot begin");
    }

    #[test]
    fn two_silent_servers_do_not_keep_out_a_third() {
        let mut handshakes = Handshakes::default();
        let at = |n: u32| Duration::from_secs(u64::from(n));
        for n in 0..200 {
            handshakes.admit(at(n), NodeId(n), n as usize % 2);
        }
        assert_eq!(handshakes.counts(), (64, 136));
        assert!(!handshakes.admit(at(200), NodeId(200), 2), "all are taken");
        handshakes.ended(NodeId(0));
        assert_eq!(handshakes.next(at(201)), Some(NodeId(200)), "the first that ends is for the server that has none");
    }
}
