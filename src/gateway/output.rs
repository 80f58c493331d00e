//! Everything that the gateway can cause.

use super::event::Event;
use super::input::{NodeId, RadioIndex};
use crate::store::Batch;
use std::net::SocketAddr;

/// An output. Adding one is a design change.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Start a radio's plugin; a running one is ended first.
    StartPlugin(RadioIndex),
    /// Write a line, with its end, to a radio's plugin.
    WritePlugin(RadioIndex, String),
    /// End a radio's plugin.
    KillPlugin(RadioIndex),
    /// Open a clear UDP socket to a server, at this local port if it is free. The policy permitted it.
    Open {
        /// Whose.
        session: NodeId,
        /// The server.
        peer: SocketAddr,
        /// Wanted local port.
        local_port: Option<u16>,
    },
    /// Send a datagram by an open session.
    Send(NodeId, Vec<u8>),
    /// Close a session's socket.
    Close(NodeId),
    /// Write a batch; only one at a time is on its way.
    Commit(Batch),
    /// Answer a request of the control socket.
    Reply(u64, serde_json::Value),
    /// Something worth a line in the journal.
    Event(Event),
    /// Everything is done; end the process.
    Stopped,
}
