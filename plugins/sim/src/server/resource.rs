//! What clients ask of the server: Register, Update, De-register and Send.

use super::engine::Server;
use super::event::Event;
use super::links;
use super::message;
use super::path::Path;
use super::registration::{DEFAULT_LIFETIME_S, Id, Registration};
use super::senml;
use coap_lite::{CoapOption, MessageClass, Packet, RequestType, ResponseType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Content-Format of links.
const LINK_FORMAT: u16 = 40;
/// Longest endpoint name in bytes; an option of Uri-Query holds 255 (RFC 7252 §5.10).
const MAX_ENDPOINT: usize = 252;

impl Server {
    /// The reply, without its type, token and message id, and the registration that was made or changed.
    pub(super) fn resource(&mut self, now: Duration, from: SocketAddr, request: &Packet) -> (Packet, Option<Id>) {
        if message::has_unknown_critical(request) {
            return (reply(ResponseType::BadOption), None);
        }
        let Some(path) = message::texts(request, CoapOption::UriPath) else {
            return (reply(ResponseType::BadOption), None);
        };
        let MessageClass::Request(method) = request.header.code else {
            return (reply(ResponseType::MethodNotAllowed), None);
        };
        let result = match (path.as_slice(), method) {
            (["rd"], RequestType::Post) => return self.register(now, from, request),
            (["rd", segment], RequestType::Post) => {
                return match self.update(now, from, segment, request) {
                    Ok(id) => (reply(ResponseType::Changed), Some(id)),
                    Err(code) => (reply(code), None),
                };
            }
            (["rd", segment], RequestType::Delete) => self.deregister(now, segment),
            (["dp"], RequestType::Post) => self.received(from, request),
            (["rd"] | ["rd", _] | ["dp"], _) => ResponseType::MethodNotAllowed,
            _ => ResponseType::NotFound,
        };
        (reply(result), None)
    }

    /// Register (LwM2M Core 1.1.1 §6.2.1). What a stricter server refuses is refused: no endpoint name, no version,
    /// queue mode in the binding, no object list.
    fn register(&mut self, now: Duration, from: SocketAddr, request: &Packet) -> (Packet, Option<Id>) {
        let registration = match registration(from, request) {
            Ok(registration) => registration,
            Err(code) => return (reply(code), None),
        };
        let previous = self.registrations.of_endpoint(&registration.ep);
        if previous.is_none() && self.registrations.is_full() {
            self.dropped("too many registrations", from);
            return (reply(ResponseType::ServiceUnavailable), None);
        }
        if let Some(previous) = previous {
            self.end(now, previous);
        }
        let id = self.fresh_id();
        self.event(Event::Registered {
            ep: registration.ep.clone(),
            lt: registration.lifetime_s,
            objects: registration.objects.clone(),
            addr: from,
            replaced: previous.is_some(),
        });
        self.registrations.insert(id, registration);
        self.renew(now, id);
        let mut created = reply(ResponseType::Created);
        for segment in ["rd".to_owned(), id.segment()] {
            created.add_option(CoapOption::LocationPath, segment.into_bytes());
        }
        (created, Some(id))
    }

    /// Update (§6.2.2).
    fn update(&mut self, now: Duration, from: SocketAddr, segment: &str, request: &Packet) -> Result<Id, ResponseType> {
        let id = self.known(segment).ok_or(ResponseType::NotFound)?;
        let query = query(request).ok_or(ResponseType::BadRequest)?;
        let lifetime_s = lifetime(&query)?;
        let objects = if request.payload.is_empty() { None } else { Some(object_list(request)?) };
        self.move_to(now, id, from);
        let registration = self.registrations.get_mut(id).ok_or(ResponseType::NotFound)?;
        registration.lifetime_s = lifetime_s.unwrap_or(registration.lifetime_s);
        if let Some(objects) = &objects {
            registration.objects.clone_from(objects);
        }
        let event = Event::Updated { ep: registration.ep.clone(), lt: registration.lifetime_s, objects };
        self.renew(now, id);
        self.event(event);
        Ok(id)
    }

    /// De-register (§6.2.3).
    fn deregister(&mut self, now: Duration, segment: &str) -> ResponseType {
        match self.known(segment).and_then(|id| self.end(now, id)) {
            Some(ep) => {
                self.event(Event::Deregistered { ep });
                ResponseType::Deleted
            }
            None => ResponseType::NotFound,
        }
    }

    /// Send (§6.4.6), from a registered address.
    fn received(&mut self, from: SocketAddr, request: &Packet) -> ResponseType {
        let Some(registration) = self.registrations.at(from).and_then(|id| self.registrations.get(id)) else {
            return ResponseType::BadRequest;
        };
        if message::content_format(request) != Some(senml::SENML_JSON) {
            return ResponseType::UnsupportedContentFormat;
        }
        match senml::decode_senml(&request.payload) {
            Some(data) => {
                let ep = registration.ep.clone();
                self.event(Event::Send { ep, data });
                ResponseType::Changed
            }
            None => ResponseType::BadRequest,
        }
    }

    fn known(&self, segment: &str) -> Option<Id> {
        Id::from_segment(segment).filter(|id| self.registrations.get(*id).is_some())
    }

    /// An id that is not in use; random, so that one from before a restart does not name another client after it.
    fn fresh_id(&mut self) -> Id {
        loop {
            let id = Id(self.rng.next() as u32);
            if self.registrations.get(id).is_none() {
                return id;
            }
        }
    }
}

fn reply(code: ResponseType) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = MessageClass::Response(code);
    packet
}

fn registration(from: SocketAddr, request: &Packet) -> Result<Registration, ResponseType> {
    let query = query(request).ok_or(ResponseType::BadRequest)?;
    let ep = query.get("ep").filter(|ep| !ep.is_empty() && ep.len() <= MAX_ENDPOINT).ok_or(ResponseType::BadRequest)?;
    let binding = query.get("b").copied().unwrap_or("U");
    if !query.contains_key("lwm2m") || !binding.bytes().all(|transport| b"UTSN".contains(&transport)) {
        return Err(ResponseType::BadRequest);
    }
    Ok(Registration {
        ep: (*ep).to_owned(),
        addr: from,
        lifetime_s: lifetime(&query)?.unwrap_or(DEFAULT_LIFETIME_S),
        expires: None,
        queue: query.contains_key("Q"),
        objects: object_list(request)?,
        observed: BTreeMap::new(),
    })
}

/// Keys and values of Uri-Query; the value of a bare key is empty.
fn query(request: &Packet) -> Option<BTreeMap<&str, &str>> {
    let entries = message::texts(request, CoapOption::UriQuery)?;
    Some(entries.into_iter().map(|entry| entry.split_once('=').unwrap_or((entry, ""))).collect())
}

fn lifetime(query: &BTreeMap<&str, &str>) -> Result<Option<u64>, ResponseType> {
    match query.get("lt") {
        None => Ok(None),
        Some(text) => text.parse::<u32>().map(|seconds| Some(seconds.into())).map_err(|_| ResponseType::BadRequest),
    }
}

fn object_list(request: &Packet) -> Result<Vec<Path>, ResponseType> {
    match message::content_format(request) {
        None | Some(LINK_FORMAT) => links::object_list(&request.payload).ok_or(ResponseType::BadRequest),
        Some(_) => Err(ResponseType::UnsupportedContentFormat),
    }
}
