//! The database of the store: redb, on any storage. One batch is one transaction, synchronised before it counts. Every value
//! is sealed for its table and key.

use crate::store::export::{self, Exports};
use crate::store::seal::{BadSeal, Seal};
use crate::store::{BacklogKey, Batch, Loaded, POLICY_STATE, POLICY_TABLE, Table};
use lpwad_lorawan::DevEui;
pub use redb::{DatabaseError, Error, StorageBackend};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError};
use std::sync::Arc;

/// Largest record; the gateway writes none that is larger, and takes a larger one for damaged.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The table with one value, by which a wrong key is told from damaged records.
pub(super) const SEAL_TABLE: &str = "seal";
pub(super) const SEAL_CHECK: [u8; 8] = *b"lpwad\0\0\0";

/// An open database.
#[derive(Debug)]
pub struct Database {
    redb: redb::Database,
    seal: Arc<Seal>,
}

/// Why a database does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage fails, holds something else, or somebody else has it open.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It opens, and cannot be read or written.
    #[error(transparent)]
    Storage(#[from] Error),
    /// The key is not the one that it is sealed under.
    #[error("sealed under another key")]
    WrongKey,
    /// Not sealed at all.
    #[error("not sealed: written by a version of lpwad that did not seal its store yet, or by somebody else")]
    Unsealed,
    /// Sealed by a newer program.
    #[error("sealed in a form that this version of lpwad does not know")]
    Newer,
}

impl Database {
    /// Opens what is on `storage`, or begins a new database if that is empty. After a power cut it is repaired.
    ///
    /// # Errors
    /// The storage fails, holds something else, somebody else has it open, or `seal` is not what it was sealed with.
    pub fn open(storage: impl StorageBackend, seal: Arc<Seal>) -> Result<Database, OpenError> {
        let redb = redb::Builder::new().create_with_backend(storage)?;
        let database = Database { redb, seal };
        let check =
            database.redb.begin_read().map_err(Error::from).and_then(|read| value(&read, SEAL_TABLE, SEAL_CHECK))?;
        let opened = check.map(|sealed| database.seal.open(SEAL_TABLE, &SEAL_CHECK, &sealed));
        match opened {
            Some(Ok(_)) => return Ok(database),
            Some(Err(BadSeal::Version)) if !database.any_opens()? => return Err(OpenError::Newer),
            // The key is right if it opens anything else: then it is this value that was damaged.
            Some(Err(_)) if !database.any_opens()? => return Err(OpenError::WrongKey),
            None if !database.is_empty()? => return Err(OpenError::Unsealed),
            _ => {}
        }
        database.write_check()?;
        Ok(database)
    }

    fn write_check(&self) -> Result<(), Error> {
        let write = self.redb.begin_write()?;
        let sealed = self.seal.seal(SEAL_TABLE, &SEAL_CHECK, b"");
        write.open_table(definition::<8>(SEAL_TABLE))?.insert(SEAL_CHECK, sealed.as_slice())?;
        write.commit()?;
        Ok(())
    }

    fn is_empty(&self) -> Result<bool, Error> {
        let read = self.redb.begin_read()?;
        for name in table_names() {
            if let Some(rows) = rows::<8>(&read, name)?
                && !rows.is_empty()?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn any_opens(&self) -> Result<bool, Error> {
        let read = self.redb.begin_read()?;
        for name in table_names() {
            let mut any = false;
            each(&read, name, |key: [u8; 8], sealed| any = any || self.seal.open(name, &key, sealed).is_ok())?;
            if any {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything in it but the exported sessions. A record that does not open is empty, which is no record: it costs its
    /// node what a damaged one does. Records over 1 MiB are none of ours and passed over.
    ///
    /// # Errors
    /// The storage fails.
    pub fn load(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let read = self.redb.begin_read()?;
        for table in Table::ALL {
            each(&read, table.name(), |key: [u8; 8], sealed| {
                let record = self.seal.open(table.name(), &key, sealed).map(|mut plain| std::mem::take(&mut *plain));
                loaded.records.insert((table, key), record.unwrap_or_default());
            })?;
        }
        each(&read, BacklogKey::TABLE, |key: [u8; 16], sealed| {
            let record = self.seal.open(BacklogKey::TABLE, &key, sealed).map(|mut plain| std::mem::take(&mut *plain));
            loaded.backlog.insert(BacklogKey::from_bytes(key), record.unwrap_or_default());
        })?;
        each(&read, POLICY_TABLE, |key: [u8; 8], sealed| {
            let record = self.seal.open(POLICY_TABLE, &key, sealed).map(|mut plain| std::mem::take(&mut *plain));
            loaded.policy.insert(u64::from_be_bytes(key), record.unwrap_or_default());
        })?;
        Ok(loaded)
    }

    /// The exported sessions, and the nodes whose export does not open.
    ///
    /// # Errors
    /// The storage fails.
    pub fn exports(&self) -> Result<(Exports, Vec<DevEui>), Error> {
        let (mut exports, mut damaged) = (Exports::new(), Vec::new());
        let read = self.redb.begin_read()?;
        each(&read, export::TABLE, |key: [u8; 8], sealed| match self.seal.open(export::TABLE, &key, sealed) {
            Ok(plain) => drop(exports.insert(DevEui(key), plain)),
            Err(_) => damaged.push(DevEui(key)),
        })?;
        Ok((exports, damaged))
    }

    /// The decisions of the policy, oldest first; with a number only that one. One that does not open is left out.
    ///
    /// # Errors
    /// The storage fails.
    pub fn decisions(&self, number: Option<u64>) -> Result<Vec<String>, Error> {
        let mut decisions = Vec::new();
        each(&self.redb.begin_read()?, POLICY_TABLE, |key: [u8; 8], sealed| {
            let wanted = number.is_none_or(|number| number.to_be_bytes() == key);
            if wanted
                && u64::from_be_bytes(key) != POLICY_STATE
                && let Ok(mut plain) = self.seal.open(POLICY_TABLE, &key, sealed)
            {
                decisions.extend(String::from_utf8(std::mem::take(&mut *plain)));
            }
        })?;
        Ok(decisions)
    }

    /// Writes a batch: after `Ok` it survives a power cut, after an error all of it is there or nothing.
    ///
    /// # Errors
    /// The storage fails. After that every call fails, until the database is opened anew.
    pub fn commit(&self, batch: &Batch) -> Result<(), Error> {
        self.commit_with(batch, &export::Changes::default())
    }

    /// The same, with changes of exported sessions in the same transaction.
    ///
    /// # Errors
    /// As [`Database::commit`].
    pub fn commit_with(&self, batch: &Batch, exports: &export::Changes) -> Result<(), Error> {
        let write = self.redb.begin_write()?;
        for table in Table::ALL {
            let mut records = batch.records.iter().filter(|((of, _), _)| *of == table).peekable();
            if records.peek().is_none() {
                continue;
            }
            let mut rows = write.open_table(definition(table.name()))?;
            for ((_, key), record) in records {
                rows.insert(key, self.seal.seal(table.name(), key, record).as_slice())?;
            }
        }
        if !exports.0.is_empty() {
            let mut rows = write.open_table(definition(export::TABLE))?;
            for (node, change) in &exports.0 {
                match change {
                    Some(plain) => rows.insert(node.0, self.seal.seal(export::TABLE, &node.0, plain).as_slice())?,
                    None => rows.remove(node.0)?,
                };
            }
        }
        if !batch.backlog.is_empty() {
            let mut rows = write.open_table(definition(BacklogKey::TABLE))?;
            for (key, record) in &batch.backlog {
                let key = key.to_bytes();
                match record {
                    Some(record) => rows.insert(key, self.seal.seal(BacklogKey::TABLE, &key, record).as_slice())?,
                    None => rows.remove(key)?,
                };
            }
        }
        if !batch.policy.is_empty() {
            let mut rows = write.open_table(definition(POLICY_TABLE))?;
            for (key, record) in &batch.policy {
                let key = key.to_be_bytes();
                match record {
                    Some(record) => rows.insert(key, self.seal.seal(POLICY_TABLE, &key, record).as_slice())?,
                    None => rows.remove(key)?,
                };
            }
        }
        write.commit()?;
        Ok(())
    }
}

#[cfg(test)]
impl Database {
    /// Writes a value as it is.
    pub(super) fn plant(&self, table: &'static str, key: [u8; 8], value: &[u8]) -> Result<(), Error> {
        let write = self.redb.begin_write()?;
        write.open_table(definition::<8>(table))?.insert(key, value)?;
        Ok(write.commit()?)
    }

    /// Removes the value by which the key is checked.
    pub(super) fn forget_check(&self) -> Result<(), Error> {
        let write = self.redb.begin_write()?;
        write.open_table(definition::<8>(SEAL_TABLE))?.remove(SEAL_CHECK)?;
        Ok(write.commit()?)
    }
}

fn definition<const N: usize>(name: &'static str) -> TableDefinition<'static, [u8; N], &'static [u8]> {
    TableDefinition::new(name)
}

/// Tables with keys of eight bytes: a DevEUI, or a number.
fn table_names() -> impl Iterator<Item = &'static str> {
    Table::ALL.into_iter().map(Table::name).chain([export::TABLE, POLICY_TABLE])
}

type Rows<const N: usize> = redb::ReadOnlyTable<[u8; N], &'static [u8]>;

fn rows<const N: usize>(read: &ReadTransaction, name: &'static str) -> Result<Option<Rows<N>>, Error> {
    match read.open_table(definition(name)) {
        Ok(rows) => Ok(Some(rows)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn value(read: &ReadTransaction, name: &'static str, key: [u8; 8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(rows) = rows(read, name)? else { return Ok(None) };
    Ok(rows.get(key)?.map(|value| value.value().to_vec()))
}

fn each<const N: usize>(
    read: &ReadTransaction,
    name: &'static str,
    mut take: impl FnMut([u8; N], &[u8]),
) -> Result<(), Error> {
    let Some(rows) = rows(read, name)? else { return Ok(()) };
    for row in rows.iter()? {
        let (key, value) = row?;
        take(key.value(), Some(value.value()).filter(|value| value.len() <= MAX_RECORD_BYTES).unwrap_or_default());
    }
    Ok(())
}

/// A database that is opened anew after a failed write, because redb refuses everything until then.
pub struct Reopened<F> {
    database: Option<Database>,
    open: F,
}

impl<F, E> Reopened<F>
where
    F: FnMut() -> Result<Database, E>,
    E: std::fmt::Display,
{
    /// An open database, and how to open it again.
    pub fn new(database: Database, open: F) -> Reopened<F> {
        Reopened { database: Some(database), open }
    }

    /// Like [`Database::decisions`]; the error is for people.
    pub fn decisions(&self, number: Option<u64>) -> Result<Vec<String>, String> {
        let database = self.database.as_ref().ok_or("the store fails, and is opened anew with the next write")?;
        database.decisions(number).map_err(|error| error.to_string())
    }

    /// Like [`Database::commit`]; the error is for people.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        self.commit_with(batch, &export::Changes::default())
    }

    /// Like [`Database::commit_with`]; the error is for people.
    pub fn commit_with(&mut self, batch: &Batch, exports: &export::Changes) -> Result<(), String> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)().map_err(|error| format!("the store cannot be opened again: {error}"))?,
        };
        database.commit_with(batch, exports).map_err(|error| error.to_string())?;
        self.database = Some(database);
        Ok(())
    }
}
