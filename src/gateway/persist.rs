//! What goes to the store, and what waits for it. One batch is on its way to the disk at a time; what comes up meanwhile
//! collects into the next one. A batch that failed is laid under the next one and tried again, so that nothing is taken
//! for saved that is not.

use super::Gateway;
use super::event::{Event, Kind};
use super::input::{NodeId, Now};
use crate::node::mailbox::Item;
use crate::store::{BacklogKey, Batch, Table, record};
use core::time::Duration;
use lpwad_lorawan::{DevEui, DeviceRecord};
use lpwad_lwm2m::{Answer, ExchangeId};
use std::collections::BTreeSet;

/// Shortest and longest wait before a failed batch is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Removals from the backlog go with the next batch, or with one of their own after this time. After a power cut before
/// that a server is told once more.
const REMOVAL_DELAY: Duration = Duration::from_secs(60);

/// A server's request that is answered when its write is on disk.
struct Waiting {
    node: NodeId,
    exchange: ExchangeId,
    /// Writes that were put into the mailbox, with what each one replaced.
    items: Vec<(u64, Option<Item>)>,
}

/// A batch with what depends on it.
#[derive(Default)]
struct Pending {
    batch: Batch,
    /// Highest ticket of the LoRaWAN network in it.
    network_ticket: Option<u64>,
    waiting: Vec<Waiting>,
}

/// What goes to the store.
#[derive(Default)]
pub(super) struct Persist {
    next: Pending,
    on_its_way: Option<Pending>,
    last_ticket: u64,
    not_before: Option<Duration>,
    /// Entries of the backlog that are not needed any more, and when they go by themselves.
    removals: BTreeSet<BacklogKey>,
    removals_due: Option<Duration>,
    /// Nothing is put off any more.
    ending: bool,
    failures: u32,
    /// Batches that are on disk.
    pub(super) commits: u64,
}

impl Persist {
    pub(super) fn put(&mut self, table: Table, dev_eui: DevEui, record: Vec<u8>) {
        self.next.batch.put(table, dev_eui, record);
    }

    pub(super) fn put_device(&mut self, ticket: u64, dev_eui: DevEui, record: &DeviceRecord) {
        self.put(Table::Device, dev_eui, record::device_to_bytes(record));
        self.next.network_ticket = Some(ticket);
    }

    pub(super) fn put_backlog(&mut self, key: BacklogKey, record: Vec<u8>) {
        self.next.batch.backlog.insert(key, Some(record));
    }

    pub(super) fn put_policy(&mut self, key: u64, record: Option<Vec<u8>>) {
        self.next.batch.policy.insert(key, record);
    }

    /// Removes an entry of the backlog, soon.
    pub(super) fn remove_backlog(&mut self, now: Duration, key: BacklogKey) {
        self.removals.insert(key);
        self.removals_due.get_or_insert(if self.ending { now } else { now + REMOVAL_DELAY });
    }

    /// From here on nothing is put off.
    pub(super) fn end(&mut self, now: Duration) {
        self.ending = true;
        self.removals_due = self.removals_due.map(|due| due.min(now));
    }

    /// Answers a request when what was put so far is on disk.
    pub(super) fn answer_when_saved(&mut self, node: NodeId, exchange: ExchangeId, items: Vec<(u64, Option<Item>)>) {
        self.next.waiting.push(Waiting { node, exchange, items });
    }

    /// Whether this write is not on disk yet.
    pub(super) fn awaits(&self, node: NodeId, item: u64) -> bool {
        let batches = [Some(&self.next), self.on_its_way.as_ref()].into_iter().flatten();
        let mut waiting = batches.flat_map(|pending| &pending.waiting).filter(|waiting| waiting.node == node);
        waiting.any(|waiting| waiting.items.iter().any(|(id, _)| *id == item))
    }

    /// The batch to write now.
    pub(super) fn next_batch(&mut self, now: Duration) -> Option<Batch> {
        let held = self.not_before.is_some_and(|not_before| not_before > now);
        let wanted = !self.next.batch.is_empty() || self.removals_due.is_some_and(|due| due <= now);
        if held || self.on_its_way.is_some() || !wanted {
            return None;
        }
        self.not_before = None;
        self.last_ticket += 1;
        let mut pending = std::mem::take(&mut self.next);
        self.removals_due = None;
        for key in std::mem::take(&mut self.removals) {
            // What is in the batch is not on disk, so that nothing has to be removed there.
            if pending.batch.backlog.remove(&key).flatten().is_none() {
                pending.batch.backlog.insert(key, None);
            }
        }
        pending.batch.ticket = self.last_ticket;
        let batch = pending.batch.clone();
        self.on_its_way = Some(pending);
        Some(batch)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.on_its_way.is_none() && self.next.batch.is_empty() && self.removals.is_empty()
    }

    /// Whether the last batch failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let removals = self.removals_due.filter(|_| self.on_its_way.is_none());
        self.not_before.or(removals)
    }
}

impl Gateway {
    pub(super) fn committed(&mut self, now: Now, ticket: u64) {
        let Some(done) = self.persist.on_its_way.take_if(|pending| pending.batch.ticket == ticket) else { return };
        self.persist.commits += 1;
        if std::mem::take(&mut self.persist.failures) > 0 {
            self.say(Event::new(Kind::StoreRecovered));
        }
        if let Some(ticket) = done.network_ticket {
            self.network.handle_saved(now.mono, ticket);
        }
        for waiting in done.waiting {
            if let Some(node) = self.fleet.get_mut(waiting.node) {
                node.client.answer(now.mono, waiting.exchange, Answer::Changed);
            }
            self.dirty.insert(waiting.node);
            self.offer_downlink(now, waiting.node);
        }
    }

    pub(super) fn commit_failed(&mut self, now: Now, ticket: u64, why: &str) {
        let Some(failed) = self.persist.on_its_way.take_if(|pending| pending.batch.ticket == ticket) else { return };
        let wait = RETRY.0.saturating_mul(1 << self.persist.failures.min(8)).min(RETRY.1);
        self.persist.failures = self.persist.failures.saturating_add(1);
        self.persist.not_before = Some(now.mono + wait);
        // Once until it recovers, not with every try.
        if self.persist.failures == 1 {
            self.say(Event::new(Kind::StoreFailed).with("reason", why).with("retry_in_s", wait.as_secs()));
        }
        for (key, record) in failed.batch.records {
            self.persist.next.batch.records.entry(key).or_insert(record);
        }
        for (key, record) in failed.batch.backlog {
            self.persist.next.batch.backlog.entry(key).or_insert(record);
        }
        for (key, record) in failed.batch.policy {
            self.persist.next.batch.policy.entry(key).or_insert(record);
        }
        self.persist.next.network_ticket = self.persist.next.network_ticket.max(failed.network_ticket);
        for waiting in failed.waiting {
            if let Some(node) = self.fleet.get_mut(waiting.node) {
                for (id, replaced) in waiting.items.into_iter().rev() {
                    node.mailbox.take_back(id, replaced);
                }
                node.client.answer(
                    now.mono,
                    waiting.exchange,
                    Answer::Unavailable { max_age_s: wait.as_secs() as u32 },
                );
            }
            self.save_mailbox(now, waiting.node);
            self.offer_downlink(now, waiting.node);
        }
    }
}
