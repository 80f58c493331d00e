//! Observations and notifications (LwM2M Core 1.1.1 §6.4, RFC 7641).
//!
//! Two choices of this client. A notification that is never acknowledged does not end the observation (RFC 7641 §4.5 would have
//! it so): the next sign of life sends an Update, and its answer tells whether the server still knows us. And where no fresh value
//! is left, pmax sends nothing: an error notification would end the observation of every node that pauses.

use core::time::Duration;

use super::state::{CancelledBy, ClientEvent, ObservationRecord};
use super::{Attributes, Client, Purpose};
use crate::coap::message::{Code, Kind, Message, option};
use crate::coap::token::Token;
use crate::format::ContentFormat;
use crate::object::path::Path;
use crate::object::tree::Current;

/// Observations of one client at most.
/// Counted: `observations_refused`.
pub(super) const MAX_OBSERVATIONS: usize = 32;
/// Bound: A notification is confirmable at least this often (RFC 7641 §4.5).
const CONFIRM_EVERY: Duration = Duration::from_secs(24 * 3600);
/// And the first one after the server was not heard for this long.
const CONFIRM_AFTER_SILENCE: Duration = Duration::from_secs(3600);

/// One observation of the server.
#[derive(Debug)]
pub(super) struct Observation {
    path: Path,
    token: Token,
    /// Fixed when the observation began (I1).
    format: ContentFormat,
    /// A change waits to be told.
    pending: bool,
    /// When the last notification (or the first response) was sent; `None` after a restart.
    last_sent: Option<Duration>,
    /// The number told last, for gt, lt and st.
    last_number: Option<f64>,
    /// When the server last acknowledged a notification; `None` before the first and after a restart.
    last_confirmed: Option<Duration>,
    /// The latest message ids, to know which notification a reset is about.
    message_ids: [Option<u16>; 4],
}

impl Observation {
    /// After a restart the newest state is told once, whatever the server heard before.
    pub(super) fn restore(records: &[ObservationRecord]) -> Vec<Observation> {
        let usable = records.iter().filter_map(|record| {
            Some(Observation {
                path: record.path,
                token: Token::new(&record.token)?,
                format: ContentFormat::from_number(u32::from(record.format))?,
                pending: true,
                last_sent: None,
                last_number: None,
                last_confirmed: None,
                message_ids: [None; 4],
            })
        });
        usable.take(MAX_OBSERVATIONS).collect()
    }

    pub(super) fn record(&self) -> ObservationRecord {
        ObservationRecord { token: self.token.as_bytes().to_vec(), path: self.path, format: self.format.number() }
    }

    /// Time to tell the pending change, or to repeat without one (I3).
    fn due(&self, attributes: &Attributes) -> Option<Duration> {
        let after = |seconds: u32| self.last_sent.map(|at| at.saturating_add(Duration::from_secs(u64::from(seconds))));
        let pmin = attributes.pmin.unwrap_or(0);
        let change = self.pending.then(|| after(pmin).unwrap_or_default());
        // pmax of 0 or below pmin is ignored; equal to pmin it is honoured.
        let repeat = attributes.pmax.filter(|pmax| *pmax > 0 && *pmax >= pmin).and_then(after);
        match (change, repeat) {
            (Some(change), Some(repeat)) => Some(change.min(repeat)),
            (change, repeat) => change.or(repeat),
        }
    }

    fn sent(&mut self, now: Duration, message_id: u16, number: Option<f64>) {
        self.pending = false;
        self.last_sent = Some(now);
        self.last_number = number;
        self.message_ids.rotate_right(1);
        if let Some(newest) = self.message_ids.first_mut() {
            *newest = Some(message_id);
        }
    }
}

/// I4: does the step from `before` to `now` cross gt or lt, or is it at least st?
fn condition_met(attributes: &Attributes, before: f64, now: f64) -> bool {
    let crosses = |limit: f64| (before <= limit && now > limit) || (before >= limit && now < limit);
    attributes.gt.is_some_and(crosses)
        || attributes.lt.is_some_and(crosses)
        || attributes.st.is_some_and(|step| (now - before).abs() >= step)
}

/// Sequence numbers of notifications, reserved ahead so that they also grow over a restart (RFC 7641 §3.4).
#[derive(Debug)]
pub(super) struct Sequence {
    next: u32,
    reserved: u32,
}

impl Sequence {
    /// Bound: Numbers reserved with one save.
    const BLOCK: u32 = 1024;
    /// Bound: The next block is reserved when so many are left, so that the save is done long before it matters.
    const LOW: u32 = 256;

    pub(super) fn new(start: u32) -> Sequence {
        Sequence { next: start, reserved: start }
    }

    /// No number so far was this or later.
    pub(super) fn reserved(&self) -> u32 {
        self.reserved
    }

    /// The next number, 24 bit, and whether the reservation has grown.
    fn take(&mut self) -> (u32, bool) {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let grow = self.reserved.wrapping_sub(self.next) < Sequence::LOW || self.reserved == number;
        if grow {
            self.reserved = self.next.wrapping_add(Sequence::BLOCK);
        }
        (number & 0xff_ffff, grow)
    }
}

impl Client {
    /// Starts or replaces the observation of a token (I1) and marks the response; without room the request stays a Read.
    pub(super) fn begin_observation(
        &mut self,
        now: Duration,
        path: Path,
        token: Token,
        format: ContentFormat,
        reply: &mut Message,
    ) {
        self.observations.retain(|observation| observation.token != token);
        if self.observations.len() >= MAX_OBSERVATIONS {
            self.counters.observations_refused += 1;
            return;
        }
        self.observations.push(Observation {
            path,
            token,
            format,
            pending: false,
            last_sent: Some(now),
            last_number: self.number_at(path),
            last_confirmed: None,
            message_ids: [None; 4],
        });
        let sequence = self.next_sequence();
        reply.add_uint(option::OBSERVE, sequence);
        self.save_due = true;
        self.event(ClientEvent::Observed { path });
    }

    /// Ends the observation of a token, if there is one (I10).
    pub(super) fn cancel_observation(&mut self, token: Token, by: CancelledBy) {
        let Some(index) = self.observations.iter().position(|observation| observation.token == token) else { return };
        let path = self.observations.remove(index).path;
        if self.reliable.purpose() == Some(&Purpose::Notify(token)) {
            self.reliable.cancel();
        }
        self.save_due = true;
        self.event(ClientEvent::ObservationCancelled { path, by });
    }

    pub(super) fn cancel_all_observations(&mut self, by: CancelledBy) {
        while let Some(token) = self.observations.first().map(|observation| observation.token) {
            self.cancel_observation(token, by);
        }
    }

    /// A reset of a message that was not the confirmable one in flight: a non-confirmable notification the server does not want.
    pub(super) fn reset_notification(&mut self, message_id: u16) {
        let refused = self.observations.iter().find(|observation| observation.message_ids.contains(&Some(message_id)));
        if let Some(token) = refused.map(|observation| observation.token) {
            self.cancel_observation(token, CancelledBy::Reset);
        }
    }

    /// The server acknowledged a notification.
    pub(super) fn notification_delivered(&mut self, now: Duration, token: Token) {
        if let Some(observation) = self.observations.iter_mut().find(|observation| observation.token == token) {
            observation.last_confirmed = Some(now);
        }
    }

    /// A notification did not arrive: what is newest then is told when the server is there again.
    pub(super) fn notification_lost(&mut self, token: Token) {
        if let Some(observation) = self.observations.iter_mut().find(|observation| observation.token == token) {
            observation.pending = true;
            self.registration.doubt();
        }
    }

    /// A value was stored. `was_readable`: it was fresh before; a value that comes back is a change for whoever reads it.
    pub(super) fn mark_observations(&mut self, path: Path, changed: bool, was_readable: bool) {
        if !changed && was_readable {
            return;
        }
        let number = self.number_at(path);
        for observation in &mut self.observations {
            if !observation.path.contains(&path) {
                continue;
            }
            let attributes = self.attributes.effective(observation.path);
            let conditional = attributes.conditional() && observation.path == path;
            observation.pending |= match (observation.last_number, number) {
                (Some(before), Some(now)) if conditional => condition_met(&attributes, before, now),
                _ => true,
            };
        }
    }

    /// Sends every notification that is due and may go out.
    pub(super) fn pump_notifications(&mut self, now: Duration) {
        for index in 0..self.observations.len() {
            let Some(observation) = self.observations.get(index) else { return };
            if self.notification_due(observation, now).is_some_and(|due| due <= now) {
                self.notify(now, index);
            }
        }
    }

    pub(super) fn notification_deadline(&self) -> Option<Duration> {
        let now = self.now?;
        self.observations.iter().filter_map(|observation| self.notification_due(observation, now)).min()
    }

    /// When a notification is due, seen from `now`; `None` if there is none, or if something else has to happen first: a session, the
    /// end of a registration operation, a fresh value, or the end of the confirmable message in flight.
    fn notification_due(&self, observation: &Observation, now: Duration) -> Option<Duration> {
        if !self.session_up || !self.registration.is_settled() {
            return None;
        }
        let due = observation.due(&self.effective_attributes(observation.path))?;
        if self.confirm(observation, now.max(due)) && !self.reliable.is_idle() {
            return None;
        }
        let fresh = self.tree.under(observation.path).iter().any(|entry| self.readable_now(entry, now));
        fresh.then_some(due)
    }

    /// Attributes of the path, then the server's defaults (`/1/0/2`, `/1/0/3`).
    fn effective_attributes(&self, path: Path) -> Attributes {
        let mut attributes = self.attributes.effective(path);
        attributes.pmin = attributes.pmin.or(Some(self.settings.default_pmin_s));
        attributes.pmax = attributes.pmax.or(Some(self.settings.default_pmax_s));
        attributes
    }

    /// I9: must this notification be confirmable? Always, where nothing may be lost.
    fn confirm(&self, observation: &Observation, now: Duration) -> bool {
        let older = |at: Option<Duration>, age: Duration| at.is_none_or(|at| now.saturating_sub(at) >= age);
        self.config.storing
            || older(observation.last_confirmed, CONFIRM_EVERY)
            || older(self.last_heard, CONFIRM_AFTER_SILENCE)
    }

    fn notify(&mut self, now: Duration, index: usize) {
        let Some(observation) = self.observations.get(index) else { return };
        let (path, token) = (observation.path, observation.token);
        let confirmable = self.confirm(observation, now);
        let kind = if confirmable { Kind::Confirmable } else { Kind::NonConfirmable };
        let Some(message) = self.notification(now, index, kind) else {
            // I11: a value that can no longer be told in the agreed format ends the observation.
            self.cancel_observation(token, CancelledBy::Request);
            return;
        };
        if confirmable {
            self.send_confirmable(now, &message, Purpose::Notify(token));
        } else {
            let bytes = message.encode();
            self.send(bytes);
        }
        self.counters.notifications += 1;
        self.event(ClientEvent::Notified { path, confirmable });
    }

    /// A repetition of a confirmable notification carries the newest state (RFC 7641 §4.5.2).
    pub(super) fn refresh_notification(&mut self, now: Duration) {
        let Some(Purpose::Notify(token)) = self.reliable.purpose().copied() else { return };
        let Some(index) = self.observations.iter().position(|o| o.token == token && o.pending) else { return };
        if let Some(message) = self.notification(now, index, Kind::Confirmable) {
            self.reliable.replace(&message);
        }
    }

    /// The current state as a notification, noted as sent.
    fn notification(&mut self, now: Duration, index: usize, kind: Kind) -> Option<Message> {
        let observation = self.observations.get(index)?;
        let (path, token, format) = (observation.path, observation.token, observation.format);
        let payload = self.encode(path, Some(format)).ok()?.1;
        let mut message = Message::new(kind, Code::CONTENT, self.message_id(), token);
        let sequence = self.next_sequence();
        message.add_uint(option::OBSERVE, sequence);
        message.add_uint(option::CONTENT_FORMAT, u32::from(format.number()));
        self.put_body(&mut message, path, format, payload, None).ok()?;
        let number = self.number_at(path);
        self.observations.get_mut(index)?.sent(now, message.message_id, number);
        Some(message)
    }

    fn next_sequence(&mut self) -> u32 {
        let (number, grown) = self.sequence.take();
        self.save_due |= grown;
        number
    }

    /// The fresh number at exactly this path.
    fn number_at(&self, path: Path) -> Option<f64> {
        match self.tree.get(path)?.current(self.now.unwrap_or_default(), self.config.stale_after) {
            Current::Fresh(value) => value.as_f64(),
            Current::Stale | Current::Absent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I4
    #[test]
    fn i4_conditions_combine_by_or_and_limits_count_when_crossed() {
        let gt = Attributes { gt: Some(25.0), ..Attributes::default() };
        for (before, now, met) in
            [(24.0, 25.0, false), (25.0, 26.0, true), (26.0, 27.0, false), (26.0, 25.0, false), (26.0, 24.0, true)]
        {
            assert_eq!(condition_met(&gt, before, now), met, "{before} to {now}");
        }
        let both = Attributes { lt: Some(0.0), st: Some(5.0), ..Attributes::default() };
        assert!(condition_met(&both, 1.0, -1.0));
        assert!(condition_met(&both, 10.0, 15.0));
        assert!(!condition_met(&both, 10.0, 14.9));
    }

    /// S-34: numbers grow over a restart, also one that comes before the last save was done.
    #[test]
    fn s34_sequence_numbers_are_reserved_ahead() {
        let mut sequence = Sequence::new(0);
        let mut saved = sequence.reserved();
        let mut highest = 0;
        for _ in 0..5000 {
            let before = saved;
            let (number, grown) = sequence.take();
            highest = number;
            if grown {
                assert!(number == 0 || before - number >= Sequence::LOW - 1, "the save comes early");
                saved = sequence.reserved();
            }
            assert!(number < saved);
        }
        assert!(Sequence::new(saved).take().0 > highest);
        assert_eq!(Sequence::new(0xff_ffff).take().0, 0xff_ffff);
        assert_eq!(Sequence::new(0x100_0000).take().0, 0);
    }
}
