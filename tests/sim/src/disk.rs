//! The disk: what was synchronised survives a power cut, the batch under way does or does not. It can be full.
//!
//! For long runs it is a model, a map of records. With [`Disk::real`] the database itself works on a storage that forgets,
//! fails in the middle of a batch, and loses power between any two of its writes.

use crate::medium::{Left, Medium};
use crate::site;
use lpwad::io::database::{Database, OpenError, Reopened};
use lpwad::store::export::{Changes, Exports};
use lpwad::store::seal::Seal;
use lpwad::store::{Batch, Loaded, Table};
use lpwad_lorawan::DevEui;
use lpwad_sim::rng::Rng;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Operations of a batch at most, nearly always; a power cut is put between two of them.
const OPERATIONS: u64 = 24;

type Open = Box<dyn FnMut() -> Result<Database, OpenError>>;

/// All that a disk has: what the gateway wrote, and the exports of DTLS sessions, which the shell writes in the same transactions.
pub type Kept = (Loaded, Exports);

/// Records that a planted bug forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgets {
    /// Those of a table.
    Table(Table),
    /// What servers missed.
    Backlog,
}

/// The disk.
pub struct Disk {
    rng: Rng,
    /// What was synchronised.
    pub synced: Loaded,
    under_way: Option<(Duration, Batch)>,
    /// No write succeeds before this.
    pub full_until: Duration,
    /// A planted bug: these records are said to be written and are not.
    pub forgets: Option<Forgets>,
    /// Batches written.
    pub commits: u64,
    /// What the storage had after so many operations, batch by batch; kept where the storage keeps a log.
    pub history: Vec<(usize, Kept)>,
    /// What the power cut leaves, if it is decided.
    pub left: Option<Left>,
    exports: Exports,
    /// Batches that failed since the last one that did not: they may be on the disk all the same.
    failed: Vec<(Batch, Changes)>,
    real: Option<(Medium, Option<Reopened<Open>>)>,
    seal: Arc<Seal>,
}

impl Disk {
    /// An empty model.
    #[must_use]
    pub fn new(seed: u64) -> Disk {
        Disk {
            rng: Rng::new(seed, 12),
            synced: Loaded::default(),
            under_way: None,
            full_until: Duration::ZERO,
            forgets: None,
            commits: 0,
            history: Vec::new(),
            left: None,
            exports: Exports::new(),
            failed: Vec::new(),
            real: None,
            seal: Arc::new(seal(seed)),
        }
    }

    /// An empty database on `medium`.
    #[must_use]
    pub fn real(seed: u64, medium: Medium) -> Disk {
        let disk = Disk::new(seed);
        let opened = open(&medium, &disk.seal).expect("an empty storage that works");
        let history = vec![(medium.operations(), Kept::default())];
        Disk { real: Some((medium, Some(opened.0))), history, ..disk }
    }

    /// Bytes of what servers missed, on disk.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.synced.backlog.values().map(Vec::len).sum()
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

    /// Ends the batch that is due; gives its ticket and what became of it.
    pub fn finish(&mut self, now: Duration) -> Option<(u64, Result<(), String>)> {
        let (_, batch) = self.under_way.take_if(|(due, _)| *due <= now)?;
        let (ticket, changes) = (batch.ticket, self.changes(&batch));
        let full = self.full_until > now;
        let result = match &mut self.real {
            Some((medium, Some(database))) => {
                medium.works_for(full.then(|| self.rng.below(OPERATIONS)));
                database.commit_with(&batch, &changes)
            }
            _ if full => Err("disk full".into()),
            _ => Ok(()),
        };
        match &result {
            Ok(()) => self.write(batch, &changes),
            Err(_) => self.failed.push((batch, changes)),
        }
        // Nobody hears of a batch that the power cut ends.
        (!self.is_cut()).then_some((ticket, result))
    }

    /// Whether the power has gone in the middle of a batch.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.real.as_ref().is_some_and(|(medium, _)| medium.is_cut())
    }

    /// What the shell adds to a batch: the export of a session comes or goes, and what failed before is tried again.
    fn changes(&self, batch: &Batch) -> Changes {
        let node = DevEui(site::dev_eui(batch.ticket as usize % 4));
        let export = (!batch.ticket.is_multiple_of(5)).then(|| Zeroizing::new(batch.ticket.to_be_bytes().repeat(20)));
        let mut changes = Changes([(node, export)].into());
        if let Some((_, earlier)) = self.failed.last() {
            changes.lay_under(earlier.clone());
        }
        changes
    }

    /// The power goes: a batch under way is there whole or not at all; a complaint if it is otherwise.
    pub fn power_cut(&mut self) -> Result<(), String> {
        let batch =
            self.under_way.take().map(|(_, batch)| (self.changes(&batch), batch)).map(|(of, batch)| (batch, of));
        let Some((medium, database)) = &mut self.real else {
            if let Some((batch, _)) = batch.filter(|_| self.rng.below(2) == 0) {
                self.write(batch, &Changes::default());
            }
            return Ok(());
        };
        let mut database = database.take();
        if let (Some((batch, changes)), Some(database)) = (&batch, &mut database) {
            medium.works_for(Some(self.rng.below(OPERATIONS)));
            // Cut off in the middle, or done and never reported.
            drop(database.commit_with(batch, changes));
        }
        drop(database);
        let by_chance = match self.rng.below(4) {
            0 => Left::Nothing,
            1 => Left::All,
            2 => Left::Torn,
            _ => Left::Some(self.rng.next()),
        };
        medium.power_cut(self.left.take().unwrap_or(by_chance));
        let (reopened, kept) = open(medium, &self.seal)?;
        self.real = Some((medium.clone(), Some(reopened)));
        let before = (self.synced.clone(), self.exports.clone());
        let mut possible = vec![before.clone()];
        // A batch that is tried again holds what failed before it.
        for (batch, changes) in self.failed.drain(..).chain(batch) {
            let mut after = before.clone();
            after.0.apply(&batch);
            export(&mut after.1, &changes);
            possible.push(after);
        }
        if !possible.contains(&kept) {
            return Err("the database is neither as before the batch nor as after it".into());
        }
        (self.synced, self.exports) = kept;
        Ok(())
    }

    fn write(&mut self, mut batch: Batch, changes: &Changes) {
        self.commits += 1;
        match self.forgets {
            Some(Forgets::Table(table)) => batch.records.retain(|(of, _), _| *of != table),
            Some(Forgets::Backlog) => batch.backlog.clear(),
            None => {}
        }
        self.synced.apply(&batch);
        export(&mut self.exports, changes);
        self.failed.clear();
        if let Some((medium, _)) = self.real.as_ref().filter(|(medium, _)| medium.operations() > 0) {
            self.history.push((medium.operations(), (self.synced.clone(), self.exports.clone())));
        }
    }
}

/// What the database of a disk with this seed is sealed with. The key is the same for all.
#[must_use]
pub fn seal(salt: u64) -> Seal {
    Seal::new(&[0x5a; 32], u128::from(salt).to_be_bytes())
}

/// What changes make of exports.
fn export(exports: &mut Exports, changes: &Changes) {
    for (node, change) in &changes.0 {
        match change {
            Some(export) => _ = exports.insert(*node, export.clone()),
            None => _ = exports.remove(node),
        }
    }
}

fn open(medium: &Medium, seal: &Arc<Seal>) -> Result<(Reopened<Open>, Kept), String> {
    let open = |medium: &Medium, seal: &Arc<Seal>| Database::open(medium.clone(), Arc::clone(seal));
    let database = open(medium, seal).map_err(|error| format!("the database does not open: {error}"))?;
    let loaded = database.load().map_err(|error| format!("the database cannot be read: {error}"))?;
    let (exports, damaged) = database.exports().map_err(|error| format!("the exports cannot be read: {error}"))?;
    if !damaged.is_empty() {
        return Err(format!("exports that do not open: {damaged:?}"));
    }
    let (medium, seal) = (medium.clone(), Arc::clone(seal));
    Ok((Reopened::new(database, Box::new(move || open(&medium, &seal))), (loaded, exports)))
}
