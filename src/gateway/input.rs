//! Everything that can wake the gateway.

use crate::config::Config;
use crate::gateway::control::Request;
use crate::gateway::event::Event;
use crate::policy::analyses::Analyses;
pub use crate::policy::facts::{Facts, HostFacts};
pub use crate::session::{Down, Dtls, Reason, Security, Up};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The time that comes with each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the start of the process; drives timers.
    pub mono: Duration,
    /// Milliseconds since 1970; stamps readings. `None` while the clock is not trusted.
    pub unix_ms: Option<u64>,
}

/// Names a radio: index into the configuration's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RadioIndex(pub u16);

/// Names a node, its proxy and its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// An input. Adding one is a design change.
#[derive(Debug)]
pub enum Input {
    /// The n-th run of a radio's plugin has begun.
    PluginStarted(RadioIndex, u64),
    /// A line of the n-th run of a radio's plugin, without its end; `Err` is an oversize one.
    PluginLine(RadioIndex, u64, Result<Vec<u8>, lpwad_link::Oversize>),
    /// The n-th run of a radio's plugin has ended, or could not begin, for people.
    PluginExited(RadioIndex, u64, String),
    /// A session is open.
    Up(NodeId, Up),
    /// A session could not be opened, or ended. An open one was closed by the shell already.
    Down(NodeId, Down),
    /// A rehearsal has ended; `None`: the handshake succeeded.
    Rehearsed(NodeId, Option<Down>),
    /// The n-th run of a radio's plugin did not read what it was told, and has been killed.
    PluginNotReading(RadioIndex, u64),
    /// Something that only the shell can see, to be said: of a plugin's process, or of this system.
    Noticed(Event),
    /// A datagram from the server of a session.
    Datagram(NodeId, Vec<u8>),
    /// A batch is on disk.
    Committed(u64),
    /// A batch is not on disk, for people.
    CommitFailed(u64, String),
    /// Somebody at the control socket asks; the number comes back with the answer.
    Request(u64, Request),
    /// The configuration and the threat analyses, read again.
    Reload(Box<Config>, Analyses),
    /// What is seen of this host, look by look.
    Facts(Facts),
    /// Interfaces that are up and lead to servers, by address.
    Bearers(BTreeMap<IpAddr, String>),
    /// They were to be read again, and the configuration cannot be used, for people. The former one holds.
    ReloadFailed(String),
    /// A deadline has passed.
    Tick,
    /// Stop: deregister, persist, end.
    Stop,
}
