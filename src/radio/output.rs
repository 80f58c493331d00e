//! What comes out of the state machine of a radio.

use super::Cause;
use core::time::Duration;
use lpwad_lorawan::{RadioSheet, RxFrame, TxOutcome};

/// What a radio wants or says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Start the plugin.
    Start,
    /// Write a line to it.
    Write(String),
    /// End it.
    Kill,
    /// It works; nodes can be heard.
    Ready(RadioSheet),
    /// A frame was heard.
    Rx(RxFrame),
    /// What became of a frame.
    TxDone {
        /// Id of the frame.
        id: u64,
        /// Outcome.
        outcome: TxOutcome,
        /// By how much it was ready before its time, in ms.
        margin_ms: Option<i32>,
    },
    /// It does not work any more.
    Lost {
        /// Why.
        cause: Cause,
        /// The same for people.
        reason: String,
        /// How long until it is started again.
        retry_in: Duration,
    },
    /// The plugin reports a fault, or (`None`) that it is over.
    Fault(Option<String>),
    /// What its modem says of the network, in [`Radio::said`](super::Radio::said), is another thing.
    Facts,
    /// The radio clock went this much further than the time did, in ms; negative: less far.
    ClockJumped(i64),
}
