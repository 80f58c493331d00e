//! Observe and Notify (LwM2M Core 1.1.1 §6.4, §5.1.2; RFC 7641): which observation is due when, and what it sends.

use core::time::Duration;

use super::state::{CancelledBy, ClientEvent, ObservationRecord};
use super::{Client, Purpose};
use crate::coap::message::{Kind, Message, option};
use crate::coap::token::Token;
use crate::format::ContentFormat;
use crate::object::path::Path;

/// Observations of one client at most.
const MAX_OBSERVATIONS: usize = 32;
/// At least one notification in this time is confirmable, so that a server that is gone is noticed (RFC 7641 §4.5).
const CONFIRM_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Sequence numbers reserved ahead in the snapshot.
const SEQUENCES_RESERVED: u32 = 256;
/// Observe sequence numbers have 24 bits (RFC 7641 §3.4).
const SEQUENCE_MASK: u32 = 0x00ff_ffff;

/// An observation of the server.
#[derive(Debug)]
pub(super) struct Observation {
    token: Token,
    path: Path,
    format: ContentFormat,
    /// Something changed that the server does not know and wants to.
    pending: bool,
    /// The number last notified, for gt, lt and st.
    notified: Option<f64>,
    notified_at: Duration,
    confirmed_at: Option<Duration>,
    message_id: u16,
}

/// Observe sequence numbers: they grow across restarts (S-34).
#[derive(Debug)]
pub(super) struct Sequence {
    next: u32,
    reserved: u32,
}

impl Sequence {
    pub(super) fn new(reserved: u32) -> Sequence {
        Sequence { next: reserved, reserved }
    }

    /// No number so far reaches this one.
    pub(super) fn reserved(&self) -> u32 {
        self.reserved
    }

    /// The next number, and whether more were reserved.
    fn take(&mut self) -> (u32, bool) {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let low = self.reserved.wrapping_sub(self.next) > SEQUENCES_RESERVED
            || self.reserved.wrapping_sub(self.next) < SEQUENCES_RESERVED / 4;
        if low {
            self.reserved = self.next.wrapping_add(SEQUENCES_RESERVED);
        }
        (number & SEQUENCE_MASK, low)
    }
}

impl Observation {
    pub(super) fn restore(records: &[ObservationRecord]) -> Vec<Observation> {
        let restore = |record: &ObservationRecord| {
            Some(Observation {
                token: Token::new(&record.token)?,
                path: record.path,
                format: ContentFormat::from_number(u32::from(record.format))?,
                pending: false,
                notified: None,
                notified_at: Duration::ZERO,
                confirmed_at: None,
                message_id: 0,
            })
        };
        records.iter().filter_map(restore).take(MAX_OBSERVATIONS).collect()
    }

    pub(super) fn record(&self) -> ObservationRecord {
        ObservationRecord { token: self.token.as_bytes().to_vec(), path: self.path, format: self.format.number() }
    }
}

impl Client {
    /// Adds an observation, or replaces the one with this token (I1); gives the sequence number of the first response, or
    /// nothing if there are too many.
    pub(super) fn observe(&mut self, now: Duration, token: Token, path: Path, format: ContentFormat) -> Option<u32> {
        let index = self.observations.iter().position(|observation| observation.token == token);
        if index.is_none() && self.observations.len() >= MAX_OBSERVATIONS {
            self.counters.observations_refused += 1;
            return None;
        }
        if let Some(index) = index {
            self.observations.remove(index);
        }
        self.observations.push(Observation {
            token,
            path,
            format,
            pending: false,
            notified: self.number_at(path),
            notified_at: now,
            confirmed_at: None,
            message_id: 0,
        });
        self.save_due = true;
        self.event(ClientEvent::Observed { path });
        Some(self.sequence_number())
    }

    /// A value at `path` was stored. `changed`: it is another one; `was_readable`: the one before was not stale.
    pub(super) fn mark_observations(&mut self, path: Path, changed: bool, was_readable: bool) {
        if !changed && was_readable {
            return;
        }
        let number = self.number_at(path);
        for index in 0..self.observations.len() {
            let Some(observation) = self.observations.get(index).filter(|observation| observation.path.contains(&path)) else {
                continue;
            };
            let attributes = self.attributes.effective(observation.path);
            let wanted = match (attributes.conditional() && observation.path.is_resource(), observation.notified, number) {
                // I4: gt, lt and st combine by OR.
                (true, Some(before), Some(now)) => {
                    let crossed = |limit: f64| (before > limit) != (now > limit);
                    let under = |limit: f64| (before < limit) != (now < limit);
                    attributes.gt.is_some_and(crossed)
                        || attributes.lt.is_some_and(under)
                        || attributes.st.is_some_and(|step| (now - before).abs() >= step)
                }
                _ => true,
            };
            if let Some(observation) = self.observations.get_mut(index) {
                observation.pending |= wanted;
            }
        }
    }

    /// Sends the notifications that are due. None goes out while the server may have forgotten us.
    pub(super) fn pump_notifications(&mut self, now: Duration) {
        if !self.registration.is_settled() {
            return;
        }
        let mut index = 0;
        while let Some(observation) = self.observations.get(index) {
            let due = self.due_at(observation).is_some_and(|due| due <= now);
            let confirmable = confirms(observation, now);
            if !due || (confirmable && !self.reliable.is_idle()) {
                index += 1;
                continue;
            }
            let (token, kind) = (observation.token, if confirmable { Kind::Confirmable } else { Kind::NonConfirmable });
            match self.notification(now, index, kind) {
                Some(message) => {
                    self.counters.notifications += 1;
                    let path = self.observations.get(index).map(|observation| observation.path);
                    if confirmable {
                        self.send_confirmable(now, &message, Purpose::Notify(token));
                    } else {
                        self.send(message.encode());
                    }
                    if let Some(path) = path {
                        self.event(ClientEvent::Notified { path, confirmable });
                    }
                    index += 1;
                }
                // I11: the observation ended with an error, and the next one has its place now.
                None => {}
            }
        }
    }

    /// The notification of an observation as of now. If the value cannot be read, the error goes out, without Observe, and the
    /// observation ends.
    fn notification(&mut self, now: Duration, index: usize, kind: Kind) -> Option<Message> {
        let observation = self.observations.get(index)?;
        let (token, path, format) = (observation.token, observation.path, observation.format);
        let message_id = self.message_id();
        let bytes = match self.read(now, path, Some(u32::from(format.number()))) {
            Ok((_, bytes)) => bytes,
            Err(code) => {
                self.send(Message::new(Kind::NonConfirmable, code, message_id, token).encode());
                self.cancel_observation(token, CancelledBy::Request);
                return None;
            }
        };
        let mut reply = self.content(now, path, format, bytes, None);
        reply.options.push((option::OBSERVE, self.sequence_number()));
        let number = self.number_at(path);
        if let Some(observation) = self.observations.get_mut(index) {
            observation.pending = false;
            observation.notified = number.or(observation.notified);
            observation.notified_at = now;
            observation.message_id = message_id;
            if kind == Kind::Confirmable {
                observation.confirmed_at = Some(now);
            }
        }
        Some(reply.into_message(kind, message_id, token))
    }

    /// Before a notification is repeated: newer content takes its place (RFC 7641 §4.5.2).
    pub(super) fn refresh_notification(&mut self, now: Duration) {
        let Some(Purpose::Notify(token)) = self.reliable.purpose() else { return };
        let token = *token;
        let Some(index) = self.observations.iter().position(|observation| observation.token == token && observation.pending)
        else {
            return;
        };
        match self.notification(now, index, Kind::Confirmable) {
            Some(message) => self.reliable.replace(&message),
            None => {
                self.reliable.cancel();
            }
        }
    }

    /// When the next notification is due that can go out then.
    pub(super) fn notification_deadline(&self) -> Option<Duration> {
        if !self.session_up || !self.registration.is_settled() {
            return None;
        }
        let free = self.reliable.is_idle();
        self.observations
            .iter()
            .filter_map(|observation| {
                let due = self.due_at(observation)?;
                (free || !confirms(observation, due)).then_some(due)
            })
            .min()
    }

    /// A confirmable notification reached the server.
    pub(super) fn notification_delivered(&mut self, token: Token) {
        let now = self.now;
        if let Some(observation) = self.observations.iter_mut().find(|observation| observation.token == token) {
            observation.confirmed_at = now;
        }
    }

    /// A notification was not acknowledged: the newest value stays owed, and the server may be gone.
    pub(super) fn notification_lost(&mut self, token: Token) {
        if let Some(observation) = self.observations.iter_mut().find(|observation| observation.token == token) {
            observation.pending = true;
            observation.confirmed_at = None;
        }
        self.registration.doubt();
    }

    /// I10: a reset to a non-confirmable notification ends its observation.
    pub(super) fn notification_refused(&mut self, message_id: u16) {
        let refused = self.observations.iter().find(|observation| {
            observation.message_id == message_id && observation.notified_at > Duration::ZERO
        });
        if let Some(token) = refused.map(|observation| observation.token) {
            self.cancel_observation(token, CancelledBy::Reset);
        }
    }

    /// Ends one observation; an unknown token is harmless.
    pub(super) fn cancel_observation(&mut self, token: Token, by: CancelledBy) {
        let Some(index) = self.observations.iter().position(|observation| observation.token == token) else { return };
        let path = self.observations.remove(index).path;
        self.save_due = true;
        self.event(ClientEvent::ObservationCancelled { path, by });
    }

    /// I12: observations end with their registration.
    pub(super) fn cancel_all_observations(&mut self, by: CancelledBy) {
        if matches!(self.reliable.purpose(), Some(Purpose::Notify(_))) {
            self.reliable.cancel();
        }
        for observation in core::mem::take(&mut self.observations) {
            self.save_due = true;
            self.event(ClientEvent::ObservationCancelled { path: observation.path, by });
        }
    }

    /// I2, I3: from the attributes in effect at the observed level, else the server's defaults. A pmax of 0 or below pmin counts
    /// as none.
    fn due_at(&self, observation: &Observation) -> Option<Duration> {
        let attributes = self.attributes.effective(observation.path);
        let pmin = u64::from(attributes.pmin.unwrap_or(self.settings.default_pmin_s));
        let pmax = u64::from(attributes.pmax.unwrap_or(self.settings.default_pmax_s));
        let after = |seconds| observation.notified_at.saturating_add(Duration::from_secs(seconds));
        let changed = observation.pending.then(|| after(pmin));
        let overdue = (pmax > 0 && pmax >= pmin).then(|| after(pmax));
        changed.into_iter().chain(overdue).min()
    }

    fn number_at(&self, path: Path) -> Option<f64> {
        self.tree.get(path).and_then(|entry| entry.value.as_ref()).and_then(crate::object::value::Value::as_f64)
    }

    fn sequence_number(&mut self) -> u32 {
        let (number, reserved) = self.sequence.take();
        self.save_due |= reserved;
        number
    }
}

/// I9: whether a notification at `now` is confirmable.
fn confirms(observation: &Observation, now: Duration) -> bool {
    observation.confirmed_at.is_none_or(|at| now.saturating_sub(at) >= CONFIRM_AFTER)
}
