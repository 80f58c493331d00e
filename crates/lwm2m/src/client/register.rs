//! Register, Update, De-register (LwM2M Core 1.1.1 §6.2): when they start, what they carry, what their failure means.
//!
//! The node's sign of life ([`Client::alive`]) is what keeps a registration. Apart from it only the server's own request (the
//! update trigger, a new lifetime), a changed object list of a living node, and the retries of a try under way start anything.
//! Retries end when the node has been silent for a lifetime.

use core::time::Duration;

use super::server::BINDING;
use super::state::{CancelledBy, ClientEvent, Failure, RegistrationRecord, State};
use super::{Client, Output, Purpose, SendOutcome};
use crate::coap::block::{self, Sender};
use crate::coap::message::{Code, Kind, Message, option};
use crate::format::ContentFormat;
use crate::format::link::Links;

/// Tries of one sequence (`/1/x/17`, LwM2M Core 1.1.1 §6.2.1.1).
const TRIES: u32 = 5;
/// Wait after the first failed try, doubled with each further one (`/1/x/18`).
const RETRY_TIMER: Duration = Duration::from_secs(60);
/// Longest wait. The specification waits a day between sequences; a gateway would be out for a day after a short outage of the
/// server, so after the last try of a sequence it takes a sign of life and this wait instead.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(3600);
/// Waits are up to this much longer, so that the nodes of a gateway do not come back together.
const JITTER: f64 = 0.1;

/// Where the registration stands.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// Segments of the location; `Some` while registered.
    location: Option<Vec<String>>,
    /// When the request of the last successful Register or Update was sent.
    refreshed_at: Duration,
    /// `None` for a restored registration until the first time is given.
    expires_at: Option<Duration>,
    restored_expiry_unix_ms: Option<u64>,
    /// End of a Disable from before a restart, until the first time is given.
    restored_disable_unix_ms: Option<u64>,
    /// What the server knows.
    registered_lifetime_s: u32,
    registered_digest: u64,
    /// The object list may differ from what the server knows.
    pub(super) objects_changed: bool,
    last_alive: Option<Duration>,
    /// The server may have forgotten us: the next sign of life sends an Update, and no notification goes out before its answer.
    unverified: bool,
    want_register: bool,
    want_update: bool,
    want_deregister: Option<Deregister>,
    operation: Option<Operation>,
    failures: u32,
    /// No try before this.
    retry_at: Option<Duration>,
    /// The try at `retry_at` starts by itself.
    retry_automatic: bool,
    disabled_until: Option<Duration>,
}

/// Why to de-register.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deregister {
    /// The caller asked.
    Stop,
    /// The server executed Disable.
    Disable,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kinds {
    Register,
    Update,
    Deregister,
}

/// The operation under way.
#[derive(Debug)]
struct Operation {
    kind: Kinds,
    started_at: Duration,
    lifetime_s: u32,
    digest: u64,
    /// Object list that fits in one message.
    body: Option<Vec<u8>>,
    /// Object list that does not.
    sender: Option<Sender>,
}

impl Registration {
    pub(super) fn restore(record: Option<RegistrationRecord>, disabled_until_unix_ms: Option<u64>) -> Registration {
        match record {
            None => Registration { restored_disable_unix_ms: disabled_until_unix_ms, ..Registration::default() },
            Some(record) => Registration {
                location: Some(record.location),
                registered_lifetime_s: record.lifetime_s,
                registered_digest: record.object_list_digest,
                restored_expiry_unix_ms: record.expires_unix_ms,
                objects_changed: true,
                unverified: true,
                ..Registration::default()
            },
        }
    }

    fn location_text(&self) -> Option<String> {
        self.location.as_ref().map(|segments| segments.iter().map(|segment| format!("/{segment}")).collect())
    }

    /// Registered as far as we know, and nothing under way that may change it.
    pub(super) fn is_settled(&self) -> bool {
        self.location.is_some()
            && self.operation.is_none()
            && !self.unverified
            && !self.want_register
            && !self.want_update
            && self.want_deregister.is_none()
    }

    /// The server wants to hear nothing and to have no answer.
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled_until.is_some()
    }

    /// Asks for an Update with the next sign of life, and holds notifications until then.
    pub(super) fn doubt(&mut self) {
        self.unverified = true;
    }

    /// The server executed the update trigger.
    pub(super) fn trigger(&mut self) {
        self.want_update = true;
    }

    /// The server executed Disable.
    pub(super) fn disable(&mut self) {
        self.want_deregister = Some(Deregister::Disable);
    }
}

impl Client {
    /// The node has just shown, authenticated, that it lives. Registers if it is not registered; else sends an Update if the last
    /// one is half a lifetime old, or always in queue mode.
    pub fn alive(&mut self, now: Duration, unix_ms: Option<u64>) {
        self.see(now, unix_ms);
        self.settle_restored(now);
        let queue_mode = self.config.queue_mode;
        let half_lifetime = self.lifetime() / 2;
        let registration = &mut self.registration;
        registration.last_alive = Some(now);
        if registration.is_disabled() || registration.want_deregister.is_some() {
            return;
        }
        if registration.location.is_none() {
            let waiting = registration.retry_at.is_some_and(|at| at > now);
            if registration.operation.is_none() && !waiting {
                registration.want_register = true;
            }
        } else if registration.operation.is_none()
            && (queue_mode || registration.unverified || now.saturating_sub(registration.refreshed_at) >= half_lifetime)
        {
            registration.want_update = true;
        }
    }

    /// Ends the registration at the server (clean stop, removal of the node). The next sign of life registers again.
    pub fn deregister(&mut self, now: Duration) {
        self.see(now, None);
        let registration = &mut self.registration;
        registration.want_register = false;
        registration.want_update = false;
        registration.retry_at = None;
        match registration.operation.as_ref().map(|operation| operation.kind) {
            Some(Kinds::Deregister) => return,
            Some(Kinds::Update) => {
                registration.operation = None;
                self.reliable.cancel();
            }
            Some(Kinds::Register) | None => {}
        }
        let registration = &mut self.registration;
        if registration.location.is_some() || registration.operation.is_some() {
            registration.want_deregister = Some(Deregister::Stop);
        }
        self.finish_deregistration_if_down();
    }

    /// Where the client is in its life.
    pub fn state(&self) -> State {
        let registration = &self.registration;
        let kind = registration.operation.as_ref().map(|operation| operation.kind);
        if kind == Some(Kinds::Deregister) || registration.want_deregister.is_some() {
            return State::Deregistering;
        }
        if let Some(until) = registration.disabled_until {
            return State::Disabled { until };
        }
        if let Some(location) = registration.location_text() {
            return State::Registered {
                location,
                expires_at: registration.expires_at,
                observations: self.observations.len(),
                updating: kind == Some(Kinds::Update),
            };
        }
        let retrying = registration.retry_at.filter(|_| registration.retry_automatic);
        if registration.want_register || kind == Some(Kinds::Register) || retrying.is_some() {
            let next_try_at = retrying.filter(|_| kind.is_none() && !registration.want_register);
            return State::Registering { failures: registration.failures, next_try_at };
        }
        State::Idle
    }

    pub(super) fn registration_record(&self) -> Option<RegistrationRecord> {
        let registration = &self.registration;
        let expires_unix_ms = match (registration.expires_at, self.wall) {
            (Some(expires_at), Some((at, unix_ms))) => {
                let left = expires_at.saturating_sub(at).as_millis();
                Some(unix_ms.saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
            }
            _ => registration.restored_expiry_unix_ms,
        };
        Some(RegistrationRecord {
            location: registration.location.clone()?,
            lifetime_s: registration.registered_lifetime_s,
            expires_unix_ms,
            object_list_digest: registration.registered_digest,
        })
    }

    pub(super) fn disabled_until_unix_ms(&self) -> Option<u64> {
        let (at, unix_ms) = self.wall?;
        let left = self.registration.disabled_until?.saturating_sub(at).as_millis();
        Some(unix_ms.saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
    }

    /// The first time after a restart: is the restored registration over?
    pub(super) fn settle_restored(&mut self, now: Duration) {
        if let (Some(until), Some((at, unix_ms))) = (self.registration.restored_disable_unix_ms, self.wall) {
            // R15: a restart does not end a Disable.
            let longest = Duration::from_secs(u64::from(self.settings.disable_timeout_s));
            let left = Duration::from_millis(until.saturating_sub(unix_ms)).min(longest);
            self.registration.restored_disable_unix_ms = None;
            self.registration.disabled_until = (!left.is_zero()).then(|| at.saturating_add(left));
        }
        if self.registration.location.is_none() || self.registration.expires_at.is_some() {
            return;
        }
        let lifetime = Duration::from_secs(u64::from(self.registration.registered_lifetime_s));
        let left = match (self.registration.restored_expiry_unix_ms, self.wall) {
            (Some(until), Some((_, unix_ms))) => Duration::from_millis(until.saturating_sub(unix_ms)).min(lifetime),
            _ => lifetime,
        };
        self.registration.expires_at = Some(now.saturating_add(left));
        if left.is_zero() {
            self.lapse();
        }
    }

    /// A new session: what was registered over the old one does not hold.
    pub(super) fn forget_server(&mut self, now: Duration) {
        let lives = self.node_lives(now);
        let registration = &mut self.registration;
        let wanted = registration.location.take().is_some() || registration.want_register;
        registration.want_register = wanted && lives && !registration.is_disabled();
        registration.want_update = false;
        registration.unverified = false;
        registration.want_deregister = None;
        self.save_due |= wanted;
    }

    /// The session went down with an operation under way: it starts again with the next session.
    pub(super) fn resume_operation_later(&mut self) {
        let registration = &mut self.registration;
        match registration.operation.take().map(|operation| operation.kind) {
            Some(Kinds::Register) => registration.want_register = true,
            Some(Kinds::Update) => registration.want_update = true,
            Some(Kinds::Deregister) | None => {}
        }
    }

    /// Without a session there is nobody to tell: the registration runs out at the server.
    pub(super) fn finish_deregistration_if_down(&mut self) {
        if !self.session_up && self.registration.want_deregister.is_some() {
            self.end_registration(ClientEvent::Lapsed);
        }
    }

    pub(super) fn registration_deadline(&self) -> Option<Duration> {
        let registration = &self.registration;
        let expiry =
            registration.expires_at.filter(|_| registration.location.is_some() && registration.operation.is_none());
        [registration.retry_at, expiry, registration.disabled_until].into_iter().flatten().min()
    }

    pub(super) fn tick_registration(&mut self, now: Duration) {
        self.settle_restored(now);
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if due(self.registration.retry_at) {
            self.registration.retry_at = None;
            self.registration.want_register |= self.registration.retry_automatic && self.node_lives(now);
        }
        if due(self.registration.disabled_until) {
            self.registration.disabled_until = None;
            self.registration.want_register = self.node_lives(now);
        }
        if self.registration.location.is_some()
            && self.registration.operation.is_none()
            && due(self.registration.expires_at)
        {
            self.lapse();
        }
    }

    /// Starts the next operation, if one is wanted and the way is free.
    pub(super) fn pump_registration(&mut self, now: Duration) {
        if self.registration.operation.is_some() {
            return;
        }
        if self.registration.want_deregister.is_some() {
            if self.registration.location.is_none() {
                self.registration.want_deregister = None;
            } else if self.reliable.purpose() != Some(&Purpose::Response) {
                // What else is in flight is given up, so that a stop does not wait for it; an answer is not.
                if self.reliable.cancel() == Some(Purpose::Send) {
                    self.output(Output::Sent(SendOutcome::Lost));
                }
                self.start_operation(now, Kinds::Deregister, None, 0);
            }
            return;
        }
        if !self.reliable.is_idle() {
            return;
        }
        let lives = self.node_lives(now);
        if core::mem::take(&mut self.registration.want_register) {
            if lives {
                let list = self.object_list();
                let digest = digest(&list);
                self.start_operation(now, Kinds::Register, Some(list), digest);
            }
            return;
        }
        if self.registration.location.is_none() {
            return;
        }
        let mut list = None;
        let mut known = self.registration.registered_digest;
        if self.registration.objects_changed && lives {
            let current = self.object_list();
            let digest = digest(&current);
            if digest == known {
                self.registration.objects_changed = false;
            } else {
                known = digest;
                list = Some(current);
            }
        }
        let lifetime_changed = self.settings.lifetime_s != self.registration.registered_lifetime_s;
        if self.registration.want_update || lifetime_changed || list.is_some() {
            self.registration.want_update = false;
            self.start_operation(now, Kinds::Update, list, known);
        }
    }

    fn start_operation(&mut self, now: Duration, kind: Kinds, list: Option<Vec<u8>>, digest: u64) {
        let (body, sender) = match list.map(|list| Sender::new(list, self.config.max_block)) {
            Some(Ok(sender)) => (None, Some(sender)),
            Some(Err(list)) => (Some(list), None),
            None => (None, None),
        };
        let lifetime_s = self.settings.lifetime_s;
        self.registration.operation = Some(Operation { kind, started_at: now, lifetime_s, digest, body, sender });
        self.send_operation(now);
    }

    /// Sends the operation's only message, or its next block.
    fn send_operation(&mut self, now: Duration) {
        let Some(operation) = &self.registration.operation else { return };
        let code = if operation.kind == Kinds::Deregister { Code::DELETE } else { Code::POST };
        let mut message = Message::new(Kind::Confirmable, code, 0, self.rng.token());
        if operation.kind == Kinds::Register {
            message.add(option::URI_PATH, b"rd");
            message.add(option::URI_QUERY, format!("ep={}", self.config.endpoint).as_bytes());
            message.add(option::URI_QUERY, format!("lt={}", operation.lifetime_s).as_bytes());
            message.add(option::URI_QUERY, b"lwm2m=1.1");
            message.add(option::URI_QUERY, format!("b={BINDING}").as_bytes());
            if self.config.queue_mode {
                message.add(option::URI_QUERY, b"Q");
            }
        } else {
            for segment in self.registration.location.iter().flatten() {
                message.add(option::URI_PATH, segment.as_bytes());
            }
            if operation.kind == Kinds::Update && operation.lifetime_s != self.registration.registered_lifetime_s {
                message.add(option::URI_QUERY, format!("lt={}", operation.lifetime_s).as_bytes());
            }
        }
        if let Some(body) = &operation.body {
            message.payload.clone_from(body);
        } else if let Some((block, bytes)) = operation.sender.as_ref().and_then(Sender::block) {
            message.add_uint(option::BLOCK1, block.encode());
            message.payload = bytes.to_vec();
        }
        if !message.payload.is_empty() {
            message.add_uint(option::CONTENT_FORMAT, u32::from(ContentFormat::Link.number()));
        }
        message.message_id = self.message_id();
        self.send_confirmable(now, &message, Purpose::Registration);
    }

    /// The server's response to the operation under way.
    pub(super) fn operation_answered(&mut self, now: Duration, response: &Message) {
        let answered = block::of(response, option::BLOCK1).ok().flatten();
        let Some(operation) = &mut self.registration.operation else { return };
        if let (Some(sender), Some(answered)) = (&mut operation.sender, answered) {
            let goes_on = match response.code {
                Code::CONTINUE => sender.advance(answered),
                Code::TOO_LARGE => sender.shrink(answered),
                _ => false,
            };
            if goes_on {
                self.send_operation(now);
                return;
            }
        }
        let location = response.texts(option::LOCATION_PATH).filter(|segments| !segments.is_empty());
        match (operation.kind, response.code, location) {
            (Kinds::Register, Code::CREATED, Some(location)) => {
                let location = location.into_iter().map(String::from).collect();
                self.registered(location);
            }
            (Kinds::Update, Code::CHANGED, _) => {
                self.refreshed();
                self.event(ClientEvent::Updated);
            }
            (_, code, _) => self.operation_failed(now, Failure::Code(code)),
        }
    }

    fn registered(&mut self, location: Vec<String>) {
        self.registration.location = Some(location);
        self.registration.failures = 0;
        self.registration.retry_at = None;
        self.refreshed();
        // I12: observations belong to the registration before.
        self.cancel_all_observations(CancelledBy::Registration);
        if let Some(location) = self.registration.location_text() {
            self.event(ClientEvent::Registered { location });
        }
    }

    /// The server has answered a Register or an Update: the lifetime counts from when the request was sent.
    fn refreshed(&mut self) {
        let Some(operation) = self.registration.operation.take() else { return };
        let registration = &mut self.registration;
        registration.refreshed_at = operation.started_at;
        registration.registered_lifetime_s = operation.lifetime_s;
        registration.registered_digest = operation.digest;
        registration.expires_at =
            Some(operation.started_at.saturating_add(Duration::from_secs(u64::from(operation.lifetime_s))));
        registration.unverified = false;
        registration.failures = 0;
        self.save_due = true;
    }

    /// No usable answer. R13: back off. R9: after an Update, register again.
    pub(super) fn operation_failed(&mut self, now: Duration, reason: Failure) {
        let Some(operation) = self.registration.operation.take() else { return };
        match operation.kind {
            Kinds::Register => {
                let retry_in = self.back_off(now);
                self.event(ClientEvent::RegistrationFailed { reason, retry_in });
                if self.registration.want_deregister.take() == Some(Deregister::Stop) {
                    self.registration.retry_at = None;
                }
            }
            Kinds::Update => {
                self.event(ClientEvent::UpdateFailed { reason });
                self.registration.location = None;
                self.registration.unverified = false;
                self.registration.want_update = false;
                self.save_due = true;
                let server_fault = matches!(reason, Failure::Code(code) if code.class() == 5);
                if !self.node_lives(now) {
                    self.lapse();
                } else if server_fault {
                    self.back_off(now);
                } else {
                    self.registration.want_register = true;
                }
            }
            Kinds::Deregister => self.end_registration(ClientEvent::Deregistered),
        }
    }

    /// Plans the next try; gives the wait if that try starts by itself.
    fn back_off(&mut self, now: Duration) -> Option<Duration> {
        let jitter = 1.0 + self.rng.fraction() * JITTER;
        let registration = &mut self.registration;
        registration.failures = registration.failures.saturating_add(1);
        let doublings = (registration.failures - 1).min(10);
        let wait = RETRY_TIMER.saturating_mul(1 << doublings).min(MAX_RETRY_WAIT).mul_f64(jitter);
        registration.retry_at = Some(now.saturating_add(wait));
        registration.retry_automatic = registration.failures < TRIES;
        registration.retry_automatic.then_some(wait)
    }

    fn lapse(&mut self) {
        self.end_registration(ClientEvent::Lapsed);
    }

    fn end_registration(&mut self, event: ClientEvent) {
        let disable = self.registration.want_deregister.take() == Some(Deregister::Disable);
        let registration = &mut self.registration;
        registration.location = None;
        registration.operation = None;
        registration.unverified = false;
        registration.want_update = false;
        if disable {
            let timeout = Duration::from_secs(u64::from(self.settings.disable_timeout_s));
            registration.disabled_until = self.now.map(|now| now.saturating_add(timeout));
        }
        self.cancel_all_observations(CancelledBy::Registration);
        self.save_due = true;
        self.event(event);
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.settings.lifetime_s))
    }

    fn node_lives(&self, now: Duration) -> bool {
        self.registration.last_alive.is_some_and(|at| now.saturating_sub(at) < self.lifetime())
    }

    /// R3, R4: the formats spoken, then objects and instances without `/0` and `/21`; the version wherever it is not 1.0.
    fn object_list(&self) -> Vec<u8> {
        let mut links = Links::default();
        links.link("/").attribute("rt", "\"oma.lwm2m\"").attribute("ct", "\"60 110 112 11542\"");
        let mut object_before = None;
        for (object, instance) in self.tree.instances() {
            if object_before != Some(*object)
                && let Some(definition) = self.registry.object(*object)
                && definition.version != "1.0"
            {
                links.link(format_args!("/{object}")).attribute("ver", &definition.version);
            }
            object_before = Some(*object);
            links.link(format_args!("/{object}/{instance}"));
        }
        links.into_bytes()
    }
}

/// FNV-1a, 64 bit (RFC 9923): enough to see that a list is another one.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
