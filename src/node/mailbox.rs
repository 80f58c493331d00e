//! What we owe a node: written resources that are on disk and wait for its next receive window. Latest value per resource, with a
//! time to live; bounded by the profile's `max_pending`.

use crate::store::record::PendingWrite;
use core::time::Duration;
use lpwad_lwm2m::{Path, Value};

/// One write on its way to the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Names it towards the network; never used twice in the life of the process.
    pub id: u64,
    /// Resource that was written.
    pub path: Path,
    /// Value that was written; `None` for an Execute.
    pub value: Option<Value>,
    /// What the node receives.
    pub payload: Vec<u8>,
    /// When it is given up.
    pub expires: Duration,
    /// Whether it was on air at least once.
    pub sent: bool,
}

/// The mailbox of one node, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    items: Vec<Item>,
    /// Writes dropped: out of time, not acknowledged, refused.
    pub dropped: u64,
}

/// The mailbox holds as many resources as the profile permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many writes wait for this node as its profile permits")]
pub struct Full;

impl Mailbox {
    /// Puts a write in. A waiting write of the same resource that was not on air yet is replaced in its place; an Execute replaces
    /// nothing.
    ///
    /// # Errors
    /// [`Full`], and nothing changed.
    pub fn put(&mut self, item: Item, max_pending: u8) -> Result<(), Full> {
        let replaceable = |waiting: &&mut Item| {
            waiting.path == item.path && !waiting.sent && waiting.value.is_some() && item.value.is_some()
        };
        if let Some(waiting) = self.items.iter_mut().find(replaceable) {
            *waiting = item;
            return Ok(());
        }
        if self.items.len() >= usize::from(max_pending) {
            return Err(Full);
        }
        self.items.push(item);
        Ok(())
    }

    /// The write that leaves next.
    #[must_use]
    pub fn front(&self) -> Option<&Item> {
        self.items.first()
    }

    /// Whether more waits behind the front.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.items.len() > 1
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What the store keeps of it.
    #[must_use]
    pub fn pending_writes(&self, mono: Duration, unix_ms: Option<u64>) -> Vec<PendingWrite> {
        let pending = |item: &Item| {
            let left = item.expires.saturating_sub(mono);
            PendingWrite {
                path: item.path,
                value: item.value.clone(),
                ttl_s: left.as_secs() as u32,
                expires_unix_ms: unix_ms.map(|now| now.saturating_add(left.as_millis() as u64)),
            }
        };
        self.items.iter().map(pending).collect()
    }

    /// Notes that a write was on air.
    pub fn mark_sent(&mut self, id: u64) {
        if let Some(item) = self.items.iter_mut().find(|item| item.id == id) {
            item.sent = true;
        }
    }

    /// Removes a write that reached the node, or that was unconfirmed and is on air.
    pub fn done(&mut self, id: u64) -> Option<Item> {
        let index = self.items.iter().position(|item| item.id == id)?;
        Some(self.items.remove(index))
    }

    /// Removes a write that is given up, and counts it.
    pub fn give_up(&mut self, id: u64) -> Option<Item> {
        let item = self.done(id)?;
        self.dropped += 1;
        Some(item)
    }

    /// When the next write runs out of time.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.items.iter().map(|item| item.expires).min()
    }

    /// Removes and counts what ran out of time.
    pub fn expire(&mut self, now: Duration) -> Vec<Item> {
        let (expired, kept) = std::mem::take(&mut self.items).into_iter().partition(|item| item.expires <= now);
        self.items = kept;
        self.dropped += expired.len() as u64;
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u64, instance: u16) -> Item {
        let path = Path::resource(3306, instance, 5850);
        Item {
            id,
            path,
            value: Some(Value::Boolean(true)),
            payload: vec![id as u8],
            expires: Duration::from_secs(id),
            sent: false,
        }
    }

    fn ids(mailbox: &Mailbox) -> Vec<u64> {
        mailbox.items().iter().map(|item| item.id).collect()
    }

    #[test]
    fn latest_value_of_a_resource_takes_the_place_of_the_waiting_one() {
        let mut mailbox = Mailbox::default();
        for (id, instance) in [(1, 0), (2, 1), (3, 0)] {
            mailbox.put(item(id, instance), 2).unwrap();
        }
        assert_eq!(ids(&mailbox), [3, 2]);
        mailbox.mark_sent(3);
        assert_eq!(mailbox.put(item(4, 0), 2), Err(Full), "what was on air is not replaced");
        assert_eq!(ids(&mailbox), [3, 2]);
    }

    #[test]
    fn an_execute_replaces_nothing() {
        let mut mailbox = Mailbox::default();
        mailbox.put(item(1, 0), 2).unwrap();
        let execute = |id| Item { value: None, ..item(id, 5) };
        mailbox.put(execute(3), 9).unwrap();
        mailbox.put(execute(4), 9).unwrap();
        assert_eq!(ids(&mailbox), [1, 3, 4]);
    }

    #[test]
    fn what_is_given_up_or_out_of_time_is_counted() {
        let mut mailbox = Mailbox::default();
        for id in 1..=3 {
            mailbox.put(item(id, id as u16), 9).unwrap();
        }
        assert_eq!(mailbox.deadline(), Some(Duration::from_secs(1)));
        assert_eq!(mailbox.expire(Duration::from_secs(2)).len(), 2);
        assert!(mailbox.give_up(3).is_some() && mailbox.give_up(3).is_none());
        assert_eq!((mailbox.dropped, mailbox.front().is_none()), (3, true));
    }
}
