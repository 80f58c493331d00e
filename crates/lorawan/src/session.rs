//! One session of a device: keys, counters, receive delay, channel pinning.

use crate::counter::{self, DownCounter, Verdict};
use crate::frame::{UnverifiedData, VerifiedData};
use crate::{DevAddr, Key};

/// A session as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// Address on the air.
    pub dev_addr: DevAddr,
    /// Network session key (MIC, MAC commands on port 0).
    pub nwk_s_key: Key,
    /// Application session key.
    pub app_s_key: Key,
    /// Last accepted uplink counter.
    pub fcnt_up: Option<u32>,
    /// Every downlink counter below this may have been used.
    pub fcnt_down_reserved: u32,
    /// RECEIVE_DELAY1 of this session in seconds, 1 to 15.
    pub rx1_delay_s: u8,
    /// Whether the device keeps to the channel of a single-channel radio.
    pub pin: Pin,
}

/// How far a device was brought to use one channel only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The state.
    pub state: PinState,
    /// The channel asked for, in Hz.
    pub freq_hz: u32,
    /// How often it was asked for since the last answer that accepted it.
    pub asked: u8,
    /// How often the device refused.
    pub refused: u8,
}

/// Whether a device keeps to the channel of a single-channel radio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PinState {
    /// Not asked.
    #[default]
    No,
    /// Asked, not answered yet.
    Asked,
    /// It does.
    Yes,
    /// It refused three times, or never answered; it is not asked again in this session.
    Refused,
}

/// A session at work.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) dev_addr: DevAddr,
    pub(crate) nwk_s_key: Key,
    pub(crate) app_s_key: Key,
    pub(crate) fcnt_up: Option<u32>,
    pub(crate) down: DownCounter,
    pub(crate) rx1_delay_s: u8,
    pub(crate) pin: Pin,
    /// MIC of the last accepted uplink, None after a restart.
    last_mic: Option<[u8; 4]>,
    /// How often the last accepted uplink was repeated; not stored.
    repeats: u8,
}

/// A device sends one uplink so often at most (NbTrans, LoRaWAN 1.0.4 §5.3); who repeats it more is somebody else, and each answer
/// costs airtime.
/// Counted: `drop_replay`.
const MAX_TRANSMISSIONS: u8 = 15;

impl Session {
    pub(crate) fn restore(record: SessionRecord) -> Session {
        Session {
            dev_addr: record.dev_addr,
            nwk_s_key: record.nwk_s_key,
            app_s_key: record.app_s_key,
            fcnt_up: record.fcnt_up,
            down: DownCounter::restore(record.fcnt_down_reserved),
            rx1_delay_s: record.rx1_delay_s.clamp(1, 15),
            pin: record.pin,
            last_mic: None,
            repeats: 0,
        }
    }

    /// The record that goes to disk with this ticket.
    pub(crate) fn record(&mut self, ticket: u64) -> SessionRecord {
        self.down.raise_if_low(ticket);
        SessionRecord {
            dev_addr: self.dev_addr,
            nwk_s_key: self.nwk_s_key.clone(),
            app_s_key: self.app_s_key.clone(),
            fcnt_up: self.fcnt_up,
            fcnt_down_reserved: self.down.reserved(),
            rx1_delay_s: self.rx1_delay_s,
            pin: self.pin,
        }
    }

    /// Tries the frame's MIC under every counter value it may have. None: the frame is not of this session.
    ///
    /// A repeated number is a retransmission only if the whole frame is the same; otherwise it is a replay, or, where a
    /// relaxed counter allows it, the first frame after a reset.
    pub(crate) fn verify(&self, frame: &UnverifiedData, relaxed: bool) -> Option<(VerifiedData, Verdict)> {
        counter::candidates(self.fcnt_up, frame.fcnt_lsb, relaxed).find_map(|(fcnt, verdict)| {
            let verified = frame.verify(fcnt, &self.nwk_s_key)?;
            let differs = self.last_mic.is_some_and(|mic| mic != frame.mic);
            let verdict = match verdict {
                Verdict::Retransmission if differs && relaxed && fcnt <= u32::from(u16::MAX) => Verdict::Reset,
                Verdict::Retransmission if differs => Verdict::Replay,
                other => other,
            };
            Some((verified, verdict))
        })
    }

    /// Takes note of an accepted uplink.
    pub(crate) fn accept(&mut self, fcnt: u32, mic: [u8; 4]) {
        self.fcnt_up = Some(fcnt);
        self.last_mic = Some(mic);
        self.repeats = 0;
    }

    /// Takes note of a repetition; false: there were too many.
    pub(crate) fn repeat(&mut self) -> bool {
        let answered = self.repeats < MAX_TRANSMISSIONS - 1;
        self.repeats += u8::from(answered);
        answered
    }
}
