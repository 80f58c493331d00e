//! The exchanges with one peer: our requests one at a time with their repetitions, and its messages once each.

use super::command::Operation;
use super::message::{self, Token};
use super::path::Path;
use super::registration::Id;
use crate::rng::Rng;
use coap_lite::Packet;
use std::collections::VecDeque;
use std::time::Duration;

/// Most requests that wait for one peer.
pub const MAX_WAITING: usize = 64;
/// Most messages of one peer that are remembered as seen; older ones are forgotten early.
pub const MAX_SEEN: usize = 32;
/// How long a message is remembered: EXCHANGE_LIFETIME (RFC 7252 §4.8.2).
pub const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// Bound: How long a response may take after its request was acknowledged without one.
pub const SEPARATE_RESPONSE: Duration = Duration::from_secs(60);

/// ACK_TIMEOUT (RFC 7252 §4.8); ACK_RANDOM_FACTOR 1.5 adds up to a half.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// MAX_RETRANSMIT 4 (RFC 7252 §4.8) and the first transmission.
const MAX_TRANSMISSIONS: u32 = 5;

/// A request of ours, not yet sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// For which registration.
    pub registration: Id,
    /// Its endpoint name.
    pub ep: String,
    /// What is asked for.
    pub path: Path,
    /// What for.
    pub operation: Operation,
    /// Its token.
    pub token: Token,
    /// The message, all but the message id.
    pub packet: Packet,
}

/// The request that is under way.
#[derive(Debug)]
pub struct InFlight {
    /// The request.
    pub request: Request,
    /// When it is repeated or given up.
    pub due: Duration,
    message_id: u16,
    bytes: Vec<u8>,
    transmissions: u32,
    timeout: Duration,
    acknowledged: bool,
}

impl InFlight {
    /// Its time has come: the bytes to repeat, or `None` when it has failed.
    pub fn repeat(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.acknowledged || self.transmissions == MAX_TRANSMISSIONS {
            return None;
        }
        self.transmissions += 1;
        self.timeout *= 2;
        self.due = now + self.timeout;
        Some(self.bytes.clone())
    }

    /// It was received, the response comes later (RFC 7252 §5.2.2).
    pub fn acknowledge(&mut self, now: Duration) {
        self.acknowledged = true;
        self.due = now + SEPARATE_RESPONSE;
    }

    /// Whether this message id is that of the request.
    #[must_use]
    pub fn is(&self, message_id: u16) -> bool {
        self.message_id == message_id
    }
}

/// One address that we exchange messages with.
#[derive(Debug)]
pub struct Peer {
    /// The request under way; one at a time (NSTART, RFC 7252 §4.7).
    pub in_flight: Option<InFlight>,
    /// When it was last heard.
    pub last_heard: Duration,
    waiting: VecDeque<Request>,
    /// Message ids with our reply, oldest first (RFC 7252 §4.5).
    seen: VecDeque<(Duration, u16, Vec<u8>)>,
    next_message_id: u16,
}

impl Peer {
    /// A peer that was just heard.
    #[must_use]
    pub fn new(now: Duration, rng: &mut Rng) -> Self {
        Peer {
            in_flight: None,
            last_heard: now,
            waiting: VecDeque::new(),
            seen: VecDeque::new(),
            next_message_id: rng.next() as u16,
        }
    }

    /// Whether another request may wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Puts a request behind the others; see [`Peer::has_room`].
    pub fn enqueue(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// The registration of the request that would go out next, if none is under way.
    #[must_use]
    pub fn next_up(&self) -> Option<Id> {
        if self.in_flight.is_some() { None } else { self.waiting.front().map(|request| request.registration) }
    }

    /// Starts the next request: its bytes, and when it is due again.
    pub fn start(&mut self, now: Duration, rng: &mut Rng) -> Option<(Vec<u8>, Duration)> {
        let mut request = self.waiting.pop_front()?;
        let message_id = self.message_id();
        request.packet.header.message_id = message_id;
        let bytes = message::bytes(&request.packet);
        let timeout = ACK_TIMEOUT + Duration::from_millis(rng.below(1001));
        let due = now + timeout;
        let sent = bytes.clone();
        self.in_flight =
            Some(InFlight { request, due, message_id, bytes, transmissions: 1, timeout, acknowledged: false });
        Some((sent, due))
    }

    /// Takes away all requests of a registration, the one under way first.
    pub fn take_requests(&mut self, registration: Id) -> (Option<InFlight>, Vec<Request>) {
        let in_flight = self.in_flight.take_if(|under_way| under_way.request.registration == registration);
        let (taken, kept) = self.waiting.drain(..).partition(|request: &Request| request.registration == registration);
        self.waiting = VecDeque::<Request>::from_iter::<Vec<_>>(kept);
        (in_flight, taken)
    }

    /// Our reply to a message that was seen before; it is empty if there was none.
    #[must_use]
    pub fn reply_to(&self, now: Duration, message_id: u16) -> Option<&[u8]> {
        self.seen.iter().find(|(until, id, _)| *id == message_id && *until > now).map(|(_, _, reply)| reply.as_slice())
    }

    /// Remembers a message and our reply to it.
    pub fn remember(&mut self, now: Duration, message_id: u16, reply: Vec<u8>) {
        while self.seen.len() >= MAX_SEEN || self.seen.front().is_some_and(|(until, _, _)| *until <= now) {
            self.seen.pop_front();
        }
        self.seen.push_back((now + EXCHANGE_LIFETIME, message_id, reply));
    }

    /// A fresh message id.
    pub fn message_id(&mut self) -> u16 {
        self.next_message_id = self.next_message_id.wrapping_add(1);
        self.next_message_id
    }
}
