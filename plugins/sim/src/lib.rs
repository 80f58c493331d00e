//! A simulated radio world for lpwad: LoRa modems on pseudo terminals with virtual end nodes behind them, and a small
//! LwM2M server.
//!
//! Inside out:
//! - [`node`]: an end node, which is the foreign crate `lorawan-device` (EU868, class A) with a schedule around it;
//! - [`air`]: the air between the nodes and one gateway: airtime, collisions, receive windows. Clock-free and
//!   independent of any modem, so that simulated-time tests drive it with frames;
//! - [`modem`]: an RN2483 as its serial line shows it, byte by byte; clock-free too;
//! - [`rig`]: modem and air wired together; still clock-free;
//! - [`shell`]: the rig on a pseudo terminal, in real time, with a command line in and JSON lines out.
//!
//! Beside it, and independent of it: [`server`], the LwM2M server.
//!
//! Not simulated: LoRaWAN 1.1, class B and C, FSK, regions other than EU868, clock drift of nodes, fading, and the
//! duty cycle of nodes (a node sends as often as it is told to). `lorawan-device` 0.12 sets limits of its own: no ADR
//! bit, LinkADRReq changes the channel mask only and is always accepted, no other MAC command is answered except
//! RXTimingSetupReq, no retransmission of confirmed uplinks, downlink counters of 16 bits. A LinkADRReq that masks
//! every channel of a node, or more than eight of them in one downlink, is more than that crate can bear.

pub mod air;
pub mod airtime;
pub mod command;
mod input;
pub mod modem;
pub mod node;
pub mod nodes_file;
mod phy;
pub mod report;
pub mod rig;
pub mod rng;
pub mod server;
pub mod shell;
