//! The way of a downlink: client (Write, Execute) → object check (in the client) → codec → mailbox → disk → network.
//!
//! The server's request is answered 2.04 when the write is in the mailbox **and** on disk: a power cut then loses nothing
//! that was acknowledged. The value read back changes when the node acknowledges or reports it.

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use crate::codec::{self, EncodeError};
use crate::node::mailbox::{Item, Mailbox};
use crate::store::{Table, record::mailbox_to_bytes};
use core::time::Duration;
use lpwad_lorawan::{DevEui, Downlink, DownlinkOutcome};
use lpwad_lwm2m::{Answer, ExchangeId, Path, Reading, Value};

/// What Max-Age says when a write cannot be taken now, in s.
const RETRY_AFTER_S: u32 = 60;

impl Gateway {
    /// A server wrote resources of a node. All of them are taken, or none.
    pub(super) fn write(&mut self, now: Now, id: NodeId, exchange: ExchangeId, writes: Vec<(Path, Value)>) {
        let wanted = writes.into_iter().map(|(path, value)| (path, Some(value))).collect();
        self.enqueue(now, id, exchange, wanted);
    }

    /// A server executed a resource of a node.
    pub(super) fn execute(&mut self, now: Now, id: NodeId, exchange: ExchangeId, path: Path) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        let downlink = &node.profile.downlink;
        let known = node.profile.command.iter().any(|command| command.path == path);
        if known && !downlink.confirmed && !downlink.execute_accepted {
            node.client.answer(now.mono, exchange, Answer::Unavailable { max_age_s: RETRY_AFTER_S });
            return;
        }
        self.enqueue(now, id, exchange, vec![(path, None)]);
    }

    fn enqueue(&mut self, now: Now, id: NodeId, exchange: ExchangeId, wanted: Vec<(Path, Option<Value>)>) {
        let Some(node) = self.fleet.get(id) else { return };
        let (dev_eui, profile) = (node.dev_eui, node.profile.clone());
        let why = match (node.leaves, self.network.device_status(dev_eui)) {
            (Some(_), _) => Some("the node is no longer configured"),
            (None, None) => Some("the node is left out, because its record is damaged"),
            (None, Some(_)) if self.persist.is_failing() => Some("the store cannot be written"),
            (None, Some(_)) => None,
        };
        if let Some(why) = why {
            let answer = Answer::Unavailable { max_age_s: RETRY_AFTER_S };
            let path = wanted.first().map_or(Path::object(0), |(path, _)| *path);
            self.refuse(now, id, exchange, answer, path, why);
            return;
        }
        let mut items = Vec::new();
        let mut refusal = None;
        for (path, value) in wanted {
            match codec::encode(&profile, path, value.as_ref()) {
                Ok(payload) => {
                    let ttl = Duration::from_secs(u64::from(profile.downlink.ttl_s));
                    items.push(self.item(now, path, value, payload, ttl));
                }
                Err(error) => refusal = Some((path, error)),
            }
        }
        if let Some((path, error)) = refusal {
            let answer = match error {
                EncodeError::NotSendable => Answer::NotAllowed,
                EncodeError::Value => Answer::BadRequest,
            };
            self.refuse(now, id, exchange, answer, path, &error.to_string());
            return;
        }
        let Some(mut mailbox) = self.mailbox_to_be(id) else { return };
        let max = profile.downlink.max_pending;
        let full = items.iter().find_map(|item| Some((item.path, mailbox.put(item.clone(), max).err()?)));
        if let Some((path, error)) = full {
            self.count("writes_refused_full");
            self.refuse(now, id, exchange, Answer::Unavailable { max_age_s: RETRY_AFTER_S }, path, &error.to_string());
            return;
        }
        for item in &items {
            self.say(Event::new(Kind::WriteAccepted).node(dev_eui).with("path", item.path).with("downlink", item.id));
        }
        self.persist.answer_when_saved(id, exchange, items);
        self.save_mailbox(now, id);
    }

    /// A node's mailbox as it is when everything is on disk that is on the way there.
    fn mailbox_to_be(&self, id: NodeId) -> Option<Mailbox> {
        let mut mailbox = self.fleet.get(id)?.mailbox.clone();
        for item in self.persist.unsaved(id) {
            // There was room when it was accepted.
            let _ = mailbox.put(item.clone(), u8::MAX);
        }
        Some(mailbox)
    }

    fn refuse(&mut self, now: Now, id: NodeId, exchange: ExchangeId, answer: Answer, path: Path, why: &str) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        let dev_eui = node.dev_eui;
        node.client.answer(now.mono, exchange, answer);
        self.count("writes_refused");
        let event = Event::new(Kind::WriteRefused).node(dev_eui);
        self.say(event.with("path", path).with("reason", why));
    }

    /// A write with an id of its own.
    pub(super) fn item(&mut self, now: Now, path: Path, value: Option<Value>, payload: Vec<u8>, ttl: Duration) -> Item {
        let id = self.next_item;
        self.next_item += 1;
        Item { id, path, value, payload, expires: now.mono + ttl, sent: false }
    }

    /// Gives the front of a node's mailbox to the network.
    pub(super) fn offer_downlink(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get(id) else { return };
        if self.network.device_status(node.dev_eui).is_none() {
            return;
        }
        let downlink = node.mailbox.front().filter(|item| !item.sent).map(|item| Downlink {
            id: item.id,
            fport: node.profile.downlink.fport,
            payload: item.payload.clone(),
            confirmed: node.profile.downlink.confirmed,
            more: node.mailbox.has_more(),
        });
        self.network.set_downlink(now.mono, node.dev_eui, downlink);
    }

    /// Puts a node's mailbox into the batch, with what waits for the disk, and shows its state.
    pub(super) fn save_mailbox(&mut self, now: Now, id: NodeId) {
        let Some(mailbox) = self.mailbox_to_be(id) else { return };
        let Some(node) = self.fleet.get_mut(id) else { return };
        node.show_mailbox();
        if node.leaves.is_none() {
            let record = mailbox_to_bytes(mailbox.dropped, &mailbox.pending_writes(now.mono, now.unix_ms));
            self.persist.put(Table::Mailbox, node.dev_eui, record);
        }
        self.dirty.insert(id);
    }

    /// The writes of a node that are not on disk yet are refused: the node changes, or goes.
    pub(super) fn refuse_unsaved(&mut self, now: Now, id: NodeId) {
        for (exchange, path) in self.persist.give_up(id) {
            let answer = Answer::Unavailable { max_age_s: RETRY_AFTER_S };
            self.refuse(now, id, exchange, answer, path, "the configuration of the node changes");
        }
    }

    /// The network says what became of a downlink.
    pub(super) fn downlink_outcome(&mut self, now: Now, dev_eui: DevEui, item: u64, outcome: DownlinkOutcome) {
        let Some(id) = self.fleet.by_eui(dev_eui) else { return };
        let Some(node) = self.fleet.get_mut(id) else { return };
        let confirmed = node.profile.downlink.confirmed;
        let about = |kind| Event::new(kind).node(dev_eui).with("downlink", item);
        match outcome {
            DownlinkOutcome::Sent { fcnt } => {
                node.mailbox.mark_sent(item);
                if !confirmed {
                    node.mailbox.done(item);
                }
                self.say(about(Kind::DownlinkSent).with("fcnt", fcnt));
            }
            DownlinkOutcome::Acked => {
                if let Some(Item { path, value: Some(value), .. }) = node.mailbox.done(item) {
                    node.client.apply(now.mono, &[Reading { path, value, at_unix_ms: now.unix_ms }]);
                    let record = node.values_record().to_bytes();
                    self.persist.put(Table::Values, dev_eui, record);
                }
                self.count("downlinks_acked");
                self.say(about(Kind::DownlinkAcked));
            }
            DownlinkOutcome::NoAck { .. } | DownlinkOutcome::Refused(_) => {
                node.mailbox.give_up(item);
                self.say(about(Kind::DownlinkDropped).with("reason", format!("{outcome:?}")));
            }
        }
        self.save_mailbox(now, id);
        self.offer_downlink(now, id);
    }

    /// Gives up writes that found no window in time.
    pub(super) fn expire_downlinks(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.fleet.get_mut(id) else { return };
        let dev_eui = node.dev_eui;
        let expired = node.mailbox.expire(now.mono);
        if expired.is_empty() {
            return;
        }
        for item in expired {
            self.network.withdraw_downlink(dev_eui, item.id);
            let event = Event::new(Kind::DownlinkDropped).node(dev_eui).with("downlink", item.id);
            self.say(event.with("reason", "out of time").with("path", item.path));
        }
        self.save_mailbox(now, id);
        self.offer_downlink(now, id);
    }
}
