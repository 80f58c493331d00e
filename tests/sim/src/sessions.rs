//! DTLS as the gateway sees it: handshakes take time, fail now and then, and go on with an earlier session where both sides
//! have kept it. No keys here: those of the daemon are tested with real peers.

use lpwad::config::DtlsMode;
use lpwad::gateway::input::{Dtls, NodeId, Security};
use lpwad_sim::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A handshake that the gateway asked for.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// Whose.
    pub session: NodeId,
    /// Its DevEUI.
    pub node: [u8; 8],
    /// With which server.
    pub index: usize,
    /// Wanted local port.
    pub local_port: Option<u16>,
    /// It is only tried, beside a clear session.
    pub rehearsal: bool,
}

/// Handshakes under way and sessions.
pub struct Sessions {
    rng: Rng,
    under_way: BTreeMap<(Duration, NodeId), Handshake>,
    open: BTreeSet<NodeId>,
    /// Sessions for which a handshake has succeeded since the start.
    proven: BTreeSet<NodeId>,
    /// What the shell has exported, and what each server remembers.
    exported: BTreeSet<([u8; 8], usize)>,
    remembered: BTreeSet<([u8; 8], usize)>,
}

impl Sessions {
    /// None.
    #[must_use]
    pub fn new(seed: u64) -> Sessions {
        Sessions {
            rng: Rng::new(seed, 15),
            under_way: BTreeMap::new(),
            open: BTreeSet::new(),
            proven: BTreeSet::new(),
            exported: BTreeSet::new(),
            remembered: BTreeSet::new(),
        }
    }

    /// Begins one; an earlier one of the same session is given up.
    pub fn begin(&mut self, now: Duration, handshake: Handshake) {
        self.close(handshake.session);
        let due = now + Duration::from_millis(5 + self.rng.below(3_000));
        self.under_way.insert((due, handshake.session), handshake);
    }

    /// When the next one ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.under_way.first_key_value().map(|((due, _), _)| *due)
    }

    /// One that has ended by now, and what it led to: nothing, once in ten times.
    pub fn ended(&mut self, now: Duration) -> Option<(Handshake, Option<Security>)> {
        let entry = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        let handshake = entry.remove();
        if self.rng.below(10) == 0 {
            return Some((handshake, None));
        }
        self.proven.insert(handshake.session);
        let key = (handshake.node, handshake.index);
        let suite = "TLS_PSK_WITH_AES_128_CCM_8".into();
        if handshake.rehearsal {
            self.exported.insert(key);
            self.remembered.insert(key);
            return Some((
                handshake,
                Some(Security::Dtls(Dtls { mode: DtlsMode::Psk, suite, resumed: false, max_datagram: 512 })),
            ));
        }
        let resumed = self.exported.contains(&key) && self.remembered.contains(&key);
        self.exported.insert(key);
        self.remembered.insert(key);
        self.open.insert(handshake.session);
        Some((handshake, Some(Security::Dtls(Dtls { mode: DtlsMode::Psk, suite, resumed, max_datagram: 512 }))))
    }

    /// Ends a session, or the handshake that would lead to one.
    pub fn close(&mut self, session: NodeId) {
        self.open.remove(&session);
        self.under_way.retain(|(_, of), _| *of != session);
    }

    /// Whether a session is sealed.
    #[must_use]
    pub fn is_open(&self, session: NodeId) -> bool {
        self.open.contains(&session)
    }

    /// Whether a handshake for this session has succeeded since the start.
    #[must_use]
    pub fn is_proven(&self, session: NodeId) -> bool {
        self.proven.contains(&session)
    }

    /// One of those that are open.
    #[must_use]
    pub fn any_open(&self, which: u64) -> Option<NodeId> {
        let count = self.open.len() as u64;
        self.open.iter().nth(which.checked_rem(count)? as usize).copied()
    }

    /// Exports are on disk; nothing else is left.
    pub fn power_cut(&mut self) {
        self.open.clear();
        self.proven.clear();
        self.under_way.clear();
    }

    /// A server starts again.
    pub fn server_forgets(&mut self, index: usize) {
        self.remembered.retain(|(_, of)| *of != index);
    }
}
