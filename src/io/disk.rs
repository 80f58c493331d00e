//! The disk: one thread, one redb file, one commit per batch. `Committed` is said when the commit is synchronised.
//! Exported DTLS sessions go along with a batch, or alone if there is none.

use super::database::{Database, OpenError, Reopened};
use super::seal_key;
use super::state_dir::{examine_store, prepare};
use crate::config::ConfigError;
use crate::gateway::control;
use crate::gateway::input::Input;
use crate::store::export::{Changes, Exports, MAX_EXPORT_BYTES};
use crate::store::seal::Seal;
use crate::store::{Batch, Loaded};
use lpwad_lorawan::DevEui;
use redb::backends::FileBackend;
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Questions that may wait for the thread.
const QUESTIONS_WAITING: usize = 4;

/// Name of the store's file in the state directory.
pub const STORE: &str = "lpwad.redb";
/// Name of the file with keys that were imported (`keys = "store"`).
pub const SEALED_KEYS: &str = "keys.sealed";

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
    /// A private file of the state directory.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The database does not open.
    #[error("{path}: {problem}")]
    Database {
        /// What.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// The disk thread, and the exported sessions as they are, or soon will be, on disk.
pub struct Disk {
    jobs: Option<SyncSender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    exports: Exports,
    waiting: Arc<Mutex<Waiting>>,
    /// Questions that wait for the thread.
    questions: Arc<AtomicUsize>,
}

enum Job {
    Batch(Batch),
    /// Exports wait, and perhaps no batch.
    Exports,
    /// Somebody asks for decisions of the policy.
    Decisions(Option<u64>, oneshot::Sender<Value>),
}

/// Changes of exports that no transaction has taken yet.
#[derive(Default)]
struct Waiting {
    changes: Changes,
    /// Whether a [`Job::Exports`] is on its way.
    told: bool,
}

/// What was on disk at start.
pub struct Opened {
    /// For the gateway.
    pub loaded: Loaded,
    /// Nodes whose exported session was damaged; it is removed.
    pub damaged_exports: Vec<DevEui>,
}

impl Disk {
    /// Opens the store in `state_dir` (made with mode 0700 if it is not there), reads all of it and starts the thread.
    /// What became of a batch is sent to `inputs`.
    pub fn open(state_dir: &Path, inputs: Sender<Input>) -> Result<(Disk, Opened), StoreError> {
        prepare(state_dir)?;
        let (seal, key) = seal_key::load(state_dir)?;
        let seal = Arc::new(seal);
        let (database, place) = open_database(state_dir, &seal, &key, None)?;
        let path = state_dir.join(STORE);
        let read = database.load().and_then(|loaded| Ok((loaded, database.exports()?)));
        let (loaded, (exports, damaged_exports)) =
            read.map_err(|error| StoreError::Database { path, problem: format!("cannot be read: {error}") })?;
        // One batch, one word of exports, and questions.
        let (jobs, todo) = sync_channel::<Job>(2 + QUESTIONS_WAITING);
        let questions = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&questions);
        let waiting = Arc::default();
        let (dir, changes) = (state_dir.to_path_buf(), Arc::clone(&waiting));
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || {
                let again = move || open_database(&dir, &seal, &key, Some(place)).map(|(database, _)| database);
                let database = Reopened::new(database, again);
                work(database, &todo, &changes, &inputs, &asked);
            })
            .map_err(|error| StoreError::Io { path: state_dir.into(), error })?;
        let mut disk = Disk { jobs: Some(jobs), thread: Some(thread), exports, waiting, questions };
        for node in &damaged_exports {
            disk.change(*node, None);
        }
        Ok((disk, Opened { loaded, damaged_exports }))
    }

    /// Hands a batch over. The gateway has only one on its way, so this never waits.
    pub fn commit(&self, batch: Batch) {
        if let Some(jobs) = &self.jobs {
            jobs.try_send(Job::Batch(batch)).expect("one batch is on its way at a time");
        }
    }

    /// Answers with the decisions of the policy that the store keeps. If too many ask, `reply` is dropped.
    pub fn decisions(&self, number: Option<u64>, reply: oneshot::Sender<Value>) {
        let Some(jobs) = &self.jobs else { return };
        // A place in the queue is left for a batch always.
        if self.questions.load(Ordering::Relaxed) < QUESTIONS_WAITING {
            self.questions.fetch_add(1, Ordering::Relaxed);
            if jobs.try_send(Job::Decisions(number, reply)).is_err() {
                self.questions.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The exported session of a node.
    #[must_use]
    pub fn export(&self, node: DevEui) -> Option<&[u8]> {
        self.exports.get(&node).map(|export| export.as_slice())
    }

    /// Nodes that have an exported session.
    pub fn exported(&self) -> impl Iterator<Item = DevEui> {
        self.exports.keys().copied()
    }

    /// Keeps the exported session of a node, in place of an earlier one; `false` if it is longer than 16 KiB and not kept.
    /// It is written with the next batch, or at once if there is none; a power cut before that costs a full handshake.
    pub fn put_export(&mut self, node: DevEui, export: Zeroizing<Vec<u8>>) -> bool {
        if export.len() > MAX_EXPORT_BYTES {
            return false;
        }
        if self.export(node) != Some(export.as_slice()) {
            self.exports.insert(node, export.clone());
            self.change(node, Some(export));
        }
        true
    }

    /// Wipes the exported session of a node, if there is one. On disk likewise: see `docs/decisions/0016-sealing.md`.
    pub fn remove_export(&mut self, node: DevEui) {
        if self.exports.remove(&node).is_some() {
            self.change(node, None);
        }
    }

    fn change(&mut self, node: DevEui, change: Option<Zeroizing<Vec<u8>>>) {
        let mut waiting = lock(&self.waiting);
        waiting.changes.0.insert(node, change);
        if let Some(jobs) = self.jobs.as_ref().filter(|_| !waiting.told) {
            waiting.told = jobs.try_send(Job::Exports).is_ok();
        }
    }

    /// Ends the thread after what it has.
    pub fn close(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().expect("nothing panics while it is held")
}

fn work(
    mut database: Reopened<impl FnMut() -> Result<Database, StoreError>>,
    todo: &Receiver<Job>,
    waiting: &Mutex<Waiting>,
    inputs: &Sender<Input>,
    questions: &AtomicUsize,
) {
    let mut failing = false;
    for job in todo {
        let job = match job {
            Job::Decisions(number, reply) => {
                questions.fetch_sub(1, Ordering::Relaxed);
                let answer = match database.decisions(number) {
                    Ok(records) => json!({ "records": records }),
                    Err(why) => control::error(&why),
                };
                // The asker may have gone.
                drop(reply.send(answer));
                continue;
            }
            job => job,
        };
        let mut taken = lock(waiting);
        taken.told &= !matches!(job, Job::Exports);
        let changes = std::mem::take(&mut taken.changes);
        drop(taken);
        let (batch, wanted) = match job {
            Job::Batch(batch) => (batch, true),
            Job::Exports | Job::Decisions(..) => (Batch::default(), false),
        };
        let done = if wanted || !changes.0.is_empty() { database.commit_with(&batch, &changes) } else { Ok(()) };
        if done.is_err() {
            lock(waiting).changes.lay_under(changes);
        }
        if let (false, false, Err(why)) = (wanted, failing, &done) {
            log::warn!("exported sessions cannot be saved, and wait for the next batch: {why}");
        }
        failing = done.is_err();
        let input = match done {
            _ if !wanted => continue,
            Ok(()) => Input::Committed(batch.ticket),
            Err(why) => Input::CommitFailed(batch.ticket, why),
        };
        if inputs.blocking_send(input).is_err() {
            break;
        }
    }
    let left = std::mem::take(&mut lock(waiting).changes);
    if !left.0.is_empty() {
        // The last word: what is lost here costs full handshakes.
        drop(database.commit_with(&Batch::default(), &left));
    }
}

/// Device and number of a file.
type Place = (u64, u64);

/// Opens the store, with its place; a new one is begun if none is there. With `known` only the file at that place will do: after a
/// medium has gone, another file would not know which counters are used.
fn open_database(
    state_dir: &Path,
    seal: &Arc<Seal>,
    key: &Path,
    known: Option<Place>,
) -> Result<(Database, Place), StoreError> {
    let path = state_dir.join(STORE);
    let io = |error| StoreError::Io { path: state_dir.join(STORE), error };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(known.is_none())
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(&path)
        .map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    examine_store(&path, &meta, nix::unistd::geteuid().as_raw())?;
    let place = (meta.dev(), meta.ino());
    if known.is_some_and(|known| known != place || meta.len() == 0) {
        let problem = "is another file than before; bring back the medium, or restart lpwad if this is meant".into();
        return Err(StoreError::Database { path, problem });
    }
    let opened =
        FileBackend::new(file).map_err(OpenError::from).and_then(|file| Database::open(file, Arc::clone(seal)));
    opened.map(|database| (database, place)).map_err(|error| match error {
        OpenError::Database(redb::DatabaseError::DatabaseAlreadyOpen) => StoreError::InUse(path.clone()),
        OpenError::Database(other) => StoreError::Database { path: path.clone(), problem: explained(&other) },
        OpenError::WrongKey => {
            let problem = format!("sealed under another key than that of {}", key.display());
            let hint = format!("bring back the key that belongs to this store. {}", seal_key::WITHOUT_KEY);
            StoreError::File(ConfigError::file(&path, problem).hint(hint))
        }
        OpenError::Unsealed => {
            let hint =
                "move it away and let all nodes join again; nodes with activation = \"abp\" need new session keys";
            StoreError::File(ConfigError::file(&path, error.to_string()).hint(hint))
        }
        other => StoreError::Database { path: path.clone(), problem: other.to_string() },
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
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_committed_is_there_after_reopening_and_only_one_may_open() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (inputs, mut done) = tokio::sync::mpsc::channel(4);
        let (mut disk, opened) = Disk::open(&state, inputs.clone()).unwrap();
        assert!(opened.loaded.records.is_empty());
        assert!(matches!(Disk::open(&state, inputs.clone()), Err(StoreError::InUse(_))));
        let mut batch = Batch { ticket: 7, ..Batch::default() };
        batch.put(Table::Device, DevEui([1; 8]), vec![1]);
        batch.put(Table::Device, DevEui([1; 8]), vec![2]);
        batch.put(Table::Mailbox, DevEui([2; 8]), vec![3]);
        disk.commit(batch);
        assert!(matches!(done.blocking_recv(), Some(Input::Committed(7))));
        disk.close();
        let (mut disk, Opened { loaded, .. }) = Disk::open(&state, inputs).unwrap();
        assert_eq!(loaded.get(Table::Device, DevEui([1; 8])), Some(&[2][..]));
        assert_eq!(loaded.get(Table::Mailbox, DevEui([2; 8])), Some(&[3][..]));
        disk.close();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let files = (mode(&state.join(STORE)), mode(&state.join(seal_key::FILE)));
        assert_eq!((mode(&state), files), (0o700, (0o600, 0o600)));
    }

    #[test]
    fn links_and_open_modes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (inputs, _done) = tokio::sync::mpsc::channel(4);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Disk::open(dir.path(), inputs.clone()), Err(StoreError::Unsafe { .. })));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(matches!(Disk::open(&link, inputs.clone()), Err(StoreError::Unsafe { .. })));
        if nix::unistd::geteuid().is_root() {
            let (mut disk, _) = Disk::open(dir.path(), inputs.clone()).unwrap();
            disk.close();
            std::os::unix::fs::chown(dir.path().join(STORE), Some(12_345), None).unwrap();
            let said = Disk::open(dir.path(), inputs.clone()).map(|_| ()).unwrap_err().to_string();
            assert!(said.contains(STORE) && said.contains("another user"), "{said}");
            fs::remove_file(dir.path().join(STORE)).unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", dir.path().join(STORE)).unwrap();
        assert!(matches!(Disk::open(dir.path(), inputs), Err(StoreError::Io { .. })));
    }

    /// A state directory with a store that holds one record and one export.
    fn store() -> (tempfile::TempDir, Sender<Input>) {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let (inputs, mut done) = tokio::sync::mpsc::channel(4);
        let (mut disk, _) = Disk::open(dir.path(), inputs.clone()).unwrap();
        let mut batch = Batch { ticket: 1, ..Batch::default() };
        batch.put(Table::Device, DevEui([1; 8]), SECRET.to_vec());
        disk.commit(batch);
        assert!(disk.put_export(DevEui([1; 8]), Zeroizing::new(SECRET.to_vec())));
        assert!(matches!(done.blocking_recv(), Some(Input::Committed(1))));
        disk.close();
        (dir, inputs)
    }

    const SECRET: &[u8] = b"a secret of more than a few bytes";

    fn holds(dir: &Path, needle: &[u8]) -> bool {
        fs::read(dir.join(STORE)).unwrap().windows(needle.len()).any(|bytes| bytes == needle)
    }

    #[test]
    fn s_21_nothing_lies_open_in_the_store_and_exports_come_back_until_they_are_removed() {
        let (dir, inputs) = store();
        assert!(!holds(dir.path(), SECRET), "the store is sealed");
        let (mut disk, opened) = Disk::open(dir.path(), inputs.clone()).unwrap();
        assert_eq!(opened.loaded.get(Table::Device, DevEui([1; 8])), Some(SECRET));
        assert_eq!(opened.damaged_exports, []);
        assert_eq!(disk.export(DevEui([1; 8])), Some(SECRET));
        assert!(!disk.put_export(DevEui([2; 8]), Zeroizing::new(vec![0; MAX_EXPORT_BYTES + 1])));
        assert_eq!(disk.exported().collect::<Vec<_>>(), [DevEui([1; 8])]);
        disk.remove_export(DevEui([1; 8]));
        assert_eq!(disk.export(DevEui([1; 8])), None);
        disk.close();
        let (mut disk, opened) = Disk::open(dir.path(), inputs).unwrap();
        assert_eq!(disk.exported().count(), 0);
        assert_eq!(opened.loaded.get(Table::Device, DevEui([1; 8])), Some(SECRET), "records are no concern of exports");
        disk.close();
    }

    #[test]
    fn a_store_that_has_gone_is_opened_again_when_it_is_back_and_never_begun_anew() {
        let (dir, _) = store();
        let (seal, key) = seal_key::load(dir.path()).unwrap();
        let (seal, path) = (Arc::new(seal), dir.path().join(STORE));
        let place = open_database(dir.path(), &seal, &key, None).unwrap().1;
        let again = || open_database(dir.path(), &seal, &key, Some(place)).map(|(database, _)| database);
        assert!(again().is_ok());
        let away = dir.path().join("away");
        fs::rename(&path, &away).unwrap();
        assert!(again().is_err() && !path.exists(), "it is not made");
        drop(open_database(dir.path(), &seal, &key, None).unwrap());
        let problem = again().unwrap_err().to_string();
        assert!(problem.contains("another file than before"), "{problem}");
        fs::rename(&away, &path).unwrap();
        let loaded = again().unwrap().load().unwrap();
        assert_eq!(loaded.get(Table::Device, DevEui([1; 8])), Some(SECRET));
    }

    #[test]
    fn s_21_a_damaged_record_or_export_costs_only_itself() {
        let (dir, inputs) = store();
        let (seal, key) = seal_key::load(dir.path()).unwrap();
        let damage = |table: &'static str| {
            let database =
                open_database(dir.path(), &Arc::new(seal_key::load(dir.path()).unwrap().0), &key, None).unwrap().0;
            database.plant(table, [2; 8], &seal.seal(table, &[1; 8], SECRET)).unwrap();
        };
        // A record that is whole, and was moved here from another node.
        damage(Table::Device.name());
        damage(crate::store::export::TABLE);
        let (mut disk, opened) = Disk::open(dir.path(), inputs.clone()).unwrap();
        assert_eq!(opened.loaded.get(Table::Device, DevEui([1; 8])), Some(SECRET));
        assert_eq!(opened.loaded.get(Table::Device, DevEui([2; 8])), Some(&[][..]), "no record at all");
        assert_eq!(disk.exported().collect::<Vec<_>>(), [DevEui([1; 8])]);
        assert_eq!(opened.damaged_exports, [DevEui([2; 8])]);
        disk.close();
        let (mut disk, opened) = Disk::open(dir.path(), inputs).unwrap();
        assert_eq!(opened.damaged_exports, [], "a damaged export is removed");
        disk.close();
    }

    #[test]
    fn another_key_is_refused_and_a_damaged_check_value_is_not_taken_for_that() {
        let (dir, inputs) = store();
        let key = dir.path().join(seal_key::FILE);
        let right = fs::read(&key).unwrap();
        fs::write(&key, [7; 32]).unwrap();
        let said = Disk::open(dir.path(), inputs.clone()).map(|_| ()).unwrap_err().to_string();
        for word in [STORE, "another key", seal_key::FILE, "counters would be used twice"] {
            assert!(said.contains(word), "{said}");
        }
        fs::remove_file(&key).unwrap();
        let said = Disk::open(dir.path(), inputs.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("not there") && said.contains("counters would be used twice"), "{said}");
        fs::write(&key, &right).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let (seal, path) = seal_key::load(dir.path()).unwrap();
        let database = open_database(dir.path(), &Arc::new(seal), &path, None).unwrap().0;
        database.plant(super::super::database::SEAL_TABLE, super::super::database::SEAL_CHECK, b"\x01damaged").unwrap();
        drop(database);
        let (mut disk, opened) = Disk::open(dir.path(), inputs).unwrap();
        assert_eq!(opened.loaded.get(Table::Device, DevEui([1; 8])), Some(SECRET));
        disk.close();
    }

    #[test]
    fn a_store_that_is_not_sealed_is_refused() {
        let (dir, inputs) = store();
        let (seal, path) = seal_key::load(dir.path()).unwrap();
        let database = open_database(dir.path(), &Arc::new(seal), &path, None).unwrap().0;
        database.forget_check().unwrap();
        drop(database);
        let said = Disk::open(dir.path(), inputs).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("not sealed") && said.contains("hint"), "{said}");
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
        let file = dir.path().join(STORE);
        let whole = fs::read(&file).unwrap();
        let garbage = [&[0x55; 64][..], &whole[64..]].concat();
        let refused = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            match Disk::open(dir.path(), inputs.clone()) {
                Ok((mut disk, Opened { loaded, .. })) => {
                    disk.close();
                    assert_eq!(loaded.get(Table::Device, DevEui([1; 8])), Some(&[7; 100][..]));
                    None
                }
                Err(error) => Some(error.to_string()),
            }
        };
        for bytes in [&garbage[..], &whole[..100], &whole[..whole.len() / 2], b"no database"] {
            let error = refused(bytes).unwrap_or_else(|| panic!("{} bytes are taken for a store", bytes.len()));
            assert!(error.contains(STORE) && error.contains("damaged"), "{error}");
        }
        assert_eq!(refused(&whole), None);
    }
}
