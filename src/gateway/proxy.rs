//! The LwM2M side of a node: its client's outputs, its session, and when the client may speak.
//!
//! Presence follows the node: only an authenticated uplink leads to Register or Update. No datagram leaves for a server
//! whose verdict does not permit it.

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use super::output::Output;
use crate::config::ServerUri;
use crate::node::Node;
use crate::store::Table;
use crate::store::record::ProxyRecord;
use lpwad_lwm2m::{ClientEvent, Output as ClientOutput, State as ClientState};

impl Gateway {
    /// The node spoke: open its session if need be, else let its client speak.
    pub(super) fn speak(&mut self, now: Now, id: NodeId) {
        if self.stopping.is_some() {
            return;
        }
        let Some(node) = self.fleet.get_mut(id).filter(|node| node.leaves.is_none()) else { return };
        let Some(served) = self.servers.get(node.server) else { return };
        if !served.verdict.permits_nosec() {
            let event = Event::new(Kind::PolicyRefused).node(node.dev_eui).server(&served.config.name);
            if !std::mem::replace(&mut node.told_refused, true) {
                self.say(event.with("reason", "the server's verdict permits no session; the node's values are kept"));
            }
            return;
        }
        let Some(peer) = served.config.uri.as_ref().and_then(ServerUri::literal) else { return };
        if node.session.want_open(now.mono) {
            let local_port = node.session.local_port;
            self.outputs.push_back(Output::Open { session: id, peer, local_port });
        } else if node.session.is_open() {
            self.let_speak(now, id);
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

    pub(super) fn opened(&mut self, now: Now, id: NodeId, port: u16) {
        let Some(node) = self.fleet.get_mut(id).filter(|node| node.leaves.is_none()) else {
            // The node has gone meanwhile.
            self.outputs.push_back(Output::Close(id));
            return;
        };
        let permitted = self.servers.get(node.server).is_some_and(|served| served.verdict.permits_nosec());
        if !permitted || self.stopping.is_some() {
            node.session.close();
            self.outputs.push_back(Output::Close(id));
            return;
        }
        let is_new = node.session.opened(port);
        node.client.session_up(now.mono, is_new);
        self.save_proxy(id);
        self.let_speak(now, id);
        self.dirty.insert(id);
    }

    pub(super) fn open_failed(&mut self, now: Now, id: NodeId, why: &str) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        node.session.failed(now.mono);
        let event = Event::new(Kind::SessionFailed).node(node.dev_eui);
        self.say(event.with("reason", why));
    }

    /// Closes all sessions to a server, without a word.
    pub(super) fn close_sessions(&mut self, now: Now, server: usize) {
        for id in self.fleet.ids() {
            let Some(node) = self.fleet.get_mut(id).filter(|node| node.server == server) else { continue };
            node.told_refused = false;
            if node.session.is_open() {
                node.client.session_down(now.mono);
                self.outputs.push_back(Output::Close(id));
            }
            node.session.close();
            self.dirty.insert(id);
        }
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

    /// Passes on what a client says.
    pub(super) fn drain_client(&mut self, now: Now, id: NodeId) {
        while let Some(output) = self.fleet.get_mut(id).and_then(|node| node.client.poll()) {
            match output {
                ClientOutput::Send(bytes) => self.send(id, bytes),
                ClientOutput::Write { exchange, writes, .. } => self.write(now, id, exchange, writes),
                ClientOutput::Execute { exchange, path, .. } => self.execute(now, id, exchange, path),
                ClientOutput::Save(snapshot) => {
                    if let Some(node) = self.fleet.get_mut(id) {
                        node.snapshot = Some(snapshot);
                    }
                    self.save_proxy(id);
                }
                ClientOutput::Sent(outcome) => self.sent(now, id, outcome),
                ClientOutput::Event(event) => self.client_event(id, event),
            }
        }
        self.deliver(now, id);
        self.finish_leaving(now, id);
    }

    /// The only place where a datagram leaves: never for a server whose verdict does not permit it.
    fn send(&mut self, id: NodeId, bytes: Vec<u8>) {
        let permitted = self.fleet.get(id).is_some_and(|node| {
            node.session.is_open() && self.servers.get(node.server).is_some_and(|served| served.verdict.permits_nosec())
        });
        if permitted {
            self.outputs.push_back(Output::Send(id, bytes));
        } else {
            self.count("datagrams_not_permitted");
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
            snapshot: node.snapshot.clone(),
        })
    }

    fn client_event(&mut self, id: NodeId, event: ClientEvent) {
        let Some(node) = self.fleet.get(id) else { return };
        let server = self.servers.get(node.server).map_or("", |served| served.config.name.as_str());
        let about = |kind| Event::new(kind).node(node.dev_eui).server(server);
        match event {
            ClientEvent::Registered { .. } => self.backlog.registered(node.dev_eui),
            ClientEvent::RegistrationFailed { .. } | ClientEvent::UpdateFailed { .. } | ClientEvent::Lapsed => {
                self.backlog.missed(node.dev_eui);
            }
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
