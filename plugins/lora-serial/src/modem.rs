//! What every dialect has in common: what goes in, what comes out, and how a modem can fail.

use crate::dialect::{LoraE5, Rn2483};
use lpwad_link::units::LoraDr;
use std::collections::BTreeMap;
use std::time::Duration;

/// How the modem shall be used.
#[derive(Clone, Debug, PartialEq)]
pub struct RadioConfig {
    /// The one frequency to listen on, in Hz.
    pub freq_hz: u32,
    /// The one data rate to listen on.
    pub dr: LoraDr,
    /// Speed of the serial line.
    pub baud: u32,
    /// From the end of a frame on air to the first byte of its report.
    pub rx_offset: Duration,
    /// From the end of the transmit command on the line to the start of the preamble.
    pub tx_offset: Duration,
    /// Highest output power in dBm.
    pub max_dbm: i8,
}

/// A frame to send; times are the plugin's own.
#[derive(Clone, Debug, PartialEq)]
pub struct TxRequest {
    /// Number of the transmission.
    pub id: u64,
    /// Start of the preamble.
    pub at: Duration,
    /// Frequency in Hz.
    pub freq_hz: u32,
    /// Data rate.
    pub dr: LoraDr,
    /// Power in dBm.
    pub dbm: f32,
    /// Whether IQ is inverted, as in LoRaWAN downlinks.
    pub iq_inverted: bool,
    /// The frame, 1 to 255 bytes.
    pub data: Vec<u8>,
}

/// A frame that was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct RxFrame {
    /// End of the frame on air.
    pub at: Duration,
    /// Signal strength in dBm, if the modem tells it.
    pub rssi_dbm: Option<i16>,
    /// Signal to noise ratio in dB, if the modem tells it.
    pub snr_db: Option<f32>,
    /// The frame.
    pub data: Vec<u8>,
}

/// What became of a [`TxRequest`]; the words are those of the protocol.
pub use lpwad_link::message::TxStatus;

/// What a dialect asks its shell to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write now.
    Write(Vec<u8>),
    /// Write exactly then; it is at most [`WRITE_AHEAD`] away.
    WriteAt {
        /// When, by the plugin's clock.
        at: Duration,
        /// What.
        bytes: Vec<u8>,
    },
    /// Hold the line low for a while (a break), then write.
    Break {
        /// What is written after it.
        then: Vec<u8>,
    },
    /// Change the speed of the port.
    SetBaud(u32),
    /// The modem listens for the first time.
    Ready {
        /// Module and firmware, for people.
        model: String,
        /// Frequencies that it can use, lowest and highest, in Hz.
        freq_ranges_hz: Vec<[u32; 2]>,
        /// How long before its start a frame must be ordered.
        min_lead: Duration,
    },
    /// A frame.
    Rx(RxFrame),
    /// The end of a [`TxRequest`]: exactly one for each.
    TxDone {
        /// Number of the transmission.
        id: u64,
        /// What became of it.
        status: TxStatus,
        /// By how much the modem was ready before the time, in ms.
        margin: Option<i32>,
        /// Why, for people.
        detail: Option<String>,
    },
    /// The modem cannot be used; this is the end.
    Fault(Fault),
}

/// How early a dialect hands out [`Output::WriteAt`].
pub const WRITE_AHEAD: Duration = Duration::from_millis(2);

/// Why a modem cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It says nothing at any speed.
    #[error(
        "modem is silent though the port is there: no byte came back at {baud} baud nor at other speeds; \
         is it powered, and is this its port?"
    )]
    Silent {
        /// Configured speed.
        baud: u32,
    },
    /// It says nothing legible at any speed.
    #[error("modem sends only garbage at {baud} baud and at other speeds: not a modem of this dialect, or a bad line")]
    Garbage {
        /// Configured speed.
        baud: u32,
    },
    /// It answers at another speed.
    #[error("wrong baud rate: modem answers at {found} baud, the settings say {configured}; set baud = {found}")]
    WrongBaud {
        /// Configured speed.
        configured: u32,
        /// Its speed.
        found: u32,
    },
    /// It speaks another language.
    #[error("not a modem of this dialect: it says {said:?}")]
    WrongDialect {
        /// What it said, at most 40 characters.
        said: String,
    },
    /// Its firmware is too old.
    #[error("firmware {version} is too old: {needed} is needed at least")]
    Firmware {
        /// Its version line.
        version: String,
        /// Oldest that will do.
        needed: &'static str,
    },
    /// It refuses what it must do.
    #[error("modem refuses {command:?}: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// Its answer.
        answer: String,
    },
}

/// Counters, by name. Names are stable.
pub type Counters = BTreeMap<&'static str, u64>;

/// A command language: a state machine without IO and without a clock.
///
/// Every call may produce outputs; the caller drains [`Dialect::poll`] after each. `now` never goes back.
pub trait Dialect {
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
pub struct DialectInfo {
    /// Its name in the settings.
    pub name: &'static str,
    /// Speed of the modem's serial line as it leaves the factory.
    pub baud: u32,
    /// A state machine for one modem.
    pub new: fn(RadioConfig) -> Box<dyn Dialect>,
}

/// All dialects.
pub const DIALECTS: &[DialectInfo] = &[
    DialectInfo { name: "rn2483", baud: 57_600, new: |config| Box::new(Rn2483::new(config)) },
    DialectInfo { name: "lora-e5", baud: 9_600, new: |config| Box::new(LoraE5::new(config)) },
];

/// The dialect of that name.
pub fn dialect(name: &str) -> Option<&'static DialectInfo> {
    DIALECTS.iter().find(|dialect| dialect.name == name)
}
