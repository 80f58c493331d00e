//! The server without its socket and clock.

use super::command::Command;
use super::event::Event;
use super::exchange::{EXCHANGE_LIFETIME, Peer};
use super::message::{self, Kind, Token};
use super::path::Path;
use super::registration::{Id, Registrations};
use crate::rng::Rng;
use coap_lite::{MessageType, Packet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Most addresses that are remembered; messages of further ones are dropped.
pub const MAX_PEERS: usize = 20_000;
/// Most observations of one registration.
pub const MAX_OBSERVATIONS: usize = 64;
/// Bound: How long a client in queue mode listens after its last message (LwM2M Transport 1.1.1 §6.5): MAX_TRANSMIT_WAIT.
pub const AWAKE: Duration = Duration::from_secs(93);

/// What is observed after a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservePolicy {
    /// Every instance of the objects 3200 to 3399 (IPSO sensors and actuators).
    Sensors,
    /// Every object instance in the list.
    All,
    /// These paths, as far as the client has the object.
    Paths(Vec<Path>),
}

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is observed after a registration.
    pub observe: ObservePolicy,
    /// Seed of tokens, message ids, locations and timeouts.
    pub seed: u64,
}

/// What the server wants done or known.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// One CoAP message.
        bytes: Vec<u8>,
    },
    /// Something to tell.
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The request under way to this peer is repeated or given up.
    Repeat(SocketAddr),
    /// The lifetime of a registration is over.
    Expire(Id),
    /// A peer may be forgotten.
    Forget(SocketAddr),
}

#[derive(Debug)]
pub(super) struct Observation {
    pub(super) registration: Id,
    pub(super) path: Path,
    /// Number and time of the newest notification.
    pub(super) newest: (u32, Duration),
}

/// A small LwM2M 1.1 server: `handle_datagram`, `command` and `tick` in, then [`Server::poll`] until `None`.
#[derive(Debug)]
pub struct Server {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) registrations: Registrations,
    pub(super) peers: BTreeMap<SocketAddr, Peer>,
    pub(super) observations: BTreeMap<Token, Observation>,
    pub(super) timers: BTreeSet<(Duration, Timer)>,
    silent: bool,
    outputs: VecDeque<Output>,
}

impl Server {
    /// A server without registrations.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Server {
            rng: Rng::new(config.seed, 0x5345_5256),
            config,
            registrations: Registrations::default(),
            peers: BTreeMap::new(),
            observations: BTreeMap::new(),
            timers: BTreeSet::new(),
            silent: false,
            outputs: VecDeque::new(),
        }
    }

    /// One datagram from the socket. Whatever it holds, the worst that happens is an [`Event::Dropped`].
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        if self.silent {
            return;
        }
        let Some(packet) = message::parse(bytes) else { return self.dropped("not CoAP", from) };
        if !self.hear(now, from) {
            return self.dropped("too many addresses", from);
        }
        match (message::kind(&packet), packet.header.get_type()) {
            (Kind::Request, MessageType::Confirmable | MessageType::NonConfirmable) => self.serve(now, from, &packet),
            (Kind::Response, MessageType::Acknowledgement) => self.piggybacked(now, from, &packet),
            (Kind::Response, MessageType::Confirmable | MessageType::NonConfirmable) => {
                self.separate(now, from, &packet);
            }
            (Kind::Empty, MessageType::Acknowledgement) => self.acknowledged(now, from, packet.header.message_id),
            (Kind::Empty, MessageType::Reset) => self.reset(now, from, packet.header.message_id),
            // A ping, or a code that means nothing (RFC 7252 §4.2, §4.3).
            (_, MessageType::Confirmable) => {
                self.send(from, message::empty(MessageType::Reset, packet.header.message_id));
            }
            _ => self.dropped("no sense", from),
        }
        self.start_next(now, from);
    }

    /// Does what a person or a test asks.
    pub fn command(&mut self, now: Duration, command: Command) {
        match command {
            Command::Silent(silent) => self.silent = silent,
            Command::Forget { ep } => match self.registrations.of_endpoint(&ep) {
                Some(id) => _ = self.end(now, id),
                None => self.error(format!("not registered: {ep}")),
            },
            Command::Request { ep, path, operation } => match self.registrations.of_endpoint(&ep) {
                Some(id) => self.request(now, id, path, operation),
                None => self.error(format!("not registered: {ep}")),
            },
        }
    }

    /// When [`Server::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            match self.timers.pop_first() {
                Some((_, Timer::Repeat(addr))) => self.repeat(now, addr),
                Some((_, Timer::Expire(id))) => {
                    if let Some(ep) = self.end(now, id) {
                        self.event(Event::Expired { ep });
                    }
                }
                Some((_, Timer::Forget(addr))) => self.forget_peer(now, addr),
                None => {}
            }
        }
    }

    /// The next thing to do; call it until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Ends a registration and all that belongs to it; gives its endpoint name.
    pub(super) fn end(&mut self, now: Duration, id: Id) -> Option<String> {
        let registration = self.registrations.remove(id)?;
        if let Some(expires) = registration.expires {
            self.timers.remove(&(expires, Timer::Expire(id)));
        }
        for token in registration.observed.values() {
            self.observations.remove(token);
        }
        for request in self.take_requests(registration.addr, id) {
            self.answer(&request, None, Some("gone"));
        }
        self.start_next(now, registration.addr);
        Some(registration.ep)
    }

    /// Follows a client to another address.
    pub(super) fn move_to(&mut self, now: Duration, id: Id, addr: SocketAddr) {
        let Some(old) = self.registrations.move_to(id, addr) else { return };
        for request in self.take_requests(old, id) {
            self.enqueue(now, addr, request);
        }
        self.start_next(now, old);
    }

    /// The lifetime begins anew.
    pub(super) fn renew(&mut self, now: Duration, id: Id) {
        let Some(registration) = self.registrations.get_mut(id) else { return };
        let before = registration.expires;
        registration.renew(now);
        let after = registration.expires;
        if let Some(before) = before {
            self.timers.remove(&(before, Timer::Expire(id)));
        }
        if let Some(after) = after {
            self.timers.insert((after, Timer::Expire(id)));
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn dropped(&mut self, why: &'static str, addr: SocketAddr) {
        self.event(Event::Dropped { why, addr });
    }

    /// A request is answered once; its repetitions get the same reply (RFC 7252 §4.5).
    fn serve(&mut self, now: Duration, from: SocketAddr, request: &Packet) {
        let message_id = request.header.message_id;
        if self.replied_before(now, from, message_id) {
            return;
        }
        let confirmable = request.header.get_type() == MessageType::Confirmable;
        if !confirmable && message::has_unknown_critical(request) {
            return self.dropped("unknown critical option", from);
        }
        let (mut reply, registration) = self.resource(now, from, request);
        reply.set_token(request.get_token().to_vec());
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if confirmable {
            reply.header.set_type(MessageType::Acknowledgement);
            reply.header.message_id = message_id;
        } else {
            reply.header.set_type(MessageType::NonConfirmable);
            reply.header.message_id = peer.message_id();
        }
        let bytes = message::bytes(&reply);
        peer.remember(now, message_id, bytes.clone());
        self.send(from, bytes);
        if let Some(id) = registration {
            self.observe_new(now, id);
        }
    }

    /// Notes that a peer was heard; `false` if there is no room for another one.
    fn hear(&mut self, now: Duration, from: SocketAddr) -> bool {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.last_heard = now;
            return true;
        }
        if self.peers.len() >= MAX_PEERS {
            return false;
        }
        self.peers.insert(from, Peer::new(now, &mut self.rng));
        self.timers.insert((now + EXCHANGE_LIFETIME, Timer::Forget(from)));
        true
    }

    /// A peer stays while it is registered, is owed something, or may repeat a message.
    fn forget_peer(&mut self, now: Duration, addr: SocketAddr) {
        let Some(peer) = self.peers.get(&addr) else { return };
        let until = peer.last_heard + EXCHANGE_LIFETIME;
        let busy = peer.in_flight.is_some() || peer.next_up().is_some() || self.registrations.at(addr).is_some();
        if until <= now && !busy {
            self.peers.remove(&addr);
        } else {
            let again = if until > now { until } else { now + EXCHANGE_LIFETIME };
            self.timers.insert((again, Timer::Forget(addr)));
        }
    }

    pub(super) fn replied_before(&mut self, now: Duration, from: SocketAddr, message_id: u16) -> bool {
        let Some(reply) = self.peers.get(&from).and_then(|peer| peer.reply_to(now, message_id)) else { return false };
        let reply = reply.to_vec();
        if !reply.is_empty() {
            self.send(from, reply);
        }
        true
    }

    pub(super) fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if !self.silent {
            self.outputs.push_back(Output::Send { to, bytes });
        }
    }

    pub(super) fn error(&mut self, detail: String) {
        self.event(Event::Error { detail });
    }
}
