//! The database of the store: redb, on any storage. One batch is one transaction, synchronised before it counts.

use crate::store::{BacklogKey, Batch, Loaded, Table};
pub use redb::{DatabaseError, Error, StorageBackend};
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};

/// Largest record; the gateway writes none that is near.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// An open database.
#[derive(Debug)]
pub struct Database(redb::Database);

impl Database {
    /// Opens what is on `storage`, or begins a new database if that is empty. After a power cut it is repaired.
    ///
    /// # Errors
    /// The storage fails, holds something else, or somebody else has it open.
    pub fn open(storage: impl StorageBackend) -> Result<Database, DatabaseError> {
        redb::Builder::new().create_with_backend(storage).map(Database)
    }

    /// Everything in it; records over 1 MiB are none of ours and passed over.
    ///
    /// # Errors
    /// The storage fails.
    pub fn load(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let read = self.0.begin_read()?;
        for table in Table::ALL {
            let rows = match read.open_table(definition(table)) {
                Ok(rows) => rows,
                Err(TableError::TableDoesNotExist(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            for row in rows.iter()? {
                let (key, value) = row?;
                if value.value().len() <= MAX_RECORD_BYTES {
                    loaded.records.insert((table, key.value()), value.value().to_vec());
                }
            }
        }
        match read.open_table(BACKLOG) {
            Ok(rows) => {
                for row in rows.iter()? {
                    let (key, value) = row?;
                    if value.value().len() <= MAX_RECORD_BYTES {
                        loaded.backlog.insert(BacklogKey::from_bytes(key.value()), value.value().to_vec());
                    }
                }
            }
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(loaded)
    }

    /// Writes a batch: after `Ok` it survives a power cut, after an error all of it is there or nothing.
    ///
    /// # Errors
    /// The storage fails. After that every call fails, until the database is opened anew.
    pub fn commit(&self, batch: &Batch) -> Result<(), Error> {
        let write = self.0.begin_write()?;
        for table in Table::ALL {
            let mut records = batch.records.iter().filter(|((of, _), _)| *of == table).peekable();
            if records.peek().is_none() {
                continue;
            }
            let mut rows = write.open_table(definition(table))?;
            for ((_, key), record) in records {
                rows.insert(key, record.as_slice())?;
            }
        }
        if !batch.backlog.is_empty() {
            let mut rows = write.open_table(BACKLOG)?;
            for (key, record) in &batch.backlog {
                match record {
                    Some(record) => rows.insert(key.to_bytes(), record.as_slice())?,
                    None => rows.remove(key.to_bytes())?,
                };
            }
        }
        write.commit()?;
        Ok(())
    }
}

const BACKLOG: TableDefinition<'static, [u8; 16], &'static [u8]> = TableDefinition::new(BacklogKey::TABLE);

fn definition(table: Table) -> TableDefinition<'static, [u8; 8], &'static [u8]> {
    TableDefinition::new(table.name())
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

    /// Like [`Database::commit`]; the error is for people.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)().map_err(|error| format!("the store cannot be opened again: {error}"))?,
        };
        database.commit(batch).map_err(|error| error.to_string())?;
        self.database = Some(database);
        Ok(())
    }
}
