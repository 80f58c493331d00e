//! What must survive a power cut: records by table and node, written in batches. One batch is one commit: all of it is
//! on disk or nothing. The core makes batches, the shell's disk thread (`io/disk.rs`) writes them.

pub mod record;

use lpwad_lorawan::DevEui;
use std::collections::BTreeMap;
use std::fmt;

/// The tables of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// LoRaWAN: join state, session, counters reserved ahead.
    Device,
    /// LwM2M: registration, observations, local port.
    Proxy,
    /// Last values and last-heard time.
    Values,
    /// Writes that wait for the node.
    Mailbox,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 4] = [Table::Device, Table::Proxy, Table::Values, Table::Mailbox];

    /// Name on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Device => "device",
            Table::Proxy => "proxy",
            Table::Values => "values",
            Table::Mailbox => "mailbox",
        }
    }
}

/// Records that are written together. A later record of the same key replaces an earlier one of the batch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counts up by one with every batch.
    pub ticket: u64,
    /// Record bytes by table and node.
    pub records: BTreeMap<(Table, [u8; 8]), Vec<u8>>,
}

impl Batch {
    /// Adds a record.
    pub fn put(&mut self, table: Table, dev_eui: DevEui, record: Vec<u8>) {
        self.records.insert((table, dev_eui.0), record);
    }
}

/// Everything that was on disk at start.
#[derive(Clone, Default)]
pub struct Loaded {
    /// Record bytes by table and node.
    pub records: BTreeMap<(Table, [u8; 8]), Vec<u8>>,
}

impl Loaded {
    /// Adds a record.
    pub fn put(&mut self, table: Table, dev_eui: DevEui, record: Vec<u8>) {
        self.records.insert((table, dev_eui.0), record);
    }

    /// Removes what there is of a node.
    pub fn forget(&mut self, dev_eui: DevEui) {
        for table in Table::ALL {
            self.records.remove(&(table, dev_eui.0));
        }
    }

    /// One record.
    #[must_use]
    pub fn get(&self, table: Table, dev_eui: DevEui) -> Option<&[u8]> {
        self.records.get(&(table, dev_eui.0)).map(Vec::as_slice)
    }
}

/// Records hold session keys: only their keys and lengths are shown.
fn show(records: &BTreeMap<(Table, [u8; 8]), Vec<u8>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let lengths = records.iter().map(|((table, key), record)| (table.name(), DevEui(*key), record.len()));
    f.debug_list().entries(lengths).finish()
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch {} ", self.ticket)?;
        show(&self.records, f)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.records, f)
    }
}
