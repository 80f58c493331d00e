//! What must survive a power cut: records by table and node, written in batches. One batch is one commit: all of it is
//! on disk or nothing. The core makes batches, the shell's disk thread (`io/disk.rs`) writes them.

pub mod export;
pub mod record;
pub mod seal;

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

/// Names an uplink that a server has not been told of yet. Later uplinks have higher numbers, over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BacklogKey {
    /// Number.
    pub seq: u64,
    /// Whose.
    pub dev_eui: DevEui,
}

impl BacklogKey {
    /// Name of the table on disk.
    pub const TABLE: &'static str = "backlog";

    /// Key on disk: number, then DevEUI, big endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..].copy_from_slice(&self.dev_eui.0);
        bytes
    }

    /// From the key on disk.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> BacklogKey {
        let [a, b, c, d, e, f, g, h, dev_eui @ ..] = bytes;
        BacklogKey { seq: u64::from_be_bytes([a, b, c, d, e, f, g, h]), dev_eui: DevEui(dev_eui) }
    }
}

/// Name on disk of the table of the policy: its state, and its decisions by number.
pub const POLICY_TABLE: &str = "policy";
/// Number of the policy's state in its table; decisions count from 1.
pub const POLICY_STATE: u64 = 0;

/// Records that are written together. A later record of the same key replaces an earlier one of the batch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counts up by one with every batch.
    pub ticket: u64,
    /// Record bytes by table and node.
    pub records: BTreeMap<(Table, [u8; 8]), Vec<u8>>,
    /// Backlog: record bytes to write; `None` removes the record, if it is there.
    pub backlog: BTreeMap<BacklogKey, Option<Vec<u8>>>,
    /// Policy: state and decisions by number; `None` removes one.
    pub policy: BTreeMap<u64, Option<Vec<u8>>>,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.backlog.is_empty() && self.policy.is_empty()
    }

    /// Adds a record.
    pub fn put(&mut self, table: Table, dev_eui: DevEui, record: Vec<u8>) {
        self.records.insert((table, dev_eui.0), record);
    }

    /// Adds what an earlier batch has and this one has not.
    pub fn lay_under(&mut self, earlier: Batch) {
        for (key, record) in earlier.records {
            self.records.entry(key).or_insert(record);
        }
        for (key, record) in earlier.backlog {
            self.backlog.entry(key).or_insert(record);
        }
        for (key, record) in earlier.policy {
            self.policy.entry(key).or_insert(record);
        }
    }
}

/// Everything that was on disk at start.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Record bytes by table and node.
    pub records: BTreeMap<(Table, [u8; 8]), Vec<u8>>,
    /// Backlog.
    pub backlog: BTreeMap<BacklogKey, Vec<u8>>,
    /// Policy: state and decisions by number.
    pub policy: BTreeMap<u64, Vec<u8>>,
}

impl Loaded {
    /// Adds a record.
    pub fn put(&mut self, table: Table, dev_eui: DevEui, record: Vec<u8>) {
        self.records.insert((table, dev_eui.0), record);
    }

    /// What a batch makes of it: how the disk must behave, for models of it.
    pub fn apply(&mut self, batch: &Batch) {
        self.records.extend(batch.records.clone());
        for (key, record) in &batch.backlog {
            match record {
                Some(record) => _ = self.backlog.insert(*key, record.clone()),
                None => _ = self.backlog.remove(key),
            }
        }
        for (key, record) in &batch.policy {
            match record {
                Some(record) => _ = self.policy.insert(*key, record.clone()),
                None => _ = self.policy.remove(key),
            }
        }
    }

    /// Removes what there is of a node, but its backlog.
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
        write!(f, "Batch {} with {} of the backlog ", self.ticket, self.backlog.len())?;
        show(&self.records, f)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.records, f)
    }
}
