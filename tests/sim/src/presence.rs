//! Who speaks stays registered: a registration does not run out where its node was heard in the second half of the lifetime
//! and nothing stood in the way of an Update.

use crate::site;
use std::collections::BTreeMap;
use std::time::Duration;

/// Lifetime of a registration, from the profile of the site: three times the interval of its nodes.
const LIFETIME: Duration = Duration::from_secs(3 * 3600);
/// An Update with all its repetitions, and a handshake before it.
const TIME_TO_RENEW: Duration = Duration::from_secs(600);
/// From the request to the server's answer.
const SLACK: Duration = Duration::from_secs(60);

/// When nodes were heard, and when something was in the way.
#[derive(Default)]
pub struct Presence {
    /// The last uplinks of each node that the gateway said, newest last.
    heard: BTreeMap<usize, Vec<Duration>>,
    of_node: BTreeMap<usize, Duration>,
    of_server: [Duration; 2],
    of_all: Duration,
}

impl Presence {
    /// The gateway took an uplink.
    pub fn heard(&mut self, now: Duration, n: usize) {
        let heard = self.heard.entry(n).or_default();
        heard.retain(|at| now - *at < LIFETIME);
        heard.push(now);
    }

    /// Something is in the way of a node, until then.
    pub fn node_disturbed(&mut self, until: Duration, n: usize) {
        let latest = self.of_node.entry(n).or_default();
        *latest = until.max(*latest);
    }

    /// Something was in the way of a server until now.
    pub fn server_disturbed(&mut self, now: Duration, index: usize) {
        if let Some(until) = self.of_server.get_mut(index) {
            *until = now;
        }
    }

    /// Something is in the way of everything, until then.
    pub fn disturbed(&mut self, until: Duration) {
        self.of_all = self.of_all.max(until);
    }

    /// A registration has run out; when its node was heard and should have renewed it, if it was.
    #[must_use]
    pub fn expired(&self, now: Duration, n: usize) -> Option<Duration> {
        let of_node = self.of_node.get(&n).copied().unwrap_or_default();
        let of_server = self.of_server.get(n % 2).copied().unwrap_or_default();
        let from = (now + SLACK).saturating_sub(LIFETIME / 2).max(of_node).max(of_server).max(self.of_all);
        let to = now.saturating_sub(TIME_TO_RENEW);
        self.heard.get(&n)?.iter().copied().find(|at| *at > from && *at < to)
    }
}

/// The lifetime follows from the interval of the nodes.
const _: () = assert!(LIFETIME.as_secs() == 3 * site::INTERVAL.as_secs());
