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
use lpwad_lwm2m::{Answer, ExchangeId, Path};
use std::collections::{BTreeMap, BTreeSet};

/// Shortest and longest wait before a failed batch is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Bound: Removals from the backlog go with the next batch, or with one of their own after this time. After a power cut before
/// that a server is told once more.
const REMOVAL_DELAY: Duration = Duration::from_secs(60);

/// Bound: A batch that is on its way for so long meets a disk that hangs: what waits for it is served as if it had failed.
const SLOW: Duration = Duration::from_secs(30);

/// Removals from the backlog that wait for a disk that fails or hangs, the newest ones. What an older one would have removed is told
/// once more after the next start.
/// Counted: `removals_forgotten`.
const MAX_REMOVALS: usize = 65_536;

/// Removals of old decisions that wait for a disk that fails or hangs, the newest ones. What an older one would have removed goes
/// after the next start.
const MAX_POLICY_REMOVALS: usize = 1000;

/// Datagrams that wait for one batch; more leave at once.
/// Counted: `datagrams_not_held`.
const MAX_HELD: usize = 4096;

/// A server's request that is answered when its write is on disk.
struct Waiting {
    node: NodeId,
    exchange: ExchangeId,
    /// What goes into the mailbox then.
    items: Vec<Item>,
}

/// A batch with what depends on it.
#[derive(Default)]
struct Pending {
    batch: Batch,
    /// Highest ticket of the LoRaWAN network in it.
    network_ticket: Option<u64>,
    waiting: Vec<Waiting>,
    /// Datagrams that leave then.
    datagrams: Vec<(NodeId, Vec<u8>)>,
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
    /// When the batch that is on its way was given out.
    given_at: Duration,
    /// It is on its way for longer than [`SLOW`].
    hangs: bool,
    /// Batches that are on disk.
    pub(super) commits: u64,
    /// Removals that were too many for [`MAX_REMOVALS`].
    pub(super) removals_forgotten: u64,
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
        forget_removals(&mut self.next.batch.policy, MAX_POLICY_REMOVALS);
    }

    /// Removes an entry of the backlog, soon.
    pub(super) fn remove_backlog(&mut self, now: Duration, key: BacklogKey) {
        // It need not be written any more; an earlier batch may have written it.
        self.next.batch.backlog.remove(&key);
        self.removals.insert(key);
        while self.removals.len() > MAX_REMOVALS {
            self.removals.pop_first();
            self.removals_forgotten += 1;
        }
        self.removals_due.get_or_insert(if self.ending { now } else { now + REMOVAL_DELAY });
    }

    /// From here on nothing is put off.
    pub(super) fn end(&mut self, now: Duration) {
        self.ending = true;
        self.removals_due = self.removals_due.map(|due| due.min(now));
    }

    /// Answers a request when what was put so far is on disk.
    pub(super) fn answer_when_saved(&mut self, node: NodeId, exchange: ExchangeId, items: Vec<Item>) {
        self.next.waiting.push(Waiting { node, exchange, items });
    }

    /// A datagram leaves when what was put so far is on disk.
    pub(super) fn send_when_saved(&mut self, node: NodeId, bytes: Vec<u8>) {
        self.next.datagrams.push((node, bytes));
    }

    /// Whether a datagram of this node waits.
    pub(super) fn is_holding(&self, node: NodeId) -> bool {
        self.held_datagrams().any(|(of, _)| *of == node)
    }

    /// Datagrams that wait for the disk.
    pub(super) fn held(&self) -> usize {
        self.held_datagrams().count()
    }

    fn held_datagrams(&self) -> impl Iterator<Item = &(NodeId, Vec<u8>)> {
        self.on_its_way.iter().chain([&self.next]).flat_map(|pending| &pending.datagrams)
    }

    /// Whether [`MAX_HELD`] datagrams wait.
    pub(super) fn is_holding_enough(&self) -> bool {
        self.next.datagrams.len() >= MAX_HELD
    }

    /// Writes of a node that are not on disk yet, in their order.
    pub(super) fn unsaved(&self, node: NodeId) -> impl Iterator<Item = &Item> {
        let batches = [self.on_its_way.as_ref(), Some(&self.next)].into_iter().flatten();
        let waiting = batches.flat_map(|pending| &pending.waiting).filter(move |waiting| waiting.node == node);
        waiting.flat_map(|waiting| &waiting.items)
    }

    /// Nobody waits for the writes of this node any more; gives whose answers are due, with a path of each.
    pub(super) fn give_up(&mut self, node: NodeId) -> Vec<(ExchangeId, Path)> {
        let mut given_up = Vec::new();
        for pending in [self.on_its_way.as_mut(), Some(&mut self.next)].into_iter().flatten() {
            let of_node = pending.waiting.extract_if(.., |waiting| waiting.node == node);
            given_up.extend(of_node.filter_map(|waiting| Some((waiting.exchange, waiting.items.first()?.path))));
        }
        given_up
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
        // What is in the batch may be on disk all the same, if one that failed did not fail entirely.
        pending.batch.backlog.extend(std::mem::take(&mut self.removals).into_iter().map(|key| (key, None)));
        self.removals_forgotten += forget_removals(&mut pending.batch.backlog, MAX_REMOVALS);
        pending.batch.ticket = self.last_ticket;
        let batch = pending.batch.clone();
        self.on_its_way = Some(pending);
        (self.given_at, self.hangs) = (now, false);
        Some(batch)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.on_its_way.is_none() && self.next.batch.is_empty() && self.removals.is_empty()
    }

    /// Whether the last batch failed, or hangs.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0 || self.hangs
    }

    /// Whether the batch that is on its way has come to [`SLOW`]; once for each.
    fn begins_to_hang(&mut self, now: Duration) -> bool {
        let hangs = self.on_its_way.is_some() && !self.hangs && self.given_at + SLOW <= now;
        self.hangs |= hangs;
        hangs
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.on_its_way.is_some() {
            return (!self.hangs).then(|| self.given_at + SLOW);
        }
        self.not_before.or(self.removals_due)
    }
}

/// Keeps the newest `most` removals; gives how many went.
fn forget_removals<K: Ord>(records: &mut BTreeMap<K, Option<Vec<u8>>>, most: usize) -> u64 {
    let removals = records.values().filter(|record| record.is_none()).count();
    let surplus = removals.saturating_sub(most);
    let mut left = surplus;
    if surplus > 0 {
        records.retain(|_, record| {
            let goes = record.is_none() && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
    surplus as u64
}

impl Gateway {
    pub(super) fn committed(&mut self, now: Now, ticket: u64) {
        let Some(done) = self.persist.on_its_way.take_if(|pending| pending.batch.ticket == ticket) else { return };
        self.persist.commits += 1;
        if self.persist.is_failing() {
            (self.persist.failures, self.persist.hangs) = (0, false);
            self.say(Event::new(Kind::StoreRecovered));
        }
        if let Some(ticket) = done.network_ticket {
            self.network.handle_saved(now.mono, ticket);
        }
        for (id, bytes) in done.datagrams {
            self.send_held(id, bytes);
        }
        for waiting in done.waiting {
            if let Some(node) = self.fleet.get_mut(waiting.node) {
                for item in waiting.items {
                    // There was room when it was accepted.
                    let _ = node.mailbox.put(item, u8::MAX);
                }
                node.show_mailbox();
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
        if self.persist.failures == 1 && !std::mem::take(&mut self.persist.hangs) {
            self.say(Event::new(Kind::StoreFailed).with("reason", why).with("retry_in_s", wait.as_secs()));
        }
        self.persist.next.batch.lay_under(failed.batch);
        self.persist.next.network_ticket = self.persist.next.network_ticket.max(failed.network_ticket);
        self.serve_unsaved(now, failed.waiting, failed.datagrams, wait);
    }

    /// A disk that takes a batch and does not come back is a failing one.
    pub(super) fn tick_persist(&mut self, now: Now) {
        if !self.persist.begins_to_hang(now.mono) {
            return;
        }
        if self.persist.failures == 0 {
            let reason = format!("the disk has been writing for {} s and is not done", SLOW.as_secs());
            self.say(Event::new(Kind::StoreFailed).with("reason", reason));
        }
        let mut unsaved = Vec::new();
        let Persist { on_its_way, next, .. } = &mut self.persist;
        for pending in on_its_way.iter_mut().chain([next]) {
            let (waiting, datagrams) = (std::mem::take(&mut pending.waiting), std::mem::take(&mut pending.datagrams));
            unsaved.push((waiting, datagrams));
        }
        for (waiting, datagrams) in unsaved {
            self.serve_unsaved(now, waiting, datagrams, SLOW);
        }
    }

    /// Served from memory, as everything that comes while the disk fails: nobody waits for it, and nothing is promised.
    fn serve_unsaved(
        &mut self,
        now: Now,
        waiting: Vec<Waiting>,
        datagrams: Vec<(NodeId, Vec<u8>)>,
        retry_in: Duration,
    ) {
        for (id, bytes) in datagrams {
            self.send_held(id, bytes);
        }
        for Waiting { node: id, exchange, .. } in waiting {
            if let Some(node) = self.fleet.get_mut(id) {
                node.client.answer(now.mono, exchange, Answer::Unavailable { max_age_s: retry_in.as_secs() as u32 });
            }
            self.save_mailbox(now, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_costs_no_memory_for_what_need_not_be_written() {
        let mut persist = Persist::default();
        let key = |seq| BacklogKey { seq, dev_eui: DevEui([1; 8]) };
        persist.put_backlog(key(0), vec![0; 100]);
        persist.next_batch(Duration::ZERO).unwrap();
        for seq in 1..100_000 {
            persist.put_backlog(key(seq), vec![0; 100]);
            persist.remove_backlog(Duration::ZERO, key(seq));
            persist.put_policy(seq, Some(vec![0; 100]));
            persist.put_policy(seq, None);
        }
        assert_eq!((persist.next.batch.backlog.len(), persist.removals.len()), (0, MAX_REMOVALS));
        assert_eq!(persist.removals_forgotten, 99_999 - MAX_REMOVALS as u64);
        assert_eq!(persist.next.batch.policy.len(), MAX_POLICY_REMOVALS);
        assert_eq!(persist.next.batch.policy.last_key_value(), Some((&99_999, &None)));
    }

    #[test]
    fn a_disk_that_fails_for_long_keeps_the_newest_removals() {
        let mut persist = Persist::default();
        let key = |seq| BacklogKey { seq, dev_eui: DevEui([1; 8]) };
        persist.put_backlog(key(0), vec![1]);
        let mut now = Duration::ZERO;
        for round in 0..3 {
            for seq in round * 40_000..(round + 1) * 40_000 {
                persist.remove_backlog(now, key(seq + 1));
            }
            now += REMOVAL_DELAY;
            let batch = persist.next_batch(now).unwrap();
            assert!(batch.backlog.len() <= MAX_REMOVALS + 1, "{}", batch.backlog.len());
            let failed = persist.on_its_way.take().unwrap();
            persist.next.batch.lay_under(failed.batch);
        }
        let backlog = &persist.next.batch.backlog;
        assert_eq!((backlog.len(), backlog[&key(0)].clone()), (MAX_REMOVALS + 1, Some(vec![1])));
        assert_eq!(backlog.last_key_value(), Some((&key(120_000), &None)));
    }
}
