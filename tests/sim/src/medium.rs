//! Storage for the database that forgets what was not synchronised. It keeps a log of every operation, so that a power
//! cut can be tried at each of them; and it can fail, as a full or dying disk does.

use lpwad::io::database::StorageBackend;
use lpwad_sim::rng::Rng;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// An operation that changes something.
#[derive(Clone, Debug)]
pub enum Operation {
    /// The storage gets a new length.
    SetLen(usize),
    /// Bytes are written at an offset.
    Write(usize, Vec<u8>),
    /// Everything before this survives.
    Sync,
}

/// What is left of the operations after the last sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// All of them.
    All,
    /// Some, in any combination: the seed decides.
    Some(u64),
    /// All, but of the last one only its first half.
    Torn,
}

#[derive(Debug, Default)]
struct State {
    /// As programs see it.
    bytes: Vec<u8>,
    /// As it was at the last sync.
    synced: Vec<u8>,
    since_sync: Vec<Operation>,
    log: Option<Vec<Operation>>,
    /// Operations that still succeed, if the disk fails after them.
    works_for: Option<u64>,
    /// Operations so far, and after how many the power goes.
    done: usize,
    cut_at: Option<usize>,
}

/// The storage; clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Medium(Arc<Mutex<State>>);

impl Medium {
    /// An empty one that keeps a log of everything.
    #[must_use]
    pub fn with_log() -> Medium {
        let medium = Medium::default();
        medium.state().log = Some(Vec::new());
        medium
    }

    /// One that holds these bytes.
    #[must_use]
    pub fn holding(bytes: Vec<u8>) -> Medium {
        let state = State { synced: bytes.clone(), bytes, ..State::default() };
        Medium(Arc::new(Mutex::new(state)))
    }

    /// From now on only so many operations succeed; `None`: it works.
    pub fn works_for(&self, operations: Option<u64>) {
        self.state().works_for = operations;
    }

    /// The power goes after so many operations, counted from the first one: none succeeds then until it is back.
    pub fn cut_at(&self, operations: usize) {
        self.state().cut_at = Some(operations);
    }

    /// Whether the power has gone.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let state = self.state();
        state.cut_at.is_some_and(|operations| operations <= state.done)
    }

    /// The power goes and comes back.
    pub fn power_cut(&self, left: Left) {
        let mut state = self.state();
        let operations = std::mem::take(&mut state.since_sync);
        let mut bytes = std::mem::take(&mut state.synced);
        apply(&mut bytes, &operations, left);
        state.bytes.clone_from(&bytes);
        state.synced = bytes;
        (state.works_for, state.cut_at) = (None, None);
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> Vec<Operation> {
        self.state().log.clone().unwrap_or_default()
    }

    /// Operations in the log.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().log.as_ref().map_or(0, Vec::len)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics with it")
    }

    fn note(&self, operation: Operation) -> Result<MutexGuard<'_, State>, io::Error> {
        if self.is_cut() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut state = self.state();
        state.done += 1;
        if let Some(left) = &mut state.works_for {
            *left = left.checked_sub(1).ok_or_else(full)?;
        }
        if let Some(log) = &mut state.log {
            log.push(operation.clone());
        }
        state.since_sync.push(operation);
        Ok(state)
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state();
        let range = offset as usize..offset as usize + out.len();
        out.copy_from_slice(state.bytes.get(range).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.note(Operation::SetLen(len as usize))?.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.note(Operation::Sync)?;
        state.synced = state.bytes.clone();
        state.since_sync.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.note(Operation::Write(offset as usize, data.to_vec()))?;
        write(&mut state.bytes, offset as usize, data);
        Ok(())
    }
}

/// What is on the medium after `operations` on `bytes`, none of which was synchronised.
pub fn apply(bytes: &mut Vec<u8>, operations: &[Operation], left: Left) {
    let mut rng = Rng::new(if let Left::Some(seed) = left { seed } else { 0 }, 15);
    let last = operations.len().saturating_sub(1);
    for (index, operation) in operations.iter().enumerate() {
        let kept = match left {
            Left::Nothing => false,
            Left::All | Left::Torn => true,
            Left::Some(_) => rng.below(2) == 0,
        };
        match operation {
            _ if !kept => {}
            Operation::SetLen(len) => bytes.resize(*len, 0),
            Operation::Write(offset, data) if left == Left::Torn && index == last => {
                write(bytes, *offset, data.get(..data.len() / 2).unwrap_or_default());
            }
            Operation::Write(offset, data) => write(bytes, *offset, data),
            Operation::Sync => {}
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    // A write may come to the medium before the change of length that made room for it.
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(data);
    }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}
