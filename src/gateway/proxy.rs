//! The LwM2M side of a node: its client's outputs, its session, and when the client may speak.
//!
//! Presence follows the node: only an authenticated uplink leads to Register or Update. No datagram leaves by a session
//! that the verdict does not permit: a session is never opened below it, and a DTLS session that fails never becomes a
//! clear one.

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use super::output::{Output, Target};
use crate::config::ServerUri;
use crate::node::Node;
use crate::policy::decide::Verdict;
use crate::session::{Down, Reason, Security, State as SessionState, Up, Way};
use crate::store::Table;
use crate::store::record::ProxyRecord;
use lpwad_lwm2m::{CancelledBy, ClientEvent, Failure, Output as ClientOutput, Snapshot, State as ClientState};

/// Whether a snapshot has what a server asked for and the one before had not.
fn asked_for(before: Option<&Snapshot>, after: &Snapshot) -> bool {
    let of = |snapshot: &Snapshot| {
        let settings = (snapshot.lifetime_s, snapshot.default_pmin_s, snapshot.default_pmax_s);
        (snapshot.observations.clone(), snapshot.attributes.clone(), settings, snapshot.mute_send)
    };
    before.is_some_and(|before| of(before) != of(after))
}

impl Gateway {
    /// The node spoke: open its session if need be, else let its client speak.
    pub(super) fn speak(&mut self, now: Now, id: NodeId) {
        if self.stopping.is_some() {
            return;
        }
        let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none()) else { return };
        if let Some(reserve) = self.gate.reserve(id) {
            reserve.retry(now.mono);
        }
        if self.may_go_clear(id) && node.session.is_open() {
            self.go_clear(now, id);
        } else if node.session.is_open() {
            self.let_speak(now, id);
            self.rehearse(now, id);
        } else if node.session.may_open(now.mono) {
            self.open(now, id);
        }
    }

    /// Asks the shell for a session, the way that the verdict says; handshakes are paced.
    pub(super) fn open(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id) else { return };
        let Some(served) = self.servers.get(node.server) else { return };
        let (verdict, reason) = match self.gate.decision(id) {
            Some(decision) => (decision.verdict, decision.reason.clone()),
            None => (Verdict::Refuse, String::new()),
        };
        let (way, to) = match verdict {
            Verdict::Nosec if self.gate.permits(id, Way::Clear) => {
                match served.config.uri.as_ref().and_then(ServerUri::literal) {
                    Some(peer) => {
                        let bearer = self.gate.bearer(&served.config);
                        (Way::Clear, Target::Clear { peer, bearer })
                    }
                    None => return,
                }
            }
            // NoSec waits for a handshake that shows that DTLS could take over.
            Verdict::Nosec | Verdict::Dtls(_) => {
                let target = Target::Dtls { server: served.config.name.clone(), node: node.dev_eui };
                (Way::Dtls, target)
            }
            Verdict::Refuse => return self.tell_refused(id, &format!("{reason}; the node's values are kept")),
        };
        let server = node.server;
        if way == Way::Dtls && !self.handshakes.admit(now.mono, id, server) {
            return;
        }
        let Some(node) = self.fleet.get_mut(id) else { return };
        node.session.opening(way);
        let local_port = node.session.local_port;
        self.outputs.push_back(Output::Open { session: id, to, local_port });
    }

    /// Says once that no session may open for a node.
    fn tell_refused(&mut self, id: NodeId, reason: &str) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
        let event = Event::new(Kind::PolicyRefused).node(node.dev_eui).server(server);
        if !std::mem::replace(&mut node.told_refused, true) {
            self.say(event.with("reason", reason));
        }
    }

    /// Begins handshakes that waited for a token or for others to end.
    pub(super) fn tick_handshakes(&mut self, now: Now) {
        while let Some(id) = self.handshakes.next(now.mono) {
            let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none()) else { continue };
            if node.session.may_open(now.mono) {
                self.open(now, id);
            } else {
                self.rehearse(now, id);
            }
        }
    }

    /// Lets the client register or update; registrations are paced.
    fn let_speak(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id) else { return };
        let registers = !matches!(node.client.state(), ClientState::Registered { .. });
        if registers && !self.pace.take(now.mono) {
            if !self.paced.contains(&id) {
                self.paced.push_back(id);
            }
            return;
        }
        self.tell_alive(now, id);
    }

    /// Tells the client that the node spoke.
    pub(super) fn tell_alive(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        if node.session.is_open() && std::mem::take(&mut node.spoke) {
            node.client.alive(now.mono, now.unix_ms);
        }
        self.dirty.insert(id);
    }

    pub(super) fn session_up(&mut self, now: Now, id: NodeId, up: &Up) {
        self.handshakes.ended(id);
        if matches!(up.security, Security::Dtls(_))
            && let Some(reserve) = self.gate.reserve(id)
        {
            if matches!(&up.security, Security::Dtls(dtls) if dtls.resumed) {
                reserve.prove_for_now();
            } else {
                reserve.prove(now.mono);
            }
        }
        if self.may_go_clear(id) && self.stopping.is_none() {
            return self.go_clear(now, id);
        }
        let wanted = self.permits(id, &up.security) && self.stopping.is_none();
        // The node may have gone meanwhile.
        let node = self.fleet.get_mut(id).filter(|node| node.leaves.is_none());
        let Some(node) = node else { return self.outputs.push_back(Output::Close(id)) };
        let Some(is_new) = wanted.then(|| node.session.opened(up)).flatten() else {
            if node.session.is_open() {
                node.client.session_down(now.mono);
            }
            node.session.close();
            self.dirty.insert(id);
            return self.outputs.push_back(Output::Close(id));
        };
        node.client.session_up(now.mono, is_new, up.security.max_block());
        let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
        if let Security::Dtls(dtls) = &up.security {
            let event = Event::new(Kind::SessionOpened).node(node.dev_eui).server(server);
            let event = event.with("verdict", dtls.mode.verdict()).with("suite", &dtls.suite);
            self.say(event.with("resumed", dtls.resumed));
        }
        self.save_proxy(id);
        self.let_speak(now, id);
        self.dirty.insert(id);
    }

    /// A DTLS session has shown that it could be had, and NoSec may be used: the one ends without a word, so that it can be
    /// resumed, and the other opens.
    fn go_clear(&mut self, now: Now, id: NodeId) {
        self.close_session(now, id);
        self.open(now, id);
    }

    /// Whether a session of this security is permitted now.
    fn permits(&self, id: NodeId, security: &Security) -> bool {
        self.gate.permits(id, security.way())
    }

    /// A session could not be opened, or has ended.
    pub(super) fn session_down(&mut self, now: Now, id: NodeId, down: Down) {
        self.handshakes.ended(id);
        let Some(node) = self.fleet.get_mut(id) else { return };
        let was_open = node.session.is_open();
        if was_open {
            node.client.session_down(now.mono);
        }
        let is_reserve = matches!(node.session.state, SessionState::Opening(Way::Dtls));
        let was_clear = matches!(node.session.state, SessionState::Opening(Way::Clear));
        let reserve = is_reserve.then(|| down.clone());
        let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
        let event = Event::new(Kind::of_down(down.reason)).node(node.dev_eui).server(server);
        let mut event = event.with("reason", &down.detail).with("hint", down.reason.hint());
        match down.reason {
            Reason::Parked | Reason::KeyChanged | Reason::Ended | Reason::Forged if was_open => node.session.close(),
            _ => {
                node.session.failed(now.mono, down);
                if let SessionState::Failed { until } = node.session.state {
                    event = event.with("retry_in_s", (until.saturating_sub(now.mono)).as_secs());
                }
            }
        }
        self.say(event);
        if let Some(down) = reserve.filter(|_| self.gate.decision(id).is_some_and(|one| one.verdict.permits_nosec())) {
            self.say_reserve_failed(id, &down);
        }
        if was_clear {
            self.clear_failed(now, id);
        }
        self.dirty.insert(id);
    }

    /// The server is silent: it may have lost a DTLS session, which a new handshake tells; a clear socket may belong to an address
    /// or an interface that is no longer what it was.
    fn renew(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id).filter(|node| node.leaves.is_none()) else { return };
        if !node.session.is_open() || self.stopping.is_some() {
            return;
        }
        node.client.session_down(now.mono);
        node.session.close();
        self.outputs.push_back(Output::Close(id));
        self.open(now, id);
        self.dirty.insert(id);
    }

    pub(super) fn datagram(&mut self, now: Now, id: NodeId, bytes: &[u8]) {
        let Some(node) = self.fleet.get_mut(id).filter(|node| node.session.is_open()) else {
            self.count("datagrams_without_session");
            return;
        };
        node.client.handle_datagram(now.mono, now.unix_ms, bytes);
        self.dirty.insert(id);
    }

    pub(super) fn tick_node(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        node.client.tick(now.mono, now.unix_ms);
        if node.leaves.is_none() {
            self.expire_downlinks(now, id);
        }
        self.dirty.insert(id);
    }

    /// Passes on what a client says. What a server asked for is answered when it is on disk: a server that observes does not ask
    /// again, and hears nothing if the power cut took it.
    pub(super) fn drain_client(&mut self, now: Now, id: NodeId) {
        let first = self.outputs.len();
        while let Some(output) = self.fleet.get_mut(id).and_then(|node| node.client.poll()) {
            match output {
                ClientOutput::Send(bytes) => self.send(id, bytes),
                ClientOutput::Write { exchange, writes, .. } => self.write(now, id, exchange, writes),
                ClientOutput::Execute { exchange, path, .. } => self.execute(now, id, exchange, path),
                ClientOutput::Save(snapshot) => {
                    let Some(node) = self.fleet.get_mut(id) else { continue };
                    let asked = asked_for(node.snapshot.as_ref(), &snapshot);
                    node.snapshot = Some(snapshot);
                    self.save_proxy(id);
                    if asked {
                        self.hold_sends(id, first);
                    }
                }
                ClientOutput::Sent(outcome) => self.sent(now, id, outcome),
                ClientOutput::Event(event) => {
                    let silent = is_silence(&event);
                    self.client_event(now, id, event);
                    if silent {
                        self.renew(now, id);
                    }
                }
            }
        }
        if self.persist.is_holding(id) {
            // A request that is repeated is answered again, and no sooner.
            self.hold_sends(id, first);
        }
        self.deliver(now, id);
        self.finish_leaving(now, id);
    }

    /// The only place where a datagram leaves: never by a session that the verdict does not permit.
    fn send(&mut self, id: NodeId, bytes: Vec<u8>) {
        let security = self.fleet.get(id).and_then(|node| node.session.security());
        if security.is_some_and(|security| self.permits(id, security)) {
            self.outputs.push_back(Output::Send(id, bytes));
        } else {
            self.count("datagrams_not_permitted");
        }
    }

    /// Lets datagrams of a client, given out from `first` on, wait for the disk. While the disk fails nothing waits for it.
    fn hold_sends(&mut self, id: NodeId, first: usize) {
        if self.persist.is_failing() {
            return;
        }
        if self.persist.is_holding_enough() {
            self.count("datagrams_not_held");
            return;
        }
        let given_out = self.outputs.split_off(first.min(self.outputs.len()));
        for output in given_out {
            match output {
                Output::Send(of, bytes) if of == id => self.persist.send_when_saved(id, bytes),
                other => self.outputs.push_back(other),
            }
        }
    }

    /// A datagram that waited for the disk leaves.
    pub(super) fn send_held(&mut self, id: NodeId, bytes: Vec<u8>) {
        if self.fleet.get(id).is_some_and(|node| node.session.is_open()) {
            self.send(id, bytes);
        }
    }

    fn save_proxy(&mut self, id: NodeId) {
        let Some(node) = self.fleet.get(id).filter(|node| node.leaves.is_none()) else { return };
        let Some(record) = self.proxy_record(node) else { return };
        self.persist.put(Table::Proxy, node.dev_eui, record.to_bytes());
    }

    /// What the store keeps of a proxy.
    pub(super) fn proxy_record(&self, node: &Node) -> Option<ProxyRecord> {
        let served = self.servers.get(node.server)?;
        Some(ProxyRecord {
            server: served.config.name.clone(),
            endpoint: node.endpoint.clone(),
            local_port: node.session.local_port,
            dtls: node.session.last_way == Way::Dtls,
            snapshot: node.snapshot.clone(),
        })
    }

    fn client_event(&mut self, now: Now, id: NodeId, event: ClientEvent) {
        let Some(node) = self.fleet.get(id) else { return };
        let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
        let about = |kind| Event::new(kind).node(node.dev_eui).server(server);
        match event {
            ClientEvent::Registered { .. } => self.backlog.registered(node.dev_eui),
            ClientEvent::Updated => self.backlog.updated(now.mono, node.dev_eui),
            ClientEvent::RegistrationFailed { .. } | ClientEvent::UpdateFailed { .. } | ClientEvent::Lapsed => {
                self.backlog.missed(node.dev_eui);
            }
            // It may have forgotten everything: what it refused to hear goes by Send, when it is registered again if need be.
            ClientEvent::ObservationCancelled { by: CancelledBy::Reset, .. } => self.backlog.missed(node.dev_eui),
            _ => {}
        }
        let event = match event {
            ClientEvent::Registered { location } => {
                about(Kind::Registered).with("endpoint", &node.endpoint).with("location", location)
            }
            ClientEvent::RegistrationFailed { reason, retry_in } => {
                let retry = retry_in.map_or("-".into(), |wait| wait.as_secs().to_string());
                about(Kind::RegistrationFailed).with("reason", reason).with("retry_in_s", retry)
            }
            ClientEvent::Updated => about(Kind::Updated),
            ClientEvent::UpdateFailed { reason } => about(Kind::RegistrationFailed).with("reason", reason),
            ClientEvent::Deregistered => about(Kind::Deregistered),
            ClientEvent::Lapsed => about(Kind::RegistrationLapsed),
            ClientEvent::Observed { path } => about(Kind::Observed).with("path", path),
            ClientEvent::ObservationCancelled { path, by } => {
                about(Kind::ObservationEnded).with("path", path).with("by", format!("{by:?}"))
            }
            ClientEvent::Notified { path, confirmable } => {
                about(Kind::Notified).with("path", path).with("confirmable", confirmable)
            }
            ClientEvent::WriteAttributes { path } => {
                about(Kind::Served).with("operation", "write-attributes").with("path", path)
            }
            ClientEvent::Read { path } => about(Kind::Served).with("operation", "read").with("path", path),
            ClientEvent::Discovered { path } => about(Kind::Served).with("operation", "discover").with("path", path),
        };
        match event.kind {
            Kind::Registered => self.count("registrations"),
            Kind::Observed => self.count("observations"),
            Kind::Notified => self.count("notifications"),
            _ => {}
        }
        self.say(event);
    }
}

/// Whether the server did not answer at all.
fn is_silence(event: &ClientEvent) -> bool {
    match event {
        ClientEvent::RegistrationFailed { reason, .. } | ClientEvent::UpdateFailed { reason } => {
            *reason == Failure::Timeout
        }
        _ => false,
    }
}
