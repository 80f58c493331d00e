//! What the server asks of clients, and what they answer and notify.

use super::command::Operation;
use super::engine::{AWAKE, MAX_OBSERVATIONS, Observation, ObservePolicy, Server, Timer};
use super::event::{Answer, Event};
use super::exchange::{InFlight, Request};
use super::message::{self, Token};
use super::path::Path;
use super::registration::Id;
use super::senml;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use std::net::SocketAddr;
use std::time::Duration;

/// A notification this much later is newer whatever its number says (RFC 7641 §3.4).
const REORDERING: Duration = Duration::from_secs(128);

impl Server {
    /// Asks a client for something, as soon as the requests before it are done and the client listens.
    pub(super) fn request(&mut self, now: Duration, id: Id, path: Path, operation: Operation) {
        let token = self.rng.next().to_be_bytes();
        let Some(registration) = self.registrations.get_mut(id) else { return };
        let (ep, addr) = (registration.ep.clone(), registration.addr);
        if operation == Operation::Observe {
            if registration.observed.len() >= MAX_OBSERVATIONS && !registration.observed.contains_key(&path) {
                return self.error(format!("{ep} {path}: {MAX_OBSERVATIONS} observations already"));
            }
            if let Some(old) = registration.observed.insert(path.clone(), token) {
                self.observations.remove(&old);
            }
        }
        let packet = request_packet(&path, &operation, token);
        self.enqueue(now, addr, Request { registration: id, ep, path, operation, token, packet });
    }

    /// Observes what the policy wants and is not observed yet.
    pub(super) fn observe_new(&mut self, now: Duration, id: Id) {
        let Some(registration) = self.registrations.get(id) else { return };
        let objects = registration.objects.iter();
        let wanted: Vec<Path> = match &self.config.observe {
            ObservePolicy::Sensors => {
                objects.filter(|path| path.is_instance() && (3200..3400).contains(&path.object())).cloned().collect()
            }
            ObservePolicy::All => objects.filter(|path| path.is_instance()).cloned().collect(),
            ObservePolicy::Paths(paths) => paths
                .iter()
                .filter(|path| objects.clone().any(|listed| listed.object() == path.object()))
                .cloned()
                .collect(),
        };
        let new: Vec<Path> = wanted.into_iter().filter(|path| !registration.observed.contains_key(path)).collect();
        for path in new {
            self.request(now, id, path, Operation::Observe);
        }
    }

    pub(super) fn start_next(&mut self, now: Duration, addr: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&addr) else { return };
        let Some(id) = peer.next_up() else { return };
        let sleeps = self.registrations.get(id).is_some_and(|registration| registration.queue);
        if sleeps && now > peer.last_heard + AWAKE {
            return;
        }
        if let Some((bytes, due)) = peer.start(now, &mut self.rng) {
            self.timers.insert((due, Timer::Repeat(addr)));
            self.send(addr, bytes);
        }
    }

    pub(super) fn piggybacked(&mut self, now: Duration, from: SocketAddr, response: &Packet) {
        let matches = |under_way: &mut InFlight| {
            under_way.is(response.header.message_id) && message::token(response) == Some(under_way.request.token)
        };
        match self.peers.get_mut(&from).and_then(|peer| peer.in_flight.take_if(matches)) {
            Some(under_way) => self.complete(now, from, under_way, response),
            None => self.dropped("response to no request", from),
        }
    }

    /// A separate response or a notification.
    pub(super) fn separate(&mut self, now: Duration, from: SocketAddr, response: &Packet) {
        let message_id = response.header.message_id;
        if self.replied_before(now, from, message_id) {
            return;
        }
        let token = message::token(response);
        let matches = |under_way: &mut InFlight| token == Some(under_way.request.token);
        let under_way = self.peers.get_mut(&from).and_then(|peer| peer.in_flight.take_if(matches));
        let known = under_way.is_some() || token.is_some_and(|token| self.observations.contains_key(&token));
        let reply = match (known, response.header.get_type()) {
            (true, MessageType::Confirmable) => message::empty(MessageType::Acknowledgement, message_id),
            (true, _) => Vec::new(),
            // Ends an observation that we know nothing of (RFC 7641 §3.6).
            (false, _) => message::empty(MessageType::Reset, message_id),
        };
        if !reply.is_empty() {
            self.send(from, reply.clone());
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.remember(now, message_id, reply);
        }
        match (under_way, token) {
            (Some(under_way), _) => self.complete(now, from, under_way, response),
            (None, Some(token)) if known => self.notified(now, from, token, response),
            _ => self.dropped("unknown token", from),
        }
    }

    pub(super) fn acknowledged(&mut self, now: Duration, from: SocketAddr, message_id: u16) {
        let Some(under_way) = self.peers.get_mut(&from).and_then(|peer| peer.in_flight.as_mut()) else { return };
        if under_way.is(message_id) {
            self.timers.remove(&(under_way.due, Timer::Repeat(from)));
            under_way.acknowledge(now);
            self.timers.insert((under_way.due, Timer::Repeat(from)));
        }
    }

    pub(super) fn reset(&mut self, now: Duration, from: SocketAddr, message_id: u16) {
        let taken =
            self.peers.get_mut(&from).and_then(|peer| peer.in_flight.take_if(|under_way| under_way.is(message_id)));
        if let Some(under_way) = taken {
            self.timers.remove(&(under_way.due, Timer::Repeat(from)));
            self.fail(now, from, &under_way.request, "reset");
        }
    }

    pub(super) fn repeat(&mut self, now: Duration, addr: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&addr) else { return };
        let Some(mut under_way) = peer.in_flight.take() else { return };
        match under_way.repeat(now) {
            Some(bytes) => {
                self.timers.insert((under_way.due, Timer::Repeat(addr)));
                peer.in_flight = Some(under_way);
                self.send(addr, bytes);
            }
            None => self.fail(now, addr, &under_way.request, "timeout"),
        }
    }

    /// A request has its response.
    fn complete(&mut self, now: Duration, from: SocketAddr, under_way: InFlight, response: &Packet) {
        self.timers.remove(&(under_way.due, Timer::Repeat(from)));
        let request = under_way.request;
        match request.operation {
            Operation::Observe => {
                let number = message::number(response, CoapOption::Observe);
                match (number, is_success(response)) {
                    (Some(number), true) => {
                        let observation = Observation {
                            registration: request.registration,
                            path: request.path.clone(),
                            newest: (number, now),
                        };
                        self.observations.insert(request.token, observation);
                    }
                    _ => self.unobserve(&request),
                }
                let error = (number.is_none() && is_success(response)).then_some("not_observed");
                self.event(Event::Observed(read_answer(request.ep, request.path, response, error)));
            }
            Operation::Read => self.event(Event::Read(read_answer(request.ep, request.path, response, None))),
            Operation::Write(_) | Operation::Execute(_) => {
                self.answer(&request, Some(response.header.get_code()), None);
            }
        }
    }

    fn notified(&mut self, now: Duration, from: SocketAddr, token: Token, response: &Packet) {
        let Some(observation) = self.observations.get_mut(&token) else { return };
        let (id, path) = (observation.registration, observation.path.clone());
        let number = message::number(response, CoapOption::Observe);
        if let Some(number) = number {
            if !is_newer(observation.newest, (number, now)) {
                return self.dropped("older than the last notification", from);
            }
            observation.newest = (number, now);
        } else {
            // A response without the option, an error above all, is the last (RFC 7641 §3.2).
            self.observations.remove(&token);
            if let Some(registration) = self.registrations.get_mut(id) {
                registration.observed.remove(&path);
            }
        }
        let Some(ep) = self.registrations.get(id).map(|registration| registration.ep.clone()) else { return };
        let error = (number.is_none() && is_success(response)).then_some("not_observed");
        self.event(Event::Notify(read_answer(ep, path, response, error)));
    }

    fn fail(&mut self, now: Duration, addr: SocketAddr, request: &Request, error: &'static str) {
        if request.operation == Operation::Observe {
            self.unobserve(request);
        }
        self.answer(request, None, Some(error));
        self.start_next(now, addr);
    }

    /// An Observe came to nothing, so that the path may be tried again.
    fn unobserve(&mut self, request: &Request) {
        if let Some(registration) = self.registrations.get_mut(request.registration)
            && registration.observed.get(&request.path) == Some(&request.token)
        {
            registration.observed.remove(&request.path);
        }
    }

    pub(super) fn answer(&mut self, request: &Request, code: Option<String>, error: Option<&'static str>) {
        let answer = Answer { ep: request.ep.clone(), path: request.path.clone(), code, error, data: None };
        self.event(match request.operation {
            Operation::Read => Event::Read(answer),
            Operation::Write(_) => Event::Written(answer),
            Operation::Execute(_) => Event::Executed(answer),
            Operation::Observe => Event::Observed(answer),
        });
    }

    pub(super) fn enqueue(&mut self, now: Duration, addr: SocketAddr, request: Request) {
        let refused = match self.peers.get_mut(&addr) {
            Some(peer) if peer.has_room() => {
                peer.enqueue(request);
                return self.start_next(now, addr);
            }
            Some(_) => "busy",
            None => "gone",
        };
        self.unobserve(&request);
        self.answer(&request, None, Some(refused));
    }

    pub(super) fn take_requests(&mut self, addr: SocketAddr, id: Id) -> Vec<Request> {
        let Some(peer) = self.peers.get_mut(&addr) else { return Vec::new() };
        let (under_way, waiting) = peer.take_requests(id);
        if let Some(under_way) = &under_way {
            self.timers.remove(&(under_way.due, Timer::Repeat(addr)));
        }
        under_way.map(|under_way| under_way.request).into_iter().chain(waiting).collect()
    }
}

/// Everything but the message id. Values are asked for and written as SenML JSON.
fn request_packet(path: &Path, operation: &Operation, token: Token) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Confirmable);
    packet.set_token(token.to_vec());
    for id in path.ids() {
        packet.add_option(CoapOption::UriPath, id.to_string().into_bytes());
    }
    let method = match operation {
        Operation::Read | Operation::Observe => RequestType::Get,
        Operation::Write(_) if !path.is_instance() => RequestType::Put,
        Operation::Write(_) | Operation::Execute(_) => RequestType::Post,
    };
    packet.header.code = MessageClass::Request(method);
    match operation {
        Operation::Read => message::add_number(&mut packet, CoapOption::Accept, senml::SENML_JSON),
        Operation::Observe => {
            message::add_number(&mut packet, CoapOption::Observe, 0);
            message::add_number(&mut packet, CoapOption::Accept, senml::SENML_JSON);
        }
        Operation::Write(value) => {
            message::add_number(&mut packet, CoapOption::ContentFormat, senml::SENML_JSON);
            packet.payload = senml::encode(path, value);
        }
        Operation::Execute(arguments) => packet.payload = arguments.clone().into_bytes(),
    }
    packet
}

fn read_answer(ep: String, path: Path, response: &Packet, error: Option<&'static str>) -> Answer {
    let data = if !is_success(response) || message::number(response, CoapOption::Block2).is_some_and(is_part) {
        None
    } else {
        senml::decode(&path, message::content_format(response), &response.payload)
    };
    let error = error.or((is_success(response) && data.is_none()).then_some("payload"));
    Answer { ep, path, code: Some(response.header.get_code()), error, data }
}

/// Whether a Block option names one part of several (RFC 7959 §2.2).
fn is_part(block: u32) -> bool {
    block >> 4 != 0 || block & 0b1000 != 0
}

fn is_success(response: &Packet) -> bool {
    response.header.code == MessageClass::Response(ResponseType::Content)
}

/// RFC 7641 §3.4.
fn is_newer((old, heard): (u32, Duration), (new, now): (u32, Duration)) -> bool {
    const HALF: u32 = 1 << 23;
    (old < new && new - old < HALF) || (old > new && old - new > HALF) || now > heard + REORDERING
}
