//! lpwad: LPWA radios on one side, LwM2M servers on the other, and one LwM2M client for each end node.
//!
//! The modules in the order of the frame:

/// Command line.
pub mod cli;
/// Payload bytes to readings, and back.
pub mod codec;
/// Configuration, device profiles, key files.
pub mod config;
/// The demonstration without hardware.
pub mod demo;
/// The owner of all of the above.
pub mod gateway;
/// The shell: processes, sockets, disk, clock, journal.
pub mod io;
/// Frames to verified uplinks: the LoRaWAN network of this gateway.
pub mod network;
/// Nodes: identity, client, session, mailbox.
pub mod node;
/// NoSec or not: what the threat analysis permits.
pub mod policy;
/// Lines of a radio's plugin to frames, and back.
pub mod radio;
/// Sessions of proxies towards their servers.
pub mod session;
/// What must survive a power cut.
pub mod store;
