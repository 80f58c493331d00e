//! Datagrams in, answers out: what a message is, whether it was seen before, and which operation it asks for
//! (LwM2M Core 1.1.1 §6.3, Transport 1.1.1 §6.4; RFC 7252 §4, §5).

use core::time::Duration;

use super::state::{Answer, ClientEvent, ExchangeId, Failure};
use super::{Client, Purpose};
use crate::coap::block::{self, Assembled, Block, MAX_BODY, assemble};
use crate::coap::dedup::Seen;
use crate::coap::message::{Code, Kind, Message, option};
use crate::coap::reliable::EXCHANGE_LIFETIME;
use crate::coap::token::Token;
use crate::format::{ContentFormat, Record, encode};
use crate::object::definition::ResourceDefinition;
use crate::object::path::Path;
use crate::object::tree::Current;
use crate::object::value::ValueType;

/// Requests that wait for the caller's answer at most.
const MAX_EXCHANGES: usize = 8;
/// Separate responses that wait for the way to be free at most.
const MAX_SEPARATE: usize = 8;
/// A request that is not answered by then is acknowledged first; well below the peer's ACK_TIMEOUT of 2 s.
const ACK_DELAY: Duration = Duration::from_millis(500);
/// A request that the caller never answers is forgotten after this.
const ANSWER_WAIT: Duration = Duration::from_secs(93);

/// Objects that are closed to servers (D1): Security and OSCORE.
const CLOSED: [u16; 2] = [0, 21];

/// A request that waits for the caller's answer.
#[derive(Debug)]
pub(super) struct Exchange {
    id: ExchangeId,
    kind: Kind,
    message_id: u16,
    token: Token,
    block1: Option<Block>,
    acknowledged: bool,
    acknowledge_at: Duration,
    until: Duration,
}

/// A body that is longer than a block, kept while the server fetches it.
#[derive(Debug)]
pub(super) struct Body {
    path: Path,
    format: ContentFormat,
    bytes: Vec<u8>,
    pub(super) until: Duration,
}

/// What is answered to a request.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: Code,
    pub(super) options: Vec<(u16, u32)>,
    pub(super) payload: Vec<u8>,
}

impl Reply {
    pub(super) fn code(code: Code) -> Reply {
        Reply { code, options: Vec::new(), payload: Vec::new() }
    }

    fn with(mut self, number: u16, value: u32) -> Reply {
        self.options.push((number, value));
        self
    }

    pub(super) fn into_message(self, kind: Kind, message_id: u16, token: Token) -> Message {
        let mut message = Message::new(kind, self.code, message_id, token);
        for (number, value) in self.options {
            message.add_uint(number, value);
        }
        message.payload = self.payload;
        message
    }
}

/// A request is answered now, by the caller later, or not at all.
pub(super) enum Served {
    Now(Reply),
    Later,
    Never,
}

impl From<Code> for Served {
    fn from(code: Code) -> Served {
        Served::Now(Reply::code(code))
    }
}

impl Client {
    /// Takes in one datagram of the server.
    pub fn handle_datagram(&mut self, now: Duration, unix_ms: Option<u64>, bytes: &[u8]) {
        self.see(now, unix_ms);
        self.settle_restored(now);
        self.counters.received += 1;
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(malformed) => {
                self.counters.malformed += 1;
                if let Some(message_id) = malformed.reset {
                    self.send(Message::empty(Kind::Reset, message_id).encode());
                }
                return;
            }
        };
        self.last_heard = Some(now);
        match message.kind {
            Kind::Acknowledgement => self.acknowledgement(now, &message),
            Kind::Reset => match self.reliable.reset(message.message_id) {
                Some(purpose) => self.undelivered(now, purpose, Failure::Reset),
                None => self.notification_refused(message.message_id),
            },
            Kind::Confirmable | Kind::NonConfirmable if message.code.is_request() => self.request(now, &message),
            Kind::Confirmable | Kind::NonConfirmable if message.code.is_response() => self.response(now, &message),
            // C5: an empty confirmable message is a ping; a code of a reserved class is refused the same way.
            Kind::Confirmable => self.send(Message::empty(Kind::Reset, message.message_id).encode()),
            Kind::NonConfirmable => self.counters.malformed += 1,
        }
    }

    /// The caller's answer to a [`super::Output::Write`] or [`super::Output::Execute`]: piggybacked if it comes before the
    /// acknowledgement is due, else a separate response (RFC 7252 §5.2.2). An unknown exchange is passed over.
    pub fn answer(&mut self, now: Duration, exchange: ExchangeId, answer: Answer) {
        self.see(now, None);
        let Some(index) = self.exchanges.iter().position(|waiting| waiting.id == exchange) else { return };
        let exchange = self.exchanges.remove(index);
        let mut reply = match answer {
            Answer::Changed => Reply::code(Code::CHANGED),
            Answer::BadRequest => Reply::code(Code::BAD_REQUEST),
            Answer::NotFound => Reply::code(Code::NOT_FOUND),
            Answer::NotAllowed => Reply::code(Code::METHOD_NOT_ALLOWED),
            Answer::InternalError => Reply::code(Code::INTERNAL_ERROR),
            Answer::Unavailable { max_age_s } => Reply::code(Code::UNAVAILABLE).with(option::MAX_AGE, max_age_s),
        };
        if let Some(block) = exchange.block1 {
            reply = reply.with(option::BLOCK1, block.encode());
        }
        if !exchange.acknowledged {
            self.reply(exchange.kind, exchange.message_id, exchange.token, reply);
        } else if self.separate.len() < MAX_SEPARATE {
            let message_id = self.message_id();
            self.separate.push_back(reply.into_message(Kind::Confirmable, message_id, exchange.token));
        } else {
            self.counters.requests_refused += 1;
        }
    }

    /// Acknowledges what the caller has not answered in time.
    pub(super) fn tick_exchanges(&mut self, now: Duration) {
        let mut due = Vec::new();
        for exchange in &mut self.exchanges {
            if exchange.kind == Kind::Confirmable && !exchange.acknowledged && exchange.acknowledge_at <= now {
                exchange.acknowledged = true;
                due.push(exchange.message_id);
            }
        }
        for message_id in due {
            let bytes = Message::empty(Kind::Acknowledgement, message_id).encode();
            self.dedup.answered(message_id, &bytes);
            self.send(bytes);
        }
        self.exchanges.retain(|exchange| exchange.until > now);
    }

    pub(super) fn exchange_deadline(&self) -> Option<Duration> {
        let due = |exchange: &Exchange| {
            let unacknowledged = exchange.kind == Kind::Confirmable && !exchange.acknowledged;
            if unacknowledged { exchange.acknowledge_at } else { exchange.until }
        };
        self.exchanges.iter().map(due).min()
    }

    /// The resource or resource instance has a value that is not stale.
    pub(super) fn is_fresh(&self, path: Path) -> bool {
        let now = self.now.unwrap_or_default();
        self.tree.get(path).is_some_and(|entry| matches!(entry.current(now, self.config.stale_after), Current::Fresh(_)))
    }

    fn acknowledgement(&mut self, now: Duration, message: &Message) {
        if message.code == Code::EMPTY {
            if let Some(Purpose::Notify(token)) = self.reliable.acknowledge(now, message.message_id) {
                self.notification_delivered(token);
            }
        } else if message.code.is_response()
            && self.reliable.respond(message.token, Some(message.message_id)).is_some()
        {
            self.operation_answered(now, message);
        } else {
            self.counters.malformed += 1;
        }
    }

    /// A separate response. C5: one that nobody waits for is refused with a reset.
    fn response(&mut self, now: Duration, message: &Message) {
        match self.dedup.check(now, message.kind, message.message_id, true) {
            Seen::Answered(bytes) => {
                let bytes = bytes.to_vec();
                self.counters.duplicates += 1;
                self.send(bytes);
                return;
            }
            Seen::InProgress => {
                self.counters.duplicates += 1;
                return;
            }
            Seen::New | Seen::NewUnremembered => {}
        }
        let wanted = self.reliable.respond(message.token, None).is_some();
        if message.kind == Kind::Confirmable {
            let kind = if wanted { Kind::Acknowledgement } else { Kind::Reset };
            let bytes = Message::empty(kind, message.message_id).encode();
            self.dedup.answered(message.message_id, &bytes);
            self.send(bytes);
        }
        if wanted {
            self.operation_answered(now, message);
        }
    }

    fn request(&mut self, now: Duration, message: &Message) {
        if self.registration.is_disabled() {
            return;
        }
        let safe = message.code == Code::GET;
        match self.dedup.check(now, message.kind, message.message_id, safe) {
            Seen::Answered(bytes) => {
                let bytes = bytes.to_vec();
                self.counters.duplicates += 1;
                self.send(bytes);
                return;
            }
            Seen::InProgress => {
                self.counters.duplicates += 1;
                return;
            }
            Seen::NewUnremembered if !safe => {
                self.counters.requests_refused += 1;
                let reply = Reply::code(Code::UNAVAILABLE);
                self.reply(message.kind, message.message_id, message.token, reply);
                return;
            }
            Seen::New | Seen::NewUnremembered => {}
        }
        self.counters.requests += 1;
        match self.serve(now, message) {
            Served::Now(reply) => self.reply(message.kind, message.message_id, message.token, reply),
            Served::Later | Served::Never => {}
        }
    }

    /// Sends the answer to a request that was not acknowledged: in the acknowledgement, or non-confirmable.
    fn reply(&mut self, kind: Kind, request_id: u16, token: Token, reply: Reply) {
        let message = match kind {
            Kind::Confirmable => reply.into_message(Kind::Acknowledgement, request_id, token),
            _ => {
                let message_id = self.message_id();
                reply.into_message(Kind::NonConfirmable, message_id, token)
            }
        };
        let bytes = message.encode();
        self.dedup.answered(request_id, &bytes);
        self.send(bytes);
    }

    fn serve(&mut self, now: Duration, message: &Message) -> Served {
        if let Some(refusal) = refuse_options(message) {
            return refusal;
        }
        let (Ok(block1), Ok(_)) = (block::of(message, option::BLOCK1), block::of(message, option::BLOCK2)) else {
            return Code::BAD_REQUEST.into();
        };
        let Some(segments) = message.texts(option::URI_PATH) else { return Code::BAD_REQUEST.into() };
        if !matches!(message.code, Code::GET | Code::POST | Code::PUT | Code::DELETE) || segments.is_empty() {
            // Composites are not supported.
            return Code::METHOD_NOT_ALLOWED.into();
        }
        let Some(path) = Path::from_segments(segments.iter().copied()) else { return Code::NOT_FOUND.into() };
        if CLOSED.contains(&path.object) {
            return Code::UNAUTHORIZED.into();
        }
        let whole = match block1 {
            None => None,
            Some(block) => {
                let assembled = assemble(&mut self.assembler, now, message.code, &segments, block, &message.payload);
                match assembled {
                    Assembled::Complete(body) => Some(body),
                    Assembled::Continue => {
                        return Served::Now(Reply::code(Code::CONTINUE).with(option::BLOCK1, block.encode()));
                    }
                    Assembled::Incomplete => return Code::INCOMPLETE.into(),
                    Assembled::TooLarge => {
                        let size = u32::try_from(MAX_BODY).unwrap_or(u32::MAX);
                        return Served::Now(Reply::code(Code::TOO_LARGE).with(option::SIZE1, size));
                    }
                }
            }
        };
        let payload = whole.as_deref().unwrap_or(&message.payload);
        let mut served = match message.code {
            Code::GET => Served::Now(self.get(now, message, path)),
            Code::PUT if message.has(option::URI_QUERY) && payload.is_empty() => self.write_attributes(message, path),
            Code::PUT => self.write(now, message, block1, path, payload, true),
            Code::POST => self.post(now, message, block1, path, payload),
            _ => Code::METHOD_NOT_ALLOWED.into(),
        };
        if let (Served::Now(reply), Some(block)) = (&mut served, block1) {
            reply.options.push((option::BLOCK1, block.encode()));
        }
        served
    }

    /// Read, Observe or Discover.
    fn get(&mut self, now: Duration, message: &Message, path: Path) -> Reply {
        let accept = match (message.uint(option::ACCEPT), message.has(option::ACCEPT)) {
            (None, true) => return Reply::code(Code::NOT_ACCEPTABLE),
            (accept, _) => accept,
        };
        let block = block::of(message, option::BLOCK2).ok().flatten();
        if let Some(block) = block.filter(|block| block.number > 0)
            && let Some(body) = self.body.as_ref().filter(|body| {
                body.path == path && accept.is_none_or(|accept| u32::from(body.format.number()) == accept) && body.until > now
            })
        {
            let (format, bytes) = (body.format, body.bytes.clone());
            return self.content(now, path, format, bytes, Some(block));
        }
        if accept == Some(u32::from(ContentFormat::Link.number())) {
            return match self.discover(path) {
                Ok(links) => {
                    self.event(ClientEvent::Discovered { path });
                    self.content(now, path, ContentFormat::Link, links, block)
                }
                Err(code) => Reply::code(code),
            };
        }
        let (format, bytes) = match self.read(now, path, accept) {
            Ok(read) => read,
            Err(code) => return Reply::code(code),
        };
        let mut reply = self.content(now, path, format, bytes, block);
        let first = block.is_none_or(|block| block.number == 0);
        match message.uint(option::OBSERVE).filter(|_| first && reply.code == Code::CONTENT) {
            Some(0) => {
                if let Some(sequence) = self.observe(now, message.token, path, format) {
                    reply.options.push((option::OBSERVE, sequence));
                }
            }
            Some(1) => {
                self.cancel_observation(message.token, super::CancelledBy::Request);
            }
            _ => self.event(ClientEvent::Read { path }),
        }
        reply
    }

    /// Values at or below `path` in the wanted format. Live values carry no time.
    pub(super) fn read(&self, now: Duration, path: Path, accept: Option<u32>) -> Result<(ContentFormat, Vec<u8>), Code> {
        let target = self.target(path)?;
        if target.is_some_and(|resource| !resource.readable) {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        let object = self.registry.object(path.object).ok_or(Code::NOT_FOUND)?;
        let mut stale = false;
        let mut records = Vec::new();
        for entry in self.tree.under(path) {
            let readable = entry.path.resource.and_then(|id| object.resource(id)).is_some_and(|resource| resource.readable);
            match entry.current(now, self.config.stale_after) {
                Current::Fresh(value) if readable => records.push(Record { path: entry.path, value, at_unix_ms: None }),
                Current::Stale => stale = true,
                _ => {}
            }
        }
        if path.is_resource() && records.is_empty() {
            return Err(if stale { Code::UNAVAILABLE } else { Code::NOT_FOUND });
        }
        let format = match accept {
            Some(number) => ContentFormat::from_number(number).ok_or(Code::NOT_ACCEPTABLE)?,
            None => match records.as_slice() {
                [record] if record.path == path && record.value.value_type() == ValueType::Opaque => ContentFormat::Opaque,
                [record] if record.path == path => ContentFormat::Text,
                _ => ContentFormat::SenmlCbor,
            },
        };
        let bytes = encode(format, path, &records).ok_or(Code::NOT_ACCEPTABLE)?;
        Ok((format, bytes))
    }

    /// The node has what the path names: the resource's definition if it names one.
    pub(super) fn target(&self, path: Path) -> Result<Option<&ResourceDefinition>, Code> {
        let object = self.registry.object(path.object).filter(|_| self.tree.has_object(path.object)).ok_or(Code::NOT_FOUND)?;
        if path.instance.is_some_and(|instance| !self.tree.has_instance(path.object, instance)) {
            return Err(Code::NOT_FOUND);
        }
        match path.resource {
            None => Ok(None),
            Some(id) => object.resource(id).map(Some).ok_or(Code::NOT_FOUND),
        }
    }

    /// 2.05 with the payload, or the wanted block of it (C6).
    pub(super) fn content(
        &mut self,
        now: Duration,
        path: Path,
        format: ContentFormat,
        bytes: Vec<u8>,
        wanted: Option<Block>,
    ) -> Reply {
        let largest = Block::exponent_for(self.config.max_block);
        let block = wanted.unwrap_or(Block { number: 0, more: false, size_exponent: largest });
        let reply = Reply::code(Code::CONTENT).with(option::CONTENT_FORMAT, u32::from(format.number()));
        if block.number == 0 && bytes.len() <= block.size().min(16 << largest) {
            return Reply { payload: bytes, ..reply };
        }
        if block.number > 0 && block.size_exponent > largest {
            return Reply::code(Code::BAD_REQUEST);
        }
        let block = Block { size_exponent: block.size_exponent.min(largest), ..block };
        let Some((block, part)) = block.cut(&bytes) else { return Reply::code(Code::BAD_REQUEST) };
        let reply = Reply { payload: part.to_vec(), ..reply.with(option::BLOCK2, block.encode()) };
        self.body = block.more.then(|| Body { path, format, bytes, until: now.saturating_add(EXCHANGE_LIFETIME) });
        reply
    }

    /// Remembers a request until the caller answers it; 5.03 if too many wait.
    pub(super) fn wait_for_answer(
        &mut self,
        now: Duration,
        message: &Message,
        block1: Option<Block>,
    ) -> Result<ExchangeId, Code> {
        if self.exchanges.len() >= MAX_EXCHANGES {
            self.counters.requests_refused += 1;
            return Err(Code::UNAVAILABLE);
        }
        self.next_exchange += 1;
        let id = ExchangeId(self.next_exchange);
        self.exchanges.push(Exchange {
            id,
            kind: message.kind,
            message_id: message.message_id,
            token: message.token,
            block1,
            acknowledged: false,
            acknowledge_at: now.saturating_add(ACK_DELAY),
            until: now.saturating_add(ANSWER_WAIT),
        });
        Ok(id)
    }
}

/// C4, C10: a critical option that is not known is refused, in silence if the message is non-confirmable (RFC 7252 §5.4.1).
fn refuse_options(message: &Message) -> Option<Served> {
    use option::{ACCEPT, BLOCK1, BLOCK2, PROXY_SCHEME, PROXY_URI, URI_HOST, URI_PATH, URI_PORT, URI_QUERY};
    const KNOWN: [u16; 7] = [URI_HOST, URI_PORT, URI_PATH, URI_QUERY, ACCEPT, BLOCK2, BLOCK1];
    if message.has(PROXY_URI) || message.has(PROXY_SCHEME) {
        return Some(Code::PROXYING_NOT_SUPPORTED.into());
    }
    let unknown = message.options.iter().any(|(number, _)| number % 2 == 1 && !KNOWN.contains(number));
    match (unknown, message.kind) {
        (false, _) => None,
        (true, Kind::NonConfirmable) => Some(Served::Never),
        (true, _) => Some(Code::BAD_OPTION.into()),
    }
}
