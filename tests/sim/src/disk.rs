//! The disk: what was synchronised survives a power cut, the batch under way does or does not. It can be full.
//!
//! This is a model. The database itself is driven through every write boundary in `tests/power_cut`.

use lpwad::gateway::input::Input;
use lpwad::store::{Batch, Loaded, Table};
use lpwad_sim::rng::Rng;
use std::time::Duration;

/// The disk.
pub struct Disk {
    rng: Rng,
    /// What was synchronised.
    pub synced: Loaded,
    under_way: Option<(Duration, Batch)>,
    /// No write succeeds before this.
    pub full_until: Duration,
    /// A planted bug: records of this table are said to be written and are not.
    pub forgets: Option<Table>,
    /// Batches written.
    pub commits: u64,
}

impl Disk {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Disk {
        Disk {
            rng: Rng::new(seed, 12),
            synced: Loaded::default(),
            under_way: None,
            full_until: Duration::ZERO,
            forgets: None,
            commits: 0,
        }
    }

    /// Begins to write; gives a complaint if a batch is under way already.
    pub fn commit(&mut self, now: Duration, batch: Batch) -> Result<(), String> {
        let due = now + Duration::from_micros(1_000 + self.rng.below(20_000));
        match self.under_way.replace((due, batch)) {
            Some(_) => Err("two batches on their way to the disk".into()),
            None => Ok(()),
        }
    }

    /// When the batch is written.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.under_way.as_ref().map(|(due, _)| *due)
    }

    /// Ends the batch that is due; makes what the gateway is told.
    pub fn finish(&mut self, now: Duration) -> Option<impl FnOnce() -> Input + use<>> {
        let (_, batch) = self.under_way.take_if(|(due, _)| *due <= now)?;
        let ticket = batch.ticket;
        let works = self.full_until <= now;
        if works {
            self.write(batch);
        }
        Some(move || if works { Input::Committed(ticket) } else { Input::CommitFailed(ticket, "disk full".into()) })
    }

    /// The power goes: a batch under way is there whole or not at all.
    pub fn power_cut(&mut self) {
        if let Some((_, batch)) = self.under_way.take()
            && self.rng.below(2) == 0
        {
            self.write(batch);
        }
    }

    fn write(&mut self, batch: Batch) {
        self.commits += 1;
        for ((table, key), record) in batch.records {
            if self.forgets != Some(table) {
                self.synced.records.insert((table, key), record);
            }
        }
    }
}
