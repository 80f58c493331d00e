//! Everything that the gateway can cause.

use super::event::Event;
use super::input::{NodeId, RadioIndex};
use crate::store::Batch;
use lpwad_lorawan::DevEui;
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
    /// Open a session, from this local port if it is free; [`Input::Up`](super::input::Input::Up) or
    /// [`Input::Down`](super::input::Input::Down) tells what came of it.
    Open {
        /// Whose.
        session: NodeId,
        /// Where to, and how: as the policy decided.
        to: Target,
        /// Wanted local port.
        local_port: Option<u16>,
    },
    /// Try a full DTLS handshake beside the clear session of a proxy, and end it;
    /// [`Input::Rehearsed`](super::input::Input::Rehearsed) tells what came of it. Closing or opening the session gives it up.
    Rehearse {
        /// Whose.
        session: NodeId,
        /// Name of the server.
        server: String,
        /// Whose credential.
        node: DevEui,
    },
    /// Send a datagram by an open session.
    Send(NodeId, Vec<u8>),
    /// Close a session, without a word.
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

/// Where a session leads, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A clear session. The policy permitted it.
    Clear {
        /// The server.
        peer: SocketAddr,
        /// The only interface by which its datagrams may leave; `None`: the server is on this host.
        bearer: Option<String>,
    },
    /// A DTLS session to the `secure_uri` of a server.
    Dtls {
        /// Name of the server.
        server: String,
        /// Whose credential.
        node: DevEui,
    },
}
