//! The disk: one thread, one redb file, one commit per batch. `Committed` is said when the commit is synchronised.

use super::database::{Database, Reopened};
use crate::gateway::input::Input;
use crate::store::{Batch, Loaded};
use redb::backends::FileBackend;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::mpsc::Sender;

/// Name of the store's file in the state directory.
const FILE: &str = "lpwad.redb";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or file cannot be made or opened.
    #[error("{path}: {error}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another process has the store open.
    #[error("{0}: another lpwad has this store open (one gateway per state directory)")]
    InUse(PathBuf),
    /// The state directory or store file could be read by others, or is a link.
    #[error("{path}: {problem}")]
    Unsafe {
        /// What.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The database does not open.
    #[error("{path}: {problem}")]
    Database {
        /// What.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// The disk thread.
pub struct Disk {
    batches: Option<SyncSender<Batch>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Disk {
    /// Opens the store in `state_dir` (made with mode 0700 if it is not there), reads all of it and starts the thread.
    /// What became of a batch is sent to `inputs`.
    pub fn open(state_dir: &Path, inputs: Sender<Input>) -> Result<(Disk, Loaded), StoreError> {
        let database = open_database(state_dir)?;
        let path = state_dir.join(FILE);
        let loaded = database
            .load()
            .map_err(|error| StoreError::Database { path, problem: format!("cannot be read: {error}") })?;
        let (batches, todo) = sync_channel::<Batch>(1);
        let dir = state_dir.to_path_buf();
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || {
                let mut database = Reopened::new(database, move || open_database(&dir));
                for batch in todo {
                    let input = match database.commit(&batch) {
                        Ok(()) => Input::Committed(batch.ticket),
                        Err(why) => Input::CommitFailed(batch.ticket, why),
                    };
                    if inputs.blocking_send(input).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| StoreError::Io { path: state_dir.into(), error })?;
        Ok((Disk { batches: Some(batches), thread: Some(thread) }, loaded))
    }

    /// Hands a batch over. The gateway has only one on its way, so this never waits.
    pub fn commit(&self, batch: Batch) {
        if let Some(batches) = &self.batches {
            batches.try_send(batch).expect("one batch is on its way at a time");
        }
    }

    /// Ends the thread after the batch that it has.
    pub fn close(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn open_database(state_dir: &Path) -> Result<Database, StoreError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| StoreError::Io { path, error }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(io(state_dir))?;
    let meta = fs::metadata(state_dir).map_err(io(state_dir))?;
    if meta.permissions().mode() & 0o077 != 0 {
        let problem = format!("state directory has mode {:04o}: chmod 700", meta.permissions().mode() & 0o7777);
        return Err(StoreError::Unsafe { path: state_dir.into(), problem });
    }
    let path = state_dir.join(FILE);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(&path)
        .map_err(io(&path))?;
    let mode = file.metadata().map_err(io(&path))?.permissions().mode();
    if mode & 0o077 != 0 {
        let problem = format!("store has mode {:04o}: chmod 600", mode & 0o7777);
        return Err(StoreError::Unsafe { path, problem });
    }
    FileBackend::new(file).and_then(Database::open).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.clone()),
        other => StoreError::Database { path: path.clone(), problem: explained(&other) },
    })
}

/// The error, and what to do about it where the file is no database or a damaged one.
fn explained(error: &redb::DatabaseError) -> String {
    let damaged = match error {
        redb::DatabaseError::Storage(redb::StorageError::Corrupted(_)) => true,
        redb::DatabaseError::Storage(redb::StorageError::Io(error)) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    };
    let hint = if damaged {
        " (no store, or a damaged one: move it away and let nodes join again; with an old copy in its place, counters would be \
         used twice)"
    } else {
        ""
    };
    format!("{error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;
    use lpwad_lorawan::DevEui;

    #[test]
    fn what_was_committed_is_there_after_reopening_and_only_one_may_open() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (inputs, mut done) = tokio::sync::mpsc::channel(4);
        let (mut disk, loaded) = Disk::open(&state, inputs.clone()).unwrap();
        assert!(loaded.records.is_empty());
        assert!(matches!(Disk::open(&state, inputs.clone()), Err(StoreError::InUse(_))));
        let mut batch = Batch { ticket: 7, ..Batch::default() };
        batch.put(Table::Device, DevEui([1; 8]), vec![1]);
        batch.put(Table::Device, DevEui([1; 8]), vec![2]);
        batch.put(Table::Mailbox, DevEui([2; 8]), vec![3]);
        disk.commit(batch);
        assert!(matches!(done.blocking_recv(), Some(Input::Committed(7))));
        disk.close();
        let (mut disk, loaded) = Disk::open(&state, inputs).unwrap();
        assert_eq!(loaded.get(Table::Device, DevEui([1; 8])), Some(&[2][..]));
        assert_eq!(loaded.get(Table::Mailbox, DevEui([2; 8])), Some(&[3][..]));
        disk.close();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn links_and_open_modes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (inputs, _done) = tokio::sync::mpsc::channel(4);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Disk::open(dir.path(), inputs.clone()), Err(StoreError::Unsafe { .. })));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join(FILE)).unwrap();
        assert!(matches!(Disk::open(dir.path(), inputs), Err(StoreError::Io { .. })));
    }

    #[test]
    fn a_damaged_store_is_refused_with_its_path_and_a_hint_or_opens_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let (inputs, mut done) = tokio::sync::mpsc::channel(4);
        let (mut disk, _) = Disk::open(dir.path(), inputs.clone()).unwrap();
        let mut batch = Batch { ticket: 1, ..Batch::default() };
        batch.put(Table::Device, DevEui([1; 8]), vec![7; 100]);
        disk.commit(batch);
        assert!(matches!(done.blocking_recv(), Some(Input::Committed(1))));
        disk.close();
        let file = dir.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        let garbage = [&[0x55; 64][..], &whole[64..]].concat();
        let refused = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            match Disk::open(dir.path(), inputs.clone()) {
                Ok((mut disk, loaded)) => {
                    disk.close();
                    assert_eq!(loaded.get(Table::Device, DevEui([1; 8])), Some(&[7; 100][..]));
                    None
                }
                Err(error) => Some(error.to_string()),
            }
        };
        for bytes in [&garbage[..], &whole[..100], &whole[..whole.len() / 2], b"no database"] {
            let error = refused(bytes).unwrap_or_else(|| panic!("{} bytes are taken for a store", bytes.len()));
            assert!(error.contains(FILE) && error.contains("damaged"), "{error}");
        }
        assert_eq!(refused(&whole), None);
    }
}
