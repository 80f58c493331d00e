//! Exported DTLS sessions: what the shell keeps of a node's session so that it can be resumed. The core never sees them.

use lpwad_lorawan::DevEui;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// Name of their table on disk.
pub const TABLE: &str = "dtls";

/// Longest export in bytes. With a pre-shared key it has some 150, with a server's certificate chain some thousand.
pub const MAX_EXPORT_BYTES: usize = 16 * 1024;

/// Exports by node.
pub type Exports = BTreeMap<DevEui, Zeroizing<Vec<u8>>>;

/// What changes on disk: a new export of a node, or `None` where it goes. At most one entry a node.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Changes(pub BTreeMap<DevEui, Option<Zeroizing<Vec<u8>>>>);

impl Changes {
    /// Lays `earlier` under these: what is newer stays.
    pub fn lay_under(&mut self, earlier: Changes) {
        for (node, change) in earlier.0 {
            self.0.entry(node).or_insert(change);
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.0.iter().map(|(node, change)| (node, change.as_ref().map(|export| export.len())));
        f.debug_map().entries(lengths).finish()
    }
}
