//! Datagrams of the server: message layer first, then one function per operation (RFC 7252 §4, LwM2M Core 1.1.1 §6.3).

use core::time::Duration;

use super::server::{SERVER, resource};
use super::state::{Answer, CancelledBy, ClientEvent, ExchangeId, Failure, Output};
use super::{Client, Purpose};
use crate::coap::block::{self, Assembled, Block};
use crate::coap::dedup::Seen;
use crate::coap::message::{Code, Kind, Message, option};
use crate::coap::token::Token;
use crate::format::{self, ContentFormat, Record};
use crate::object::path::Path;
use crate::object::tree::{Current, Entry};

/// Requests that wait for the caller's answer at most.
/// Counted: `requests_refused`.
const MAX_EXCHANGES: usize = 8;
/// Bound: A request not answered by then gets an empty acknowledgement, so that the server stops repeating (RFC 7252 §5.2.2).
const ACK_DELAY: Duration = Duration::from_secs(1);
/// A request the caller has not answered by then gets 5.03.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Max-Age of 5.03 where nobody knows better, seconds.
const RETRY_AFTER_S: u32 = 60;
/// How long the rest of a large answer can be fetched.
const BODY_LIFETIME: Duration = Duration::from_secs(93);

/// What of a request its response needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    message_id: u16,
    token: Token,
    confirmable: bool,
    /// The last block of a request that came in blocks.
    block1: Option<Block>,
}

/// A request that waits for the caller.
#[derive(Debug)]
pub(super) struct Exchange {
    id: ExchangeId,
    origin: Origin,
    /// An empty acknowledgement was sent: the response will be a message of its own.
    acknowledged: bool,
    ack_at: Duration,
    expires_at: Duration,
}

/// A large answer, kept while the server fetches it block by block. One per client.
#[derive(Debug)]
pub(super) struct Body {
    path: Path,
    format: ContentFormat,
    bytes: Vec<u8>,
    pub(super) until: Duration,
}

impl Client {
    /// One datagram from the server.
    pub fn handle_datagram(&mut self, now: Duration, unix_ms: Option<u64>, bytes: &[u8]) {
        self.see(now, unix_ms);
        self.settle_restored(now);
        self.counters.received += 1;
        if self.registration.is_disabled() {
            return;
        }
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(malformed) => {
                self.counters.malformed += 1;
                if let Some(message_id) = malformed.reset {
                    self.send_empty(Kind::Reset, message_id);
                }
                return;
            }
        };
        self.last_heard = Some(now);
        match (message.kind, message.code) {
            (Kind::Acknowledgement, Code::EMPTY) => {
                if let Some(Purpose::Notify(token)) = self.reliable.acknowledge(now, message.message_id) {
                    self.notification_delivered(now, token);
                }
            }
            (Kind::Reset, Code::EMPTY) => match self.reliable.reset(message.message_id) {
                Some(purpose) => self.undelivered(now, purpose, Failure::Reset),
                None => self.reset_notification(message.message_id),
            },
            (Kind::Acknowledgement, code) if code.is_response() => {
                if let Some(purpose) = self.reliable.respond(message.token, Some(message.message_id)) {
                    self.answered(now, purpose, &message);
                }
            }
            (Kind::Confirmable | Kind::NonConfirmable, code) if code.is_response() => {
                self.separate_response(now, &message)
            }
            (Kind::Confirmable | Kind::NonConfirmable, code) if code.is_request() => self.request(now, &message),
            // A ping, or a reserved code (RFC 7252 §4.2, §4.3).
            (Kind::Confirmable, _) => self.send_empty(Kind::Reset, message.message_id),
            _ => self.counters.malformed += 1,
        }
    }

    /// The caller's answer to [`Output::Write`] or [`Output::Execute`]. Given while the outputs of the request are drained it goes
    /// back in the acknowledgement, later as a message of its own. An exchange that is over (answered, or older than 90 s) is ignored.
    pub fn answer(&mut self, now: Duration, exchange: ExchangeId, result: Answer) {
        self.see(now, None);
        let Some(index) = self.exchanges.iter().position(|open| open.id == exchange) else { return };
        let exchange = self.exchanges.remove(index);
        let reply = match result {
            Answer::Changed => reply(Code::CHANGED),
            Answer::BadRequest => reply(Code::BAD_REQUEST),
            Answer::NotFound => reply(Code::NOT_FOUND),
            Answer::NotAllowed => reply(Code::METHOD_NOT_ALLOWED),
            Answer::InternalError => reply(Code::INTERNAL_ERROR),
            Answer::Unavailable { max_age_s } => unavailable(max_age_s),
        };
        self.finish(exchange, reply);
    }

    pub(super) fn tick_exchanges(&mut self, now: Duration) {
        let late: Vec<u16> = self
            .exchanges
            .iter()
            .filter(|exchange| exchange.ack_at <= now)
            .map(|exchange| exchange.origin.message_id)
            .collect();
        for message_id in late {
            self.acknowledge_exchange(message_id);
        }
        while let Some(index) = self.exchanges.iter().position(|exchange| exchange.expires_at <= now) {
            let exchange = self.exchanges.remove(index);
            self.finish(exchange, unavailable(RETRY_AFTER_S));
        }
    }

    pub(super) fn exchange_deadline(&self) -> Option<Duration> {
        let next = |exchange: &Exchange| {
            if exchange.acknowledged { exchange.expires_at } else { exchange.ack_at }
        };
        self.exchanges.iter().map(next).min()
    }

    /// A response that did not come in the acknowledgement.
    fn separate_response(&mut self, now: Duration, message: &Message) {
        let confirmable = message.kind == Kind::Confirmable;
        match self.dedup.check(now, message.kind, message.message_id, true) {
            Seen::New | Seen::NewUnremembered => self.counters.messages_forgotten = self.dedup.forgotten(),
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
        }
        let wanted = self.reliable.respond(message.token, None);
        if confirmable {
            let kind = if wanted.is_some() { Kind::Acknowledgement } else { Kind::Reset };
            self.dedup.answered(message.message_id, &Message::empty(kind, message.message_id).encode());
            self.send_empty(kind, message.message_id);
        }
        if let Some(purpose) = wanted {
            self.answered(now, purpose, message);
        }
    }

    /// The response to a request of ours.
    fn answered(&mut self, now: Duration, purpose: Purpose, response: &Message) {
        match purpose {
            Purpose::Send => self.send_answered(now, response),
            Purpose::Registration | Purpose::Notify(_) | Purpose::Response => self.operation_answered(now, response),
        }
    }

    fn request(&mut self, now: Duration, message: &Message) {
        let safe = message.code == Code::GET;
        match self.dedup.check(now, message.kind, message.message_id, safe) {
            Seen::New => self.counters.messages_forgotten = self.dedup.forgotten(),
            Seen::NewUnremembered if safe => {}
            Seen::NewUnremembered => {
                self.counters.requests_refused += 1;
                self.respond(Origin::of(message), unavailable(RETRY_AFTER_S));
                return;
            }
            Seen::InProgress => {
                self.counters.duplicates += 1;
                if message.kind == Kind::Confirmable {
                    self.acknowledge_exchange(message.message_id);
                }
                return;
            }
            Seen::Answered(bytes) => {
                let bytes = bytes.to_vec();
                self.counters.duplicates += 1;
                if message.kind == Kind::Confirmable {
                    self.send(bytes);
                }
                return;
            }
        }
        self.counters.requests += 1;
        let origin = Origin::of(message);
        if let Err(code) = check_options(message) {
            // C4: what cannot be understood is refused, or dropped if nobody waits for a refusal.
            if message.kind == Kind::Confirmable {
                self.respond(origin, reply(code));
            }
            return;
        }
        match self.serve(now, origin, message) {
            Ok(Some(reply)) => self.respond(origin, reply),
            Ok(None) => {}
            Err(reply) => self.respond(origin, reply),
        }
    }

    /// `Ok(None)`: answered, or the caller will answer.
    fn serve(&mut self, now: Duration, mut origin: Origin, message: &Message) -> Result<Option<Message>, Message> {
        let segments = message.texts(option::URI_PATH).ok_or(reply(Code::BAD_REQUEST))?;
        let block1 = block::of(message, option::BLOCK1).map_err(|_| reply(Code::BAD_REQUEST))?;
        let path = Path::from_segments(segments.iter().copied()).ok_or_else(|| {
            let root = segments.iter().all(|segment| segment.is_empty());
            reply(if root { Code::METHOD_NOT_ALLOWED } else { Code::NOT_FOUND })
        })?;
        // D1: keys and accounts are closed to servers, for every operation.
        if matches!(path.object, 0 | 21) {
            return Err(reply(Code::UNAUTHORIZED));
        }
        let mut assembled = None;
        if let Some(block) = block1.filter(|_| message.code != Code::GET) {
            match block::assemble(&mut self.assembler, now, message.code, &segments, block, &message.payload) {
                Assembled::Continue => {
                    let mut reply = reply(Code::CONTINUE);
                    reply.add_uint(option::BLOCK1, block.encode());
                    return Ok(Some(reply));
                }
                Assembled::Incomplete => return Err(reply(Code::INCOMPLETE)),
                Assembled::TooLarge => {
                    let mut reply = reply(Code::TOO_LARGE);
                    reply.add_uint(option::SIZE1, block::MAX_BODY as u32);
                    return Err(reply);
                }
                Assembled::Complete(body) => assembled = Some(body),
            }
            origin.block1 = Some(block);
        }
        let body = assembled.as_deref().unwrap_or(&message.payload);
        let queries = message.texts(option::URI_QUERY).ok_or(reply(Code::BAD_REQUEST))?;
        let format = message.uint(option::CONTENT_FORMAT);
        let result = match message.code {
            Code::GET => return self.get(now, origin, path, message).map(Some),
            Code::PUT if body.is_empty() && format.is_none() && !queries.is_empty() => {
                self.write_attributes(path, &queries).map(|()| Some(Code::CHANGED))
            }
            Code::PUT => self.write(now, origin, path, format, body, true),
            Code::POST if self.is_executable(path) => self.execute(now, origin, path, format, body),
            Code::POST => self.write(now, origin, path, format, body, false),
            Code::DELETE => Err(self.refuse_delete(path)),
            _ => Err(Code::METHOD_NOT_ALLOWED),
        };
        match result {
            Ok(None) => Ok(None),
            Ok(Some(code)) | Err(code) => {
                let reply = if code == Code::UNAVAILABLE { unavailable(RETRY_AFTER_S) } else { reply(code) };
                self.respond(origin, reply);
                Ok(None)
            }
        }
    }

    /// Read, Discover, Observe and its cancellation.
    fn get(&mut self, now: Duration, origin: Origin, path: Path, message: &Message) -> Result<Message, Message> {
        let block2 = block::of(message, option::BLOCK2).map_err(|_| reply(Code::BAD_REQUEST))?;
        let accept = match message.uint(option::ACCEPT) {
            Some(number) => Some(ContentFormat::from_number(number).ok_or(reply(Code::NOT_ACCEPTABLE))?),
            None => None,
        };
        let follow_up = block2.is_some_and(|block| block.number > 0);
        let kept = self.body.take_if(|body| {
            follow_up && body.until > now && body.path == path && accept.is_none_or(|format| format == body.format)
        });
        if let Some(body) = kept {
            return self.content(path, body.format, body.bytes, block2);
        }
        if message.uint(option::OBSERVE) == Some(1) {
            self.cancel_observation(origin.token, CancelledBy::Request);
        }
        if accept == Some(ContentFormat::Link) {
            let links = self.discover(path).map_err(reply)?;
            let message = self.content(path, ContentFormat::Link, links, block2)?;
            self.event(ClientEvent::Discovered { path });
            return Ok(message);
        }
        let (format, payload) = self
            .encode(path, accept)
            .map_err(|code| if code == Code::UNAVAILABLE { unavailable(RETRY_AFTER_S) } else { reply(code) })?;
        let mut reply = self.content(path, format, payload, block2)?;
        if message.uint(option::OBSERVE) == Some(0) && !follow_up {
            self.begin_observation(now, path, origin.token, format, &mut reply);
        }
        self.event(ClientEvent::Read { path });
        Ok(reply)
    }

    fn content(
        &mut self,
        path: Path,
        format: ContentFormat,
        payload: Vec<u8>,
        block2: Option<Block>,
    ) -> Result<Message, Message> {
        let mut message = reply(Code::CONTENT);
        message.add_uint(option::CONTENT_FORMAT, u32::from(format.number()));
        self.put_body(&mut message, path, format, payload, block2).map_err(reply)?;
        Ok(message)
    }

    /// Puts a payload into a response: whole, or the wanted block of it (C6). The rest is kept for the blocks that follow.
    pub(super) fn put_body(
        &mut self,
        message: &mut Message,
        path: Path,
        format: ContentFormat,
        payload: Vec<u8>,
        wanted: Option<Block>,
    ) -> Result<(), Code> {
        let own = Block::exponent_for(self.config.max_block);
        let mut block = wanted.unwrap_or(Block { number: 0, more: false, size_exponent: own });
        if block.size_exponent > own {
            block.number = u32::try_from(block.offset() / (16 << own)).unwrap_or(u32::MAX);
            block.size_exponent = own;
        }
        if wanted.is_none() && payload.len() <= block.size() {
            message.payload = payload;
            return Ok(());
        }
        let (block, bytes) = block.cut(&payload).ok_or(Code::BAD_REQUEST)?;
        message.payload = bytes.to_vec();
        message.add(option::ETAG, &entity_tag(&payload));
        message.add_uint(option::BLOCK2, block.encode());
        if block.more {
            let until = self.now.unwrap_or_default().saturating_add(BODY_LIFETIME);
            self.body = Some(Body { path, format, bytes: payload, until });
        }
        Ok(())
    }

    /// Execute (D7).
    fn execute(
        &mut self,
        now: Duration,
        origin: Origin,
        path: Path,
        format: Option<u32>,
        body: &[u8],
    ) -> Result<Option<Code>, Code> {
        let instance = path.instance.ok_or(Code::NOT_FOUND)?;
        if !self.tree.has_instance(path.object, instance) {
            return Err(Code::NOT_FOUND);
        }
        if format.is_some_and(|number| number != u32::from(ContentFormat::Text.number())) {
            return Err(Code::UNSUPPORTED_FORMAT);
        }
        let arguments = core::str::from_utf8(body).ok().filter(|text| are_arguments(text)).ok_or(Code::BAD_REQUEST)?;
        if path.object == SERVER {
            match path.resource {
                Some(resource::UPDATE_TRIGGER) => self.registration.trigger(),
                Some(resource::DISABLE) => self.registration.disable(),
                _ => return Err(Code::METHOD_NOT_ALLOWED),
            }
            return Ok(Some(Code::CHANGED));
        }
        let arguments = String::from(arguments);
        let exchange = self.open_exchange(now, origin)?;
        self.output(Output::Execute { exchange, path, arguments });
        Ok(None)
    }

    fn is_executable(&self, path: Path) -> bool {
        path.resource_instance.is_none()
            && path
                .resource
                .and_then(|resource| self.registry.object(path.object)?.resource(resource))
                .is_some_and(|resource| resource.executable())
    }

    /// D9: instances come and go with the node, not by a server's wish.
    fn refuse_delete(&self, path: Path) -> Code {
        match path.instance {
            Some(instance) if !self.tree.has_instance(path.object, instance) => Code::NOT_FOUND,
            None if !self.tree.has_object(path.object) => Code::NOT_FOUND,
            _ => Code::METHOD_NOT_ALLOWED,
        }
    }

    /// Write-Attributes (D12).
    fn write_attributes(&mut self, path: Path, queries: &[&str]) -> Result<(), Code> {
        self.check_exists(path)?;
        self.attributes.write(path, queries).map_err(|_| Code::BAD_REQUEST)?;
        self.save_due = true;
        self.event(ClientEvent::WriteAttributes { path });
        Ok(())
    }

    /// The values at or below a path in the wanted format (D2, D3), or in our own choice: text or bytes for one value, SenML CBOR for
    /// more.
    pub(super) fn encode(&self, path: Path, accept: Option<ContentFormat>) -> Result<(ContentFormat, Vec<u8>), Code> {
        let records = self.records(path)?;
        let format = accept.unwrap_or(match records.as_slice() {
            [record] if record.path == path && matches!(record.value, crate::object::value::Value::Opaque(_)) => {
                ContentFormat::Opaque
            }
            [record] if record.path == path => ContentFormat::Text,
            _ => ContentFormat::SenmlCbor,
        });
        let payload = format::encode(format, path, &records).ok_or(Code::NOT_ACCEPTABLE)?;
        Ok((format, payload))
    }

    /// What a Read of this path gives: without the stale, the absent and the unreadable, unless that is all that was asked for.
    fn records(&self, path: Path) -> Result<Vec<Record<'_>>, Code> {
        self.check_exists(path)?;
        let now = self.now.unwrap_or_default();
        let entries = self.tree.under(path);
        if let Some(resource) = path.resource {
            let definition = self.registry.object(path.object).and_then(|object| object.resource(resource));
            if !definition.is_some_and(|definition| definition.readable) {
                return Err(Code::METHOD_NOT_ALLOWED);
            }
            let current = || entries.iter().map(|entry| entry.current(now, self.config.stale_after));
            if !current().any(|current| matches!(current, Current::Fresh(_))) {
                let stale = current().any(|current| current == Current::Stale);
                return Err(if stale { Code::UNAVAILABLE } else { Code::NOT_FOUND });
            }
        }
        let record = |entry: &'_ Entry| self.readable_now(entry, now).then_some(entry.path);
        Ok(entries
            .iter()
            .filter(|entry| record(entry).is_some())
            .filter_map(|entry| Some(Record { path: entry.path, value: entry.value.as_ref()?, at_unix_ms: None }))
            .collect())
    }

    /// The path names an object, instance or resource this client has. A resource instance is looked for by the operation.
    pub(super) fn check_exists(&self, path: Path) -> Result<(), Code> {
        let object = self.registry.object(path.object).ok_or(Code::NOT_FOUND)?;
        let exists = match (path.instance, path.resource) {
            (None, _) => self.tree.has_object(path.object),
            (Some(instance), None) => self.tree.has_instance(path.object, instance),
            (Some(instance), Some(resource)) => {
                self.tree.has_instance(path.object, instance) && object.resource(resource).is_some()
            }
        };
        if exists { Ok(()) } else { Err(Code::NOT_FOUND) }
    }

    /// The entry has a fresh value a server may read.
    pub(super) fn readable_now(&self, entry: &Entry, now: Duration) -> bool {
        let definition = entry.path.resource.and_then(|id| self.registry.object(entry.path.object)?.resource(id));
        definition.is_some_and(|definition| definition.readable)
            && matches!(entry.current(now, self.config.stale_after), Current::Fresh(_))
    }

    /// The path has a fresh value.
    pub(super) fn is_fresh(&self, path: Path) -> bool {
        let now = self.now.unwrap_or_default();
        self.tree
            .get(path)
            .is_some_and(|entry| matches!(entry.current(now, self.config.stale_after), Current::Fresh(_)))
    }

    /// Room for a request that the caller answers, or 5.03.
    pub(super) fn open_exchange(&mut self, now: Duration, origin: Origin) -> Result<ExchangeId, Code> {
        if self.exchanges.len() >= MAX_EXCHANGES {
            self.counters.requests_refused += 1;
            return Err(Code::UNAVAILABLE);
        }
        let id = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        self.exchanges.push(Exchange {
            id,
            origin,
            acknowledged: !origin.confirmable,
            ack_at: now.saturating_add(ACK_DELAY),
            expires_at: now.saturating_add(ANSWER_LIMIT),
        });
        Ok(id)
    }

    /// The empty acknowledgement of a request whose answer takes longer.
    fn acknowledge_exchange(&mut self, message_id: u16) {
        let found = self.exchanges.iter_mut().find(|e| e.origin.message_id == message_id && !e.acknowledged);
        if let Some(exchange) = found {
            exchange.acknowledged = true;
            self.dedup.answered(message_id, &Message::empty(Kind::Acknowledgement, message_id).encode());
            self.send_empty(Kind::Acknowledgement, message_id);
        }
    }

    fn finish(&mut self, exchange: Exchange, mut reply: Message) {
        if !exchange.origin.confirmable || !exchange.acknowledged {
            self.respond(exchange.origin, reply);
            return;
        }
        self.counters.errors_answered += u64::from(!reply.code.is_success());
        reply.kind = Kind::Confirmable;
        reply.message_id = self.message_id();
        reply.token = exchange.origin.token;
        exchange.origin.add_block1(&mut reply);
        // Bounded: exchanges are, and each queues one response.
        if self.separate.len() < MAX_EXCHANGES {
            self.separate.push_back(reply);
        } else {
            self.counters.unsent += 1;
        }
    }

    fn respond(&mut self, origin: Origin, mut reply: Message) {
        self.counters.errors_answered += u64::from(!reply.code.is_success());
        reply.token = origin.token;
        if origin.confirmable {
            reply.kind = Kind::Acknowledgement;
            reply.message_id = origin.message_id;
        } else {
            reply.kind = Kind::NonConfirmable;
            reply.message_id = self.message_id();
        }
        origin.add_block1(&mut reply);
        let bytes = reply.encode();
        self.dedup.answered(origin.message_id, &bytes);
        self.send(bytes);
    }

    fn send_empty(&mut self, kind: Kind, message_id: u16) {
        let bytes = Message::empty(kind, message_id).encode();
        self.send(bytes);
    }
}

impl Origin {
    fn of(message: &Message) -> Origin {
        Origin {
            message_id: message.message_id,
            token: message.token,
            confirmable: message.kind == Kind::Confirmable,
            block1: None,
        }
    }

    fn add_block1(&self, reply: &mut Message) {
        if let Some(block) = self.block1.filter(|_| !reply.has(option::BLOCK1)) {
            reply.add_uint(option::BLOCK1, block.encode());
        }
    }
}

fn reply(code: Code) -> Message {
    Message::new(Kind::Acknowledgement, code, 0, Token::default())
}

fn unavailable(max_age_s: u32) -> Message {
    let mut message = reply(Code::UNAVAILABLE);
    message.add_uint(option::MAX_AGE, max_age_s);
    message
}

/// C4, C10: critical options (odd numbers) that this client does not know, repeats of those that may not be repeated, and values of a
/// wrong length are 4.02; forward proxying is 5.05 (RFC 7252 §5.4, §5.10.2).
fn check_options(message: &Message) -> Result<(), Code> {
    for (number, value) in &message.options {
        let longest = match *number {
            option::PROXY_URI | option::PROXY_SCHEME => return Err(Code::PROXYING_NOT_SUPPORTED),
            option::URI_HOST | option::URI_PATH | option::URI_QUERY => continue,
            option::URI_PORT | option::ACCEPT => 2,
            option::BLOCK1 | option::BLOCK2 => 3,
            // Elective, but read as something else than it says if it were ignored.
            option::CONTENT_FORMAT => 2,
            other if other % 2 == 1 => return Err(Code::BAD_OPTION),
            _ => continue,
        };
        if value.len() > longest || message.values(*number).count() > 1 {
            return Err(Code::BAD_OPTION);
        }
    }
    Ok(())
}

/// D7: `arg *("," arg)` with `arg = DIGIT ["=" "'" *CHAR "'"]` (LwM2M Core 1.1.1 §6.3.5).
fn are_arguments(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [b'0'..=b'9', tail @ ..] => tail,
            _ => return false,
        };
        if let [b'=', b'\'', tail @ ..] = rest {
            let Some(end) = tail.iter().position(|byte| *byte == b'\'') else { return false };
            let (value, after) = tail.split_at(end);
            if !value.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x26 | 0x28..=0x5b | 0x5d..=0x7e)) {
                return false;
            }
            rest = after.get(1..).unwrap_or_default();
        }
        rest = match rest {
            [] => return true,
            [b',', tail @ ..] => tail,
            _ => return false,
        };
    }
}

/// Four bytes that differ when the representation does (FNV-1a, 32 bit), so that blocks of two representations do not mix.
fn entity_tag(body: &[u8]) -> [u8; 4] {
    body.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D7
    #[test]
    fn d7_argument_grammar() {
        for good in ["", "0", "0,1='x',2", "5='a-b'", "1=''", "0='x=y'"] {
            assert!(are_arguments(good), "{good:?}");
        }
        for bad in ["x", "10", "0=", "0='", "0='a", "0,", ",0", "0='a\"'", "0='a b'", "0=1", "0='x'1", "0='\u{e9}'"] {
            assert!(!are_arguments(bad), "{bad:?}");
        }
    }
}
