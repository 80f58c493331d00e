//! Everything the network says.

use crate::{DataRate, DevAddr, DevEui, DeviceRecord, RadioId, TxFrame, TxOutcome};

/// What the caller has to do or may want to know. Drained with [`Network::poll`](crate::Network::poll) after every input.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Store this record in place of the device's former one, then call
    /// [`Network::handle_saved`](crate::Network::handle_saved). Records of one device must reach the disk in order.
    Save {
        /// Rises by one with each save.
        ticket: u64,
        /// Whose record.
        dev_eui: DevEui,
        /// What to store. Contains keys.
        record: DeviceRecord,
    },
    /// Send this frame.
    Transmit {
        /// By this radio.
        radio: RadioId,
        /// The frame.
        frame: TxFrame,
    },
    /// A device said something new.
    Uplink(Uplink),
    /// A join accept was given to a radio.
    Joined {
        /// Which device.
        dev_eui: DevEui,
        /// Its new address.
        dev_addr: DevAddr,
        /// The nonce of its request.
        dev_nonce: u16,
    },
    /// The device used its new session for the first time; the old one is gone.
    Activated {
        /// Which device.
        dev_eui: DevEui,
        /// Its address now.
        dev_addr: DevAddr,
    },
    /// What became of an application downlink.
    Downlink {
        /// For which device.
        dev_eui: DevEui,
        /// The caller's number.
        id: u64,
        /// The news.
        outcome: DownlinkOutcome,
    },
    /// A frame was not accepted.
    Dropped {
        /// Which radio heard it.
        radio: RadioId,
        /// Why.
        reason: DropReason,
        /// The address it claims: 8 hex digits of a DevAddr or 16 of a DevEUI. Not verified.
        dev_addr_or_eui: Option<String>,
    },
    /// A device repeated its last uplink; it is answered again, not delivered again.
    Retransmission {
        /// Which device.
        dev_eui: DevEui,
        /// The counter of that uplink.
        fcnt: u32,
    },
    /// An answer to a device was not sent in any window. A downlink in it waits for the next uplink.
    TxFailed {
        /// For which device.
        dev_eui: DevEui,
        /// By the radio that heard it best.
        radio: RadioId,
        /// Why not in the last window tried.
        reason: TxFailure,
    },
}

/// An uplink: MIC proved, decrypted, never delivered before.
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    /// From which device.
    pub dev_eui: DevEui,
    /// Its address.
    pub dev_addr: DevAddr,
    /// Full uplink counter.
    pub fcnt: u32,
    /// None: no payload. 0: only MAC commands, which are already taken out.
    pub fport: Option<u8>,
    /// Plain payload, up to 242 bytes.
    pub payload: Vec<u8>,
    /// Whether the device asked for an acknowledgement (it gets one without further ado).
    pub confirmed: bool,
    /// The radio that reported it first.
    pub radio: RadioId,
    /// End of the frame by that radio's clock, in microseconds.
    pub at_us: u64,
    /// Frequency in Hz.
    pub freq_hz: u32,
    /// Data rate.
    pub dr: DataRate,
    /// Signal strength there.
    pub rssi_dbm: Option<i16>,
    /// Signal to noise ratio there.
    pub snr_db: Option<f32>,
}

/// What became of an application downlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownlinkOutcome {
    /// It was on the air; said once, for unconfirmed and confirmed ones.
    Sent {
        /// Under this counter.
        fcnt: u32,
    },
    /// The device acknowledged a confirmed one.
    Acked,
    /// The device never acknowledged a confirmed one.
    NoAck {
        /// Transmissions made.
        tries: u8,
    },
    /// It will not be sent.
    Refused(RefusedReason),
}

/// Why a downlink is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedReason {
    /// Too long for the data rates of the device's windows.
    TooLong {
        /// Bytes that would fit.
        max: usize,
    },
    /// FPort is not 1 to 223.
    BadPort,
    /// No such device.
    UnknownDevice,
    /// The radio failed to send it, and meanwhile a newer one was set.
    Replaced,
}

/// Why a frame was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The MIC fits no key of the claimed device or address.
    BadMic,
    /// No such device or address, or not with this JoinEUI.
    UnknownDevice,
    /// A join request with a nonce used before.
    DevNonceReused(u16),
    /// 2^24 join accepts were made for this device.
    JoinNoncesUsedUp,
    /// A counter older than the last accepted one, or the last one more often than a device repeats it, with proved MIC.
    Replay(u32),
    /// Not a LoRaWAN frame, or one that contradicts itself.
    Malformed,
    /// A downlink, a rejoin request or a proprietary frame.
    UnsupportedMtype,
    /// Not LoRaWAN R1.
    UnsupportedMajor,
    /// A data rate that is not in the region's plan.
    NotInPlan,
    /// Another copy of a frame just received. It still counts for the choice of the radio that answers.
    Duplicate,
    /// The reporting radio was not added.
    UnknownRadio,
}

/// Why an answer was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxFailure {
    /// Too little time was left.
    TooLate,
    /// The duty cycle of the band is used up.
    DutyCycle,
    /// The radio is already transmitting then.
    NoWindow,
    /// The frequency lies in no band where transmitting is allowed.
    NoBand,
    /// What it depends on is not on disk yet.
    NotSaved,
    /// The answer does not fit the window's data rate.
    TooLong,
    /// The radio is gone.
    RadioGone,
    /// The radio did not tell what became of it.
    NoReport,
    /// What the radio told.
    Radio(TxOutcome),
}
