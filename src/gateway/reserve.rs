//! DTLS in reserve (threat-analysis rule TA13): where an analysis asks for it, a proxy uses NoSec only after a handshake
//! with its own credential, and another one follows every day, so that the day on which NoSec is lost is not the day on
//! which the site goes dark. A rehearsal has a socket of its own; the clear session goes on meanwhile.

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use super::output::Output;
use crate::session::{Down, Security, State as SessionState, Way};
use core::time::Duration;

/// Bound: From one rehearsal to the next.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// From one that failed, or was given up, to the next.
const RETRY: Duration = Duration::from_secs(3600);

/// What is known of the reserve of a node since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reserve {
    /// A handshake has succeeded.
    pub(super) proven: bool,
    /// It is not due before.
    not_before: Duration,
    /// A clear session cannot be had: DTLS takes its place until then.
    takes_over_until: Option<Duration>,
}

impl Reserve {
    /// A handshake has succeeded.
    pub(super) fn prove(&mut self, now: Duration) {
        (self.proven, self.not_before) = (true, now + EVERY);
    }

    /// One begins, which may fail.
    fn tried(&mut self, now: Duration) {
        self.not_before = now + RETRY;
    }

    /// Whether it is time for a rehearsal.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.not_before <= now
    }

    /// An earlier session goes on: the server has it, and whether the credential still works is tried next.
    pub(super) fn prove_for_now(&mut self) {
        self.proven = true;
    }

    /// A clear session could not be opened.
    fn take_over(&mut self, now: Duration) {
        self.takes_over_until = Some(now + RETRY);
    }

    /// Whether DTLS is used because a clear session could not be opened.
    pub(super) fn takes_over(&self) -> bool {
        self.takes_over_until.is_some()
    }

    /// It is time to try a clear session again.
    pub(super) fn retry(&mut self, now: Duration) {
        self.takes_over_until = self.takes_over_until.filter(|until| *until > now);
    }
}

impl Gateway {
    /// The node spoke, and its clear session is open: tries its reserve if that is due. Handshakes are paced.
    pub(super) fn rehearse(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id).filter(|node| matches!(node.session.security(), Some(Security::Clear)))
        else {
            return;
        };
        let Some(server) = self.servers.get(node.server).map(|served| served.config.name.clone()) else { return };
        let (index, dev_eui) = (node.server, node.dev_eui);
        if !self.gate.rehearsal_is_due(id, now.mono) || !self.handshakes.admit(now.mono, id, index) {
            return;
        }
        if let Some(reserve) = self.gate.reserve(id) {
            reserve.tried(now.mono);
        }
        self.outputs.push_back(Output::Rehearse { session: id, server, node: dev_eui });
    }

    /// A rehearsal has ended: well, or not. One that failed withdraws nothing, for then the node would be dark today.
    pub(super) fn rehearsed(&mut self, now: Now, id: NodeId, down: Option<Down>) {
        self.handshakes.ended(id);
        match down {
            None => {
                if let Some(reserve) = self.gate.reserve(id) {
                    reserve.prove(now.mono);
                }
            }
            Some(down) => self.say_reserve_failed(id, &down),
        }
    }

    /// A clear session could not be opened, by this host's own fault: an old kernel, or no descriptors. DTLS takes over if it can
    /// be had.
    pub(super) fn clear_failed(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id).filter(|node| node.dtls.is_some()) else { return };
        if self.servers.get(node.server).is_none_or(|served| served.config.secure_uri.is_none()) {
            return;
        }
        if let Some(reserve) = self.gate.reserve(id) {
            reserve.take_over(now.mono);
        }
        if self.is_there(now, id) && self.stopping.is_none() {
            self.open(now, id);
        }
    }

    /// Says that the reserve of a node does not work.
    pub(super) fn say_reserve_failed(&mut self, id: NodeId, down: &Down) {
        let Some(node) = self.fleet.get(id) else { return };
        let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
        let event = Event::new(Kind::ReserveFailed).node(node.dev_eui).server(server);
        let reason = format!("{}: {}", down.reason.name(), down.detail);
        self.say(event.with("reason", reason).with("hint", down.reason.hint()));
    }

    /// Whether an open or opening DTLS session has done its work, because NoSec may be used now.
    pub(super) fn may_go_clear(&self, id: NodeId) -> bool {
        let dtls = self.fleet.get(id).is_some_and(|node| match &node.session.state {
            SessionState::Opening(way) => *way == Way::Dtls,
            SessionState::Open(security) => security.way() == Way::Dtls,
            SessionState::Closed | SessionState::Failed { .. } => false,
        });
        dtls && self.gate.permits(id, Way::Clear)
    }
}
