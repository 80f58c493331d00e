//! The LwM2M client of one endpoint: inputs are calls with the time, outputs are drained with [`Client::poll`].

mod attributes;
mod discover;
mod dispatch;
mod observe;
mod register;
mod send;
mod server;
mod state;
mod write;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use self::attributes::Attributes;
pub use self::send::{SendOutcome, Sending};
pub use self::state::{
    Answer, CancelledBy, ClientConfig, ClientEvent, Counters, ExchangeId, Failure, ObservationRecord, Output,
    RegistrationRecord, Snapshot, State,
};

use self::attributes::AttributeTable;
use self::dispatch::{Body, Exchange};
use self::observe::{Observation, Sequence};
use self::register::Registration;
use self::server::{SERVER, ServerSettings};
use crate::coap::block::{Assembler, Sender};
use crate::coap::dedup::Dedup;
use crate::coap::message::{Kind, Message};
use crate::coap::reliable::{Due, Reliable};
use crate::coap::token::{Rng, Token};
use crate::format::ContentFormat;
use crate::object::path::Path;
use crate::object::registry::Registry;
use crate::object::tree::{Freshness, Tree, millis};
use crate::object::value::{Reading, Value};

/// Outputs held until the caller drains them; more are dropped and counted.
/// Counted: `outputs_dropped`.
const MAX_OUTPUTS: usize = 256;

/// What the confirmable message in flight is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Purpose {
    /// Register, Update or De-register.
    Registration,
    /// A notification of the observation with this token.
    Notify(Token),
    /// The separate response to a request.
    Response,
    /// A Send operation.
    Send,
}

/// One LwM2M 1.1 client: one endpoint, one server. See the crate documentation for the rules it keeps.
///
/// Every call that changes something must be followed by draining [`Client::poll`] until it gives `None`; then
/// [`Client::deadline`] tells when [`Client::tick`] is due.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    registry: Arc<Registry>,
    settings: ServerSettings,
    send_format: ContentFormat,
    /// What is left of a Send that needs more than one message.
    send_blocks: Option<Sender>,
    tree: Tree,
    attributes: AttributeTable,
    observations: Vec<Observation>,
    sequence: Sequence,
    registration: Registration,
    reliable: Reliable<Purpose>,
    dedup: Dedup,
    assembler: Option<Assembler>,
    body: Option<Body>,
    exchanges: Vec<Exchange>,
    next_exchange: u64,
    separate: VecDeque<Message>,
    outputs: VecDeque<Output>,
    counters: Counters,
    rng: Rng,
    next_message_id: u16,
    session_up: bool,
    save_due: bool,
    now: Option<Duration>,
    /// The last wall time given, and when.
    wall: Option<(Duration, u64)>,
    /// When the server was heard last.
    last_heard: Option<Duration>,
}

impl Client {
    /// A client that is not registered, or, from a snapshot, one whose registration may still be valid. `/1/0` and `/3/0` exist
    /// from the start; other instances are added by the caller or by [`Client::apply`].
    pub fn new(config: ClientConfig, registry: Arc<Registry>, restored: Option<Snapshot>) -> Client {
        let mut rng = Rng::new(config.seed);
        let settings = ServerSettings::new(&config, restored.as_ref());
        let snapshot = restored.unwrap_or_default();
        let mut client = Client {
            settings,
            send_format: ContentFormat::SenmlCbor,
            send_blocks: None,
            config,
            registry,
            tree: Tree::default(),
            attributes: AttributeTable::restore(snapshot.attributes),
            observations: Observation::restore(&snapshot.observations),
            sequence: Sequence::new(snapshot.observe_sequence),
            registration: Registration::restore(snapshot.registration, snapshot.disabled_until_unix_ms),
            reliable: Reliable::default(),
            dedup: Dedup::default(),
            assembler: None,
            body: None,
            exchanges: Vec::new(),
            next_exchange: 0,
            separate: VecDeque::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            next_message_id: (rng.next_u64() >> 48) as u16,
            rng,
            session_up: false,
            save_due: false,
            now: None,
            wall: None,
            last_heard: None,
        };
        client.create_core_objects();
        client
    }

    /// The node has this object instance. After registration this leads to an Update with the object list. An object that is
    /// not in the registry, and more than 64 instances, are refused and counted.
    pub fn add_instance(&mut self, object: u16, instance: u16) {
        if self.registry.object(object).is_none() || object == SERVER || !self.create_instance(object, instance) {
            self.counters.readings_refused += 1;
        }
    }

    /// The node has this resource, whether or not it has a value: it is listed by Discover. Needed for optional resources that
    /// can be executed or that no reading ever reports.
    pub fn add_resource(&mut self, path: Path) {
        match self.locate(path, true) {
            Some(path) if self.tree.get(path).is_none() => {
                self.store(path, None, Freshness::Static, None);
            }
            Some(_) => {}
            None => self.counters.readings_refused += 1,
        }
    }

    /// A value that never ages: manufacturer, DevEUI. Readable at once.
    pub fn set_static(&mut self, path: Path, value: Value) {
        let Some((path, value)) = self.fit(path, value) else {
            self.counters.readings_refused += 1;
            return;
        };
        self.store(path, Some(value), Freshness::Static, None);
    }

    /// New values from the node: they become readable, and notifications that are due go out. Missing instances of known objects
    /// are created. Values of unknown objects or resources, of a wrong type or longer than 1024 bytes are refused and counted.
    pub fn apply(&mut self, now: Duration, readings: &[Reading]) {
        self.see(now, None);
        let freshness = Freshness::Measured { at_ms: millis(now) };
        for reading in readings {
            self.take(reading, freshness);
        }
    }

    /// A value from before a restart, `age` old. Call before the first time is given.
    pub fn restore_value(&mut self, reading: &Reading, age: Duration) {
        let now = self.now.map_or(0, millis);
        self.take(reading, Freshness::Measured { at_ms: now.saturating_sub(millis(age)) });
    }

    /// Datagrams can be sent, with blocks of at most `max_block` bytes, 16 to 1024. `new`: the server sees a new address or a new DTLS
    /// session, so a registration made over the old one does not hold any more and the client registers again (R10), if the
    /// node lives; else the registration holds if the server answers an Update.
    pub fn session_up(&mut self, now: Duration, new: bool, max_block: usize) {
        self.see(now, None);
        self.session_up = true;
        self.config.max_block = max_block.clamp(16, 1024);
        self.registration.doubt();
        if new {
            self.dedup.clear();
            self.assembler = None;
            self.body = None;
            self.exchanges.clear();
            self.separate.clear();
            self.interrupt();
            self.forget_server(now);
        }
    }

    /// Datagrams cannot be sent. What was under way starts again with the next session.
    pub fn session_down(&mut self, now: Duration) {
        self.see(now, None);
        self.session_up = false;
        self.interrupt();
        self.finish_deregistration_if_down();
    }

    /// Lets time pass: repetitions, back-off, pmin and pmax, the end of the registration.
    pub fn tick(&mut self, now: Duration, unix_ms: Option<u64>) {
        self.see(now, unix_ms);
        match self.reliable.tick(now) {
            Due::Nothing => {}
            Due::Retransmit => {
                self.refresh_notification(now);
                if let Some(bytes) = self.reliable.bytes().map(<[u8]>::to_vec) {
                    self.counters.retransmitted += 1;
                    self.send(bytes);
                }
            }
            Due::TimedOut(purpose) => {
                self.counters.timeouts += 1;
                self.undelivered(now, purpose, Failure::Timeout);
            }
        }
        self.tick_exchanges(now);
        self.tick_registration(now);
        if self.body.as_ref().is_some_and(|body| body.until <= now) {
            self.body = None;
        }
    }

    /// When [`Client::tick`] has something to do next.
    pub fn deadline(&self) -> Option<Duration> {
        [self.reliable.deadline(), self.exchange_deadline(), self.registration_deadline(), self.notification_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do; call until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.pump();
        }
        self.outputs.pop_front()
    }

    /// Counted since the client was made.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The last value of a resource or resource instance, fresh or not, and its wall time.
    pub fn value(&self, path: Path) -> Option<(&Value, Option<u64>)> {
        let entry = self.tree.get(self.locate(path, false)?)?;
        Some((entry.value.as_ref()?, entry.at_unix_ms))
    }

    /// All last values in tree order, fresh or not.
    pub fn values(&self) -> impl Iterator<Item = (Path, &Value, Option<u64>)> {
        self.tree.entries().iter().filter_map(|entry| Some((entry.path, entry.value.as_ref()?, entry.at_unix_ms)))
    }

    /// The lifetime in use, seconds: the configured one until the server writes `/1/0/1`.
    pub fn lifetime_s(&self) -> u32 {
        self.settings.lifetime_s
    }

    /// Starts what can start now. NSTART is 1: one confirmable message at a time (RFC 7252 §4.7).
    fn pump(&mut self) {
        if let Some(now) = self.now.filter(|_| self.session_up) {
            if self.reliable.is_idle()
                && let Some(response) = self.separate.pop_front()
            {
                self.send_confirmable(now, &response, Purpose::Response);
            }
            self.pump_registration(now);
            self.pump_notifications(now);
        }
        if core::mem::take(&mut self.save_due) {
            let snapshot = self.snapshot();
            self.output(Output::Save(snapshot));
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            registration: self.registration_record(),
            configured_s: server::configured(&self.config),
            disabled_until_unix_ms: self.disabled_until_unix_ms(),
            lifetime_s: self.settings.lifetime_s,
            default_pmin_s: self.settings.default_pmin_s,
            default_pmax_s: self.settings.default_pmax_s,
            mute_send: self.settings.mute_send,
            disable_timeout_s: self.settings.disable_timeout_s,
            observations: self.observations.iter().map(Observation::record).collect(),
            attributes: self.attributes.snapshot(),
            observe_sequence: self.sequence.reserved(),
        }
    }

    /// Every call that brings the time comes through here first.
    fn see(&mut self, now: Duration, unix_ms: Option<u64>) {
        if self.now.is_none() {
            self.tree.shift(millis(now));
        }
        self.now = Some(now);
        if let Some(unix_ms) = unix_ms {
            self.wall = Some((now, unix_ms));
        }
    }

    fn take(&mut self, reading: &Reading, freshness: Freshness) {
        match self.fit(reading.path, reading.value.clone()) {
            Some((path, value)) => self.store(path, Some(value), freshness, reading.at_unix_ms),
            None => self.counters.readings_refused += 1,
        }
    }

    /// Where the value goes and in which type, if the node may have it; the instance exists afterwards.
    fn fit(&mut self, path: Path, value: Value) -> Option<(Path, Value)> {
        if path.object == SERVER {
            return None;
        }
        let path = self.locate(path, true)?;
        let definition = self.registry.object(path.object)?.resource(path.resource?)?;
        let value = value.into_type(definition.value_type?)?;
        self.create_instance(path.object, path.instance?).then_some((path, value))
    }

    /// The entry a path means: resource instance 0 of a multiple resource if none is named. `None` if the object has no such
    /// resource. With `instances` the object instance must be a possible one.
    fn locate(&self, path: Path, instances: bool) -> Option<Path> {
        let object = self.registry.object(path.object)?;
        let resource = object.resource(path.resource?)?;
        if instances && !(object.multiple || path.instance == Some(0)) {
            return None;
        }
        match (resource.multiple, path.resource_instance) {
            (true, None) => Some(Path { resource_instance: Some(0), ..path }),
            (true, Some(_)) | (false, None) => Some(path),
            (false, Some(_)) => None,
        }
    }

    fn create_instance(&mut self, object: u16, instance: u16) -> bool {
        if instance == u16::MAX {
            return false;
        }
        match self.tree.add_instance(object, instance) {
            Ok(new) => {
                self.registration.objects_changed |= new;
                true
            }
            Err(_) => false,
        }
    }

    /// Stores a value and tells the observations.
    fn store(&mut self, path: Path, value: Option<Value>, freshness: Freshness, at_unix_ms: Option<u64>) {
        let was_readable = self.is_fresh(path);
        match self.tree.set(path, value, freshness, at_unix_ms) {
            Ok(changed) => self.mark_observations(path, changed, was_readable),
            Err(_) => self.counters.readings_refused += 1,
        }
    }

    /// A confirmable message did not reach the server, or was refused.
    fn undelivered(&mut self, now: Duration, purpose: Purpose, failure: Failure) {
        match purpose {
            Purpose::Registration => self.operation_failed(now, failure),
            Purpose::Notify(token) if failure == Failure::Reset => self.cancel_observation(token, CancelledBy::Reset),
            Purpose::Notify(token) => self.notification_lost(token),
            Purpose::Response => {}
            Purpose::Send => self.send_failed(failure),
        }
    }

    /// The message in flight is given up because the session is; its purpose is kept.
    fn interrupt(&mut self) {
        match self.reliable.cancel() {
            Some(Purpose::Notify(token)) => self.notification_lost(token),
            Some(Purpose::Send) => self.output(Output::Sent(SendOutcome::Lost)),
            Some(Purpose::Registration | Purpose::Response) | None => {}
        }
        self.resume_operation_later();
    }

    fn send_confirmable(&mut self, now: Duration, message: &Message, purpose: Purpose) {
        debug_assert_eq!(message.kind, Kind::Confirmable);
        let awaits_response = matches!(purpose, Purpose::Registration | Purpose::Send);
        let bytes = self.reliable.start(now, message, purpose, awaits_response, &mut self.rng);
        self.send(bytes);
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if self.session_up {
            self.counters.sent += 1;
            self.output(Output::Send(bytes));
        } else {
            self.counters.unsent += 1;
        }
    }

    fn event(&mut self, event: ClientEvent) {
        self.output(Output::Event(event));
    }

    fn output(&mut self, output: Output) {
        if self.outputs.len() < MAX_OUTPUTS {
            self.outputs.push_back(output);
        } else {
            self.counters.outputs_dropped += 1;
        }
    }

    fn message_id(&mut self) -> u16 {
        self.next_message_id = self.next_message_id.wrapping_add(1);
        self.next_message_id
    }
}
