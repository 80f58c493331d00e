//! What to run, and what comes of it.

use crate::disk::Kept;
use crate::medium::{Left, Medium};
use crate::shadow::Violation;
use lpwad::config::Backlog;
use std::collections::BTreeMap;
use std::time::Duration;

/// A backlog that only age bounds.
pub const UNBOUNDED: usize = 1 << 30;

/// A mistake on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The disk says that device records are written, and they are not: counters are not reserved.
    CounterNotReserved,
    /// A buffer for every datagram that comes in is kept for ever.
    QueueUnbounded,
    /// The disk says that writes waiting for a node are stored, and they are not.
    AcknowledgedNotStored,
    /// The disk says that what servers missed is stored, and it is not.
    MissedNotStored,
    /// The disk says that values are stored, and they are not.
    ValueNotStored,
    /// One more clear datagram leaves when a session is closed.
    ClearDatagram,
    /// Registrations are not renewed, and nobody registers anew.
    RegistrationNotRenewed,
    /// Nobody wakes the gateway when it is due, but a turn later.
    WokenLate,
    /// Orders reach the radio this much later.
    OrderLate,
    /// An event says what a node sent.
    PayloadSaid,
}

/// What happens beside the schedule of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// More traffic, and nothing goes wrong but on the air and the network.
    Calm,
    /// Everything that can go wrong.
    Storm,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// How long.
    pub length: Duration,
    /// The storage of the database; without one the disk is a model.
    pub medium: Option<Medium>,
    /// After how many operations of the storage the power goes, once, and what it leaves of those that were not synchronised.
    pub cut: Option<(usize, Left)>,
    /// Bytes that the gateway keeps at most of what servers miss.
    pub backlog_bytes: usize,
    /// What happens besides.
    pub weather: Weather,
    /// A mistake on purpose.
    pub planted: Option<Planted>,
    /// Number of a node whose story is told on standard error.
    pub watch: Option<usize>,
}

impl Settings {
    /// One week of a site with 500 nodes. One seed in four has the backlog that is shipped; with the others only age bounds it.
    #[must_use]
    pub fn week(seed: u64) -> Settings {
        Settings {
            seed,
            nodes: 500,
            length: Duration::from_secs(7 * 86_400),
            medium: None,
            cut: None,
            backlog_bytes: if seed % 4 == 3 { Backlog::default().max_bytes } else { UNBOUNDED },
            weather: Weather::Storm,
            planted: None,
            watch: None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Hash of everything that went in and out.
    pub hash: String,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// How often things happened, for people.
    pub counts: BTreeMap<&'static str, u64>,
    /// What the storage had after so many operations, batch by batch, if it keeps a log.
    pub history: Vec<(usize, Kept)>,
}
