//! What every dialect has in common: what goes in, what comes out, and how a modem can fail.

use crate::dialect::{LoraE5, Rn2483};
use lpwad_link::units::LoraDr;
use std::collections::BTreeMap;
use std::time::Duration;

/// How the modem shall be used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RadioConfig {
    /// The one frequency to listen on, in Hz.
    pub(crate) freq_hz: u32,
    /// The one data rate to listen on.
    pub(crate) dr: LoraDr,
    /// Speed of the serial line.
    pub(crate) baud: u32,
    /// From the end of a frame on air to the first byte of its report.
    pub(crate) rx_offset: Duration,
    /// From the end of the transmit command on the line to the start of the preamble.
    pub(crate) tx_offset: Duration,
    /// Highest output power in dBm.
    pub(crate) max_dbm: i8,
}

/// A frame to send; times are the plugin's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TxRequest {
    pub(crate) id: u64,
    /// Start of the preamble.
    pub(crate) at: Duration,
    pub(crate) freq_hz: u32,
    pub(crate) dr: LoraDr,
    pub(crate) dbm: f32,
    pub(crate) iq_inverted: bool,
    pub(crate) data: Vec<u8>,
}

/// A frame that was heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RxFrame {
    /// End of the frame on air.
    pub(crate) at: Duration,
    pub(crate) rssi_dbm: Option<i16>,
    pub(crate) snr_db: Option<f32>,
    pub(crate) data: Vec<u8>,
}

/// What became of a [`TxRequest`]; the words are those of the protocol.
pub(crate) use lpwad_link::message::TxStatus;

/// What a dialect asks its shell to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Write now.
    Write(Vec<u8>),
    /// Write exactly then; it is at most [`WRITE_AHEAD`] away.
    WriteAt { at: Duration, bytes: Vec<u8> },
    /// Hold the line low for a while (a break), then write.
    Break { then: Vec<u8> },
    /// Change the speed of the port.
    SetBaud(u32),
    /// The modem listens for the first time.
    Ready { model: String, freq_ranges_hz: Vec<[u32; 2]>, min_lead: Duration },
    /// A frame.
    Rx(RxFrame),
    /// The end of a [`TxRequest`]: exactly one for each.
    TxDone { id: u64, status: TxStatus, margin: Option<i32>, detail: Option<String> },
    /// The modem cannot be used; this is the end.
    Fault(Fault),
}

/// How early a dialect hands out [`Output::WriteAt`].
pub(crate) const WRITE_AHEAD: Duration = Duration::from_millis(2);

/// Why a modem cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "modem is silent though the port is there: no byte came back at {baud} baud nor at other speeds; \
         is it powered, and is this its port?"
    )]
    Silent { baud: u32 },
    #[error("modem sends only garbage at {baud} baud and at other speeds: not a modem of this dialect, or a bad line")]
    Garbage { baud: u32 },
    #[error("wrong baud rate: modem answers at {found} baud, the settings say {configured}; set baud = {found}")]
    WrongBaud { configured: u32, found: u32 },
    #[error("not a modem of this dialect: it says {said:?}")]
    WrongDialect { said: String },
    #[error("firmware {version} is too old: {needed} is needed at least")]
    Firmware { version: String, needed: &'static str },
    #[error("modem refuses {command:?}: {answer}")]
    Refused { command: String, answer: String },
}

/// Counters, by name. Names are stable.
pub(crate) type Counters = BTreeMap<&'static str, u64>;

/// A command language: a state machine without IO and without a clock.
///
/// Every call may produce outputs; the caller drains [`Dialect::poll`] after each. `now` never goes back.
pub(crate) trait Dialect {
    /// The port is open: set the modem up.
    fn start(&mut self, now: Duration);
    /// Bytes from the modem.
    fn handle_bytes(&mut self, now: Duration, bytes: &[u8]);
    /// A frame to send at its time.
    fn handle_tx(&mut self, now: Duration, request: TxRequest);
    /// When [`Dialect::tick`] wants to be called.
    fn deadline(&self) -> Option<Duration>;
    /// Time has passed.
    fn tick(&mut self, now: Duration);
    /// The next output.
    fn poll(&mut self) -> Option<Output>;
    /// Counters since the start.
    fn counters(&self) -> &Counters;
}

/// A row of [`DIALECTS`].
pub(crate) struct DialectInfo {
    /// Its name in the settings.
    pub(crate) name: &'static str,
    /// Speed of the modem's serial line as it leaves the factory.
    pub(crate) baud: u32,
    /// A state machine for one modem.
    pub(crate) new: fn(RadioConfig) -> Box<dyn Dialect>,
}

/// All dialects.
pub(crate) const DIALECTS: &[DialectInfo] = &[
    DialectInfo { name: "rn2483", baud: 57_600, new: |config| Box::new(Rn2483::new(config)) },
    DialectInfo { name: "lora-e5", baud: 9_600, new: |config| Box::new(LoraE5::new(config)) },
];

/// The dialect of that name.
pub(crate) fn dialect(name: &str) -> Option<&'static DialectInfo> {
    DIALECTS.iter().find(|dialect| dialect.name == name)
}
