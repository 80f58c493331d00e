//! Send: values with their times, given to the server without being asked (LwM2M Core 1.1.1 §6.4.6, Transport 1.1.1 §6.4.3:
//! confirmable POST to `/dp`). The caller uses it for what the server missed; what is observed goes as notifications.

use core::time::Duration;
use std::collections::BTreeSet;

use super::server::SERVER;
use super::state::{Failure, Output, State};
use super::{Client, Purpose};
use crate::coap::block::{self, Block, Sender};
use crate::coap::message::{Code, Kind, Message, option};
use crate::format::{self, ContentFormat, Record};
use crate::object::path::Path;
use crate::object::value::{Reading, Value};

/// Object id of the Security object, which Send never carries.
const SECURITY: u16 = 0;
/// Object id of OSCORE, which Send never carries.
const OSCORE: u16 = 21;
/// Readings of one Send at most.
const MAX_READINGS: usize = 64;

/// What [`Client::send_readings`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Nothing: not now. See [`Client::is_caught_up`] and [`Client::is_muted`].
    NotNow,
    /// The first so many readings are on their way; [`Output::Sent`] tells what became of them.
    Started(usize),
    /// None of the first so many readings can be sent: unknown object or resource, wrong type.
    Skipped(usize),
}

/// What became of a Send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The server has it (2.04).
    Delivered,
    /// The server does not take it, and perhaps no other.
    Refused(Failure),
    /// The server does not take the one reading that was sent in blocks, and will not.
    TooLarge,
    /// It may or may not have it: to be sent again.
    Lost,
}

impl Client {
    /// Registered, nothing in flight and nothing due: the server has acknowledged everything it wants to know now. A change that is
    /// held back by pmin or by a condition is the server's own wish.
    pub fn is_caught_up(&self) -> bool {
        let Some(now) = self.now else { return false };
        self.session_up
            && self.registration.is_settled()
            && self.outputs.is_empty()
            && self.reliable.is_idle()
            && self.separate.is_empty()
            && self.notification_deadline().is_none_or(|due| due > now)
    }

    /// The server wants no Send (`/1/0/23`).
    pub fn is_muted(&self) -> bool {
        self.settings.mute_send
    }

    /// Sends as many of the readings, in their order, as one message holds; one that is larger goes in blocks (RFC 7959 §2.3). A reading
    /// without `at_unix_ms` goes without a time: the server takes the time of arrival. Two values of one resource at one time, or at none, never share a message: the server would
    /// see one of them.
    pub fn send_readings(&mut self, now: Duration, readings: &[Reading]) -> Sending {
        self.see(now, None);
        if !self.is_caught_up() || self.is_muted() || !matches!(self.state(), State::Registered { .. }) {
            return Sending::NotNow;
        }
        let mut seen = BTreeSet::new();
        let window: Vec<Option<(Path, Value, Option<u64>)>> = readings
            .iter()
            .take(MAX_READINGS)
            .map(|reading| self.sendable(reading))
            .take_while(|sendable| sendable.as_ref().is_none_or(|(path, _, at)| seen.insert((*path, *at))))
            .collect();
        let unsendable = window.iter().take_while(|sendable| sendable.is_none()).count();
        if unsendable > 0 {
            return Sending::Skipped(unsendable);
        }
        let mut end = window.iter().take_while(|sendable| sendable.is_some()).count();
        while end > 0 {
            let records: Vec<Record<'_>> = window
                .iter()
                .take(end)
                .flatten()
                .map(|(path, value, at)| Record { path: *path, value, at_unix_ms: *at })
                .collect();
            let payload = format::encode_pack(self.send_format, &records).unwrap_or_default();
            if payload.len() <= self.config.max_block || end == 1 {
                self.start_send(now, payload);
                return Sending::Started(end);
            }
            end -= 1;
        }
        Sending::NotNow
    }

    fn start_send(&mut self, now: Duration, payload: Vec<u8>) {
        self.counters.sends += 1;
        match Sender::new(payload, self.config.max_block) {
            Ok(blocks) => {
                self.send_blocks = Some(blocks);
                self.send_block(now);
            }
            Err(payload) => {
                self.send_blocks = None;
                self.send_part(now, None, payload);
            }
        }
    }

    fn send_block(&mut self, now: Duration) {
        let Some((block, bytes)) = self.send_blocks.as_ref().and_then(Sender::block) else { return };
        let bytes = bytes.to_vec();
        self.send_part(now, Some(block), bytes);
    }

    fn send_part(&mut self, now: Duration, block: Option<Block>, payload: Vec<u8>) {
        let mut message = Message::new(Kind::Confirmable, Code::POST, self.message_id(), self.rng.token());
        message.add(option::URI_PATH, b"dp");
        message.add_uint(option::CONTENT_FORMAT, u32::from(self.send_format.number()));
        if let Some(block) = block {
            message.add_uint(option::BLOCK1, block.encode());
        }
        message.payload = payload;
        self.send_confirmable(now, &message, Purpose::Send);
    }

    /// The reading as it can be sent, if the node may have it.
    fn sendable(&self, reading: &Reading) -> Option<(Path, Value, Option<u64>)> {
        let object = reading.path.object;
        if matches!(object, SECURITY | SERVER | OSCORE) {
            return None;
        }
        let path = self.locate(reading.path, true)?;
        let definition = self.registry.object(object)?.resource(path.resource?)?;
        let value = reading.value.clone().into_type(definition.value_type?)?;
        Some((path, value, reading.at_unix_ms))
    }

    pub(super) fn send_answered(&mut self, now: Duration, response: &Message) {
        let code = response.code;
        if let (Some(blocks), Ok(Some(answered))) = (&mut self.send_blocks, block::of(response, option::BLOCK1)) {
            let goes_on = match code {
                Code::CONTINUE => blocks.advance(answered),
                Code::TOO_LARGE => blocks.shrink(answered),
                _ => false,
            };
            if goes_on {
                return self.send_block(now);
            }
        }
        let in_blocks = self.send_blocks.take().is_some();
        let outcome = match code {
            Code::CHANGED => SendOutcome::Delivered,
            Code::BAD_OPTION | Code::TOO_LARGE if in_blocks => SendOutcome::TooLarge,
            // D15: a server need not speak both formats.
            Code::UNSUPPORTED_FORMAT if self.send_format == ContentFormat::SenmlCbor => {
                self.send_format = ContentFormat::SenmlJson;
                SendOutcome::Lost
            }
            _ if code.class() == 5 => {
                self.registration.doubt();
                SendOutcome::Lost
            }
            _ => {
                // Leshan answers a Send of an endpoint that it does not know with 4.00; the next Update will tell.
                if matches!(code, Code::BAD_REQUEST | Code::NOT_FOUND) {
                    self.registration.doubt();
                }
                SendOutcome::Refused(Failure::Code(code))
            }
        };
        self.output(Output::Sent(outcome));
    }

    pub(super) fn send_failed(&mut self, failure: Failure) {
        let outcome = match failure {
            Failure::Reset => SendOutcome::Refused(failure),
            Failure::Timeout | Failure::Code(_) => {
                self.registration.doubt();
                SendOutcome::Lost
            }
        };
        self.output(Output::Sent(outcome));
    }
}
