//! lpwad: LPWA radios on one side, LwM2M servers on the other, and one LwM2M client for each end node.
//!
//! The modules in the order of the frame:

/// Lines of a radio's plugin to frames, and back.
pub mod radio;
/// Frames to verified uplinks: the LoRaWAN network of this gateway.
pub mod network;
/// Nodes: identity, client, session, mailbox.
pub mod node;
/// Payload bytes to readings, and back.
pub mod codec;
/// Sessions of proxies towards their servers.
pub mod session;
/// NoSec or not: what the threat analysis permits.
pub mod policy;
/// What must survive a power cut.
pub mod store;
/// The owner of all of the above.
pub mod gateway;
/// Configuration, device profiles, key files.
pub mod config;
/// The shell: processes, sockets, disk, clock, journal.
pub mod io;
/// Command line.
pub mod cli;
/// The demonstration without hardware.
pub mod demo;
