//! The network between proxies and servers: it loses, doubles, delays and reorders.

use lpwad_sim::rng::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    /// To a server, from the proxy's local port.
    Server {
        /// Which one.
        index: usize,
        /// The proxy's port.
        from: u16,
    },
    /// To the proxy at this port.
    Proxy {
        /// Port.
        port: u16,
        /// From which server.
        index: usize,
    },
}

/// Datagrams under way.
pub struct Net {
    rng: Rng,
    under_way: BTreeMap<(Duration, u64), (To, Vec<u8>)>,
    next: u64,
}

impl Net {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Net {
        Net { rng: Rng::new(seed, 11), under_way: BTreeMap::new(), next: 0 }
    }

    /// Sends a datagram: 2 % are lost, 1 % doubled, 1 % late by up to 3 s.
    pub fn send(&mut self, now: Duration, to: To, bytes: &[u8]) {
        let copies = match self.rng.below(100) {
            0 | 1 => 0,
            2 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let late = if self.rng.below(100) == 0 { 3_000_000 } else { 30_000 };
            let due = now + Duration::from_micros(500 + self.rng.below(late));
            self.next += 1;
            self.under_way.insert((due, self.next), (to, bytes.to_vec()));
        }
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.under_way.first_key_value().map(|((due, _), _)| *due)
    }

    /// The datagram that has arrived.
    pub fn take(&mut self, now: Duration) -> Option<(To, Vec<u8>)> {
        self.deadline().filter(|due| *due <= now)?;
        self.under_way.pop_first().map(|(_, datagram)| datagram)
    }
}
