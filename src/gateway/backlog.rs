//! What servers have not yet been told: the readings of each uplink until the server has acknowledged what it wants of
//! them. The newest uplink of a node is told by notifications; what the server missed is told by Send, oldest first.
//!
//! Everything here is also in the store (`store/record.rs`, [`BacklogRecord`]); the bounds hold for memory and disk alike.

use super::input::Now;
use crate::config::Backlog as Bounds;
use crate::store::BacklogKey;
use crate::store::record::BacklogRecord;
use core::time::Duration;
use lpwad_lorawan::DevEui;
use lpwad_lwm2m::Reading;
use std::collections::{BTreeMap, BTreeSet};

/// Bound: Readings that are given to one Send; as many go as fit.
const WINDOW: usize = 64;

/// Shortest and longest wait before a server that refused a Send is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));

/// The readings of one uplink.
#[derive(Debug)]
struct Entry {
    dev_eui: DevEui,
    record: Vec<u8>,
    readings: usize,
    /// Of these, acknowledged by the server.
    told: usize,
    /// Age at `since`.
    age: Duration,
    since: Duration,
    /// It is from before a restart.
    restored: bool,
}

impl Entry {
    fn age(&self, mono: Duration) -> Duration {
        self.age.saturating_add(mono.saturating_sub(self.since))
    }
}

/// What one node's server has not yet been told.
#[derive(Debug, Default)]
struct Queue {
    entries: BTreeSet<u64>,
    /// The newest one, while notifications tell it.
    live: Option<u64>,
    /// Entries of the Send that is on its way, and how many of their readings are told with it.
    in_flight: Vec<(u64, usize)>,
    /// The server did not take a Send: how often since it last did, and from when on an Update lets it be asked again.
    refused: Option<(u32, Duration)>,
    /// Nothing is sent until the server has answered for the registration.
    held: bool,
    /// Readings that Send has told since the queue was empty.
    delivered: u64,
}

/// The backlog of all nodes.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) bounds: Bounds,
    /// In the order of arrival, over all nodes.
    entries: BTreeMap<u64, Entry>,
    nodes: BTreeMap<DevEui, Queue>,
    bytes: usize,
    next: u64,
    /// Uplinks that went because of the bounds.
    pub(super) dropped: u64,
    /// Readings that Send has told.
    pub(super) delivered: u64,
    /// Readings that can never be sent: the node's profile does not have them any more.
    pub(super) unsendable: u64,
    told_full: bool,
}

/// Entries that went because of the bounds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) keys: Vec<BacklogKey>,
    /// The first ones since the backlog was empty.
    pub(super) first: bool,
}

impl Backlog {
    pub(super) fn new(bounds: Bounds) -> Backlog {
        Backlog {
            bounds,
            entries: BTreeMap::new(),
            nodes: BTreeMap::new(),
            bytes: 0,
            next: 0,
            dropped: 0,
            delivered: 0,
            unsendable: 0,
            told_full: false,
        }
    }

    /// An entry as it was on disk.
    pub(super) fn restore(&mut self, now: Now, key: BacklogKey, record: &BacklogRecord, bytes: &[u8]) {
        let age = now.unix_ms.zip(record.arrived_unix_ms).map_or(0, |(now, then)| now.saturating_sub(then));
        self.insert(
            key,
            Entry {
                dev_eui: key.dev_eui,
                record: bytes.to_vec(),
                readings: record.readings.len(),
                told: 0,
                age: Duration::from_millis(age),
                since: now.mono,
                restored: true,
            },
        );
    }

    fn insert(&mut self, key: BacklogKey, entry: Entry) {
        self.next = self.next.max(key.seq.saturating_add(1));
        self.bytes += entry.record.len();
        self.nodes.entry(key.dev_eui).or_default().entries.insert(key.seq);
        self.entries.insert(key.seq, entry);
    }

    /// Keeps the readings of an uplink; gives its key and bytes for the store, `None` if nothing is to be kept. What came
    /// before from the same node and was not told in time is now told by Send.
    pub(super) fn keep(&mut self, now: Now, dev_eui: DevEui, readings: Vec<Reading>) -> Option<(BacklogKey, Vec<u8>)> {
        if self.bounds.max_bytes == 0 || readings.is_empty() {
            return None;
        }
        let record = BacklogRecord { arrived_unix_ms: now.unix_ms, readings };
        let key = BacklogKey { dev_eui, seq: self.next };
        let bytes = record.to_bytes();
        let entry = Entry {
            dev_eui,
            record: bytes.clone(),
            readings: record.readings.len(),
            told: 0,
            age: Duration::ZERO,
            since: now.mono,
            restored: false,
        };
        self.insert(key, entry);
        self.nodes.entry(dev_eui).or_default().live = Some(key.seq);
        Some((key, bytes))
    }

    /// The server of a node was away or has forgotten it: notifications have not told everything.
    pub(super) fn missed(&mut self, dev_eui: DevEui) {
        if let Some(queue) = self.nodes.get_mut(&dev_eui) {
            queue.live = None;
        }
    }

    /// The node is registered anew: its server observes nothing yet, and may take Send now. What waits goes by Send as a
    /// whole; a single uplink is what led to the registration, and its values can be read.
    pub(super) fn registered(&mut self, dev_eui: DevEui) {
        if let Some(queue) = self.nodes.get_mut(&dev_eui) {
            (queue.refused, queue.held) = (None, false);
            if queue.entries.len() > 1 {
                queue.live = None;
            }
        }
    }

    /// The server has answered for the registration: what it refused for a fault that has gone is tried again, less often each time.
    pub(super) fn updated(&mut self, mono: Duration, dev_eui: DevEui) {
        if let Some(queue) = self.nodes.get_mut(&dev_eui) {
            queue.held &= queue.refused.is_some_and(|(_, not_before)| mono < not_before);
        }
    }

    /// Nothing of this node is on its way.
    pub(super) fn lost(&mut self, dev_eui: DevEui) {
        if let Some(queue) = self.nodes.get_mut(&dev_eui) {
            queue.in_flight.clear();
        }
    }

    /// The server does not take Send. Gives how many entries wait for a better time, the first time.
    pub(super) fn refused(&mut self, mono: Duration, dev_eui: DevEui) -> Option<usize> {
        self.lost(dev_eui);
        let queue = self.nodes.get_mut(&dev_eui)?;
        let before = queue.refused.map_or(0, |(times, _)| times);
        let wait = RETRY.0.saturating_mul(1 << before.min(8)).min(RETRY.1);
        queue.refused = Some((before + 1, mono.saturating_add(wait)));
        queue.held = true;
        (before == 0).then_some(queue.entries.len())
    }

    /// Everything that the server wants of the newest uplink is acknowledged.
    pub(super) fn caught_up(&mut self, dev_eui: DevEui) -> Option<BacklogKey> {
        let seq = self.nodes.get_mut(&dev_eui)?.live.take()?;
        self.remove(seq)
    }

    /// Whether a Send is wanted for this node.
    pub(super) fn wants_send(&self, dev_eui: DevEui) -> bool {
        self.nodes.get(&dev_eui).is_some_and(|queue| {
            !queue.held && queue.in_flight.is_empty() && queue.entries.iter().any(|seq| queue.live != Some(*seq))
        })
    }

    /// The oldest readings of a node, with their times as far as they are known or can be derived.
    pub(super) fn oldest(&self, now: Now, dev_eui: DevEui) -> Vec<Reading> {
        let Some(queue) = self.nodes.get(&dev_eui) else { return Vec::new() };
        let mut window = Vec::new();
        for (_, entry) in self.waiting(queue) {
            let Ok(record) = BacklogRecord::from_bytes(&entry.record) else { continue };
            // A time that was not known then can be told from the age, unless a restart lies between.
            let derived = now
                .unix_ms
                .filter(|_| record.arrived_unix_ms.is_none() && !entry.restored)
                .and_then(|unix_ms| unix_ms.checked_sub(u64::try_from(entry.age(now.mono).as_millis()).ok()?));
            window.extend(
                record
                    .readings
                    .into_iter()
                    .skip(entry.told)
                    .map(|reading| Reading { at_unix_ms: reading.at_unix_ms.or(derived), ..reading }),
            );
            if window.len() >= WINDOW {
                break;
            }
        }
        window
    }

    fn waiting<'a>(&'a self, queue: &'a Queue) -> impl Iterator<Item = (u64, &'a Entry)> {
        let waits = queue.entries.iter().filter(|seq| queue.live != Some(**seq));
        waits.filter_map(|seq| Some((*seq, self.entries.get(seq)?)))
    }

    /// The first `readings` of [`Backlog::oldest`] are on their way.
    pub(super) fn sent(&mut self, dev_eui: DevEui, mut readings: usize) {
        let Some(queue) = self.nodes.get(&dev_eui) else { return };
        let mut in_flight = Vec::new();
        for (seq, entry) in self.waiting(queue) {
            if readings == 0 {
                break;
            }
            let taken = (entry.readings - entry.told).min(readings);
            readings -= taken;
            in_flight.push((seq, taken));
        }
        if let Some(queue) = self.nodes.get_mut(&dev_eui) {
            queue.in_flight = in_flight;
        }
    }

    /// What was on its way has arrived (or, `skipped`, can never be sent); gives what is whole and goes from the store,
    /// and, when nothing is left, how many readings were told.
    pub(super) fn arrived(&mut self, dev_eui: DevEui, skipped: bool) -> (Vec<BacklogKey>, Option<u64>) {
        let Some(queue) = self.nodes.get_mut(&dev_eui) else { return (Vec::new(), None) };
        let mut whole = Vec::new();
        for (seq, taken) in std::mem::take(&mut queue.in_flight) {
            let Some(entry) = self.entries.get_mut(&seq) else { continue };
            entry.told += taken;
            if skipped {
                self.unsendable += taken as u64;
            } else {
                (queue.refused, queue.held) = (None, false);
                queue.delivered += taken as u64;
                self.delivered += taken as u64;
            }
            if entry.told >= entry.readings {
                whole.push(seq);
            }
        }
        let delivered = queue.delivered;
        let keys = whole.into_iter().filter_map(|seq| self.remove(seq)).collect();
        let left = self.nodes.get(&dev_eui).is_some_and(|queue| self.waiting(queue).next().is_some());
        if left {
            return (keys, None);
        }
        if let Some(queue) = self.nodes.get_mut(&dev_eui) {
            queue.delivered = 0;
        }
        (keys, (delivered > 0).then_some(delivered))
    }

    fn remove(&mut self, seq: u64) -> Option<BacklogKey> {
        let entry = self.entries.remove(&seq)?;
        self.bytes -= entry.record.len();
        self.told_full &= !self.entries.is_empty();
        let key = BacklogKey { dev_eui: entry.dev_eui, seq };
        if let Some(queue) = self.nodes.get_mut(&entry.dev_eui) {
            queue.entries.remove(&seq);
            if queue.live == Some(seq) {
                queue.live = None;
            }
            if queue.entries.is_empty() && queue.refused.is_none() && queue.delivered == 0 {
                self.nodes.remove(&entry.dev_eui);
            }
        }
        Some(key)
    }

    /// Drops the oldest entries of all nodes until the bounds hold.
    pub(super) fn bound(&mut self, mono: Duration) -> Dropped {
        let mut dropped = Dropped::default();
        while let Some((seq, entry)) = self.entries.first_key_value() {
            if self.bytes <= self.bounds.max_bytes && entry.age(mono) <= self.bounds.max_age {
                break;
            }
            dropped.keys.extend(self.remove(*seq));
            self.dropped += 1;
        }
        dropped.first = !dropped.keys.is_empty() && !std::mem::replace(&mut self.told_full, true);
        dropped
    }

    /// When the oldest entry is too old.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let (_, oldest) = self.entries.first_key_value()?;
        let left = self.bounds.max_age.saturating_sub(oldest.age);
        Some(oldest.since.saturating_add(left).saturating_add(Duration::from_millis(1)))
    }

    /// Entries, bytes, and the age of the oldest.
    pub(super) fn size(&self, mono: Duration) -> (usize, usize, Option<Duration>) {
        let oldest = self.entries.first_key_value().map(|(_, entry)| entry.age(mono));
        (self.entries.len(), self.bytes, oldest)
    }

    /// Entries of one node.
    pub(super) fn size_of(&self, dev_eui: DevEui) -> usize {
        self.nodes.get(&dev_eui).map_or(0, |queue| queue.entries.len())
    }
}
