//! A LoRaWAN network server for one or more radios, as a state machine: frames, saved records and the time go in; frames
//! to send, records to save and news come out. No sockets, no clock, no randomness, no threads.
//!
//! ```text
//! handle_rx ──► dedup ─► frame ─► join / session + counter ─► mac ─► Output::Uplink
//!                                          │                          Output::Save ──► disk ──► handle_saved
//! set_downlink ─► outbox ─► decide, shortly before a window ─► Output::Transmit ──► radio ──► handle_tx_done
//! ```
//!
//! # Implemented
//!
//! LoRaWAN 1.0.0 to 1.0.4, class A, EU863-870:
//! - join by OTAA (1.0.4 §6.2): every DevNonce is accepted once, JoinNonce counts up per device, RxDelay is given in the
//!   accept, no CFList; the old session stays until the new one is used. ABP (§6.3), with a relaxed counter on request.
//! - data frames (§4): 32-bit counters, replays refused once the MIC has proved the number, up to 65 535 lost frames in a row,
//!   retransmissions answered again, up to 14 times, several devices on one DevAddr, acknowledgements, confirmed downlinks with three
//!   repetitions, ADRACKReq answered.
//! - MAC commands: LinkCheckReq (§5.1); LinkADRReq only to keep a device on the channel of a single-channel radio (§5.2).
//! - RX1 and RX2 by the radio that heard best, RX2 when RX1 cannot be met; one transmission of a radio at a time.
//! - duty cycle of ETSI EN 300 220-2 over every sliding hour, per radio.
//!
//! # Power cuts
//!
//! A downlink counter or JoinNonce is used only when the record that says so is on disk. Counters are reserved in blocks
//! of 32; after a restart counting goes on behind the block. An acknowledgement leaves when the uplink's counter is saved.
//! A number that was once given to a radio is never used for other content, sent or not. Keys that are changed and changed back find
//! their counters and nonces again (`shelf.rs`).
//!
//! # Not supported
//!
//! - LoRaWAN 1.1 (a 1.1 device may fall back to 1.0: its NwkKey is then the AppKey here), rejoin requests.
//! - Class B and C, multicast, roaming, external join server (TS002), relay (TS011).
//! - FSK and LR-FHSS data rates; regions other than EU863-870; CFList, and other channels than the three default ones for
//!   answers that name channels.
//! - ADR as such; DeviceTimeReq, DevStatusReq, RXParamSetupReq, RXTimingSetupReq, NewChannelReq, DlChannelReq,
//!   TxParamSetupReq, DutyCycleReq. Such commands from a device are counted and left unanswered.
//! - The duty cycle is forgotten when the network is dropped: who restarts often has to mind it.
//!
//! # Bounds
//!
//! Per device: one undecided answer, one downlink on its way and one waiting, 65 536 nonces and what belongs to eight former keys, two waits for a save and one
//! more for each join not saved yet. Per network: 256 frames for
//! the recognition of copies, 16 copies of a frame, 1 024 transmissions in the hands of radios, 64 planned per radio, 8 192
//! remembered for the duty cycle per radio. Outputs are bounded by the caller, who drains them after every input.

#![deny(clippy::indexing_slicing)]

mod airtime;
mod counter;
mod counters;
mod dedup;
mod device;
mod downlink;
mod frame;
mod ids;
mod join;
mod keys;
mod mac;
mod network;
mod outbox;
mod output;
mod radio;
mod region;
mod regulation;
mod session;
mod shelf;

pub use airtime::time_on_air;
pub use counters::Counters;
pub use device::{Activation, ActivationKind, Device, DeviceRecord, DeviceStatus};
pub use ids::{DevAddr, DevEui, JoinEui, ParseIdError, RadioId};
pub use keys::Key;
pub use network::{Network, Settings};
pub use outbox::Downlink;
pub use output::{DownlinkOutcome, DropReason, Output, RefusedReason, TxFailure, Uplink};
pub use radio::{RadioSheet, RxFrame, TxFrame, TxOutcome};
pub use region::{DataRate, Region};
pub use session::{Pin, PinState, SessionRecord};
pub use shelf::{KeyMark, Shelved};
