//! An end device as configured, as stored, and as shown.

use crate::session::{Pin, PinState, Session, SessionRecord};
use crate::shelf::{KeyMark, Shelved};
use crate::{DataRate, DevAddr, DevEui, JoinEui, Key, outbox::Outbox};
use std::collections::BTreeSet;

/// How a device gets its session.
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// Over the air (LoRaWAN 1.0.4 §6.2).
    Otaa {
        /// Only this JoinEUI is accepted; None accepts any.
        join_eui: Option<JoinEui>,
        /// The root key. A LoRaWAN 1.1 device that falls back to 1.0 uses its NwkKey here.
        app_key: Key,
    },
    /// By personalization (LoRaWAN 1.0.4 §6.3).
    Abp {
        /// The fixed address.
        dev_addr: DevAddr,
        /// The fixed network session key.
        nwk_s_key: Key,
        /// The fixed application session key.
        app_s_key: Key,
        /// Accept an uplink counter that starts again at a low number. This lets anybody replay old frames; only for
        /// devices that forget their counter at power-up.
        relaxed_counter: bool,
    },
}

/// A configured device.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its identity.
    pub dev_eui: DevEui,
    /// How it gets a session.
    pub activation: Activation,
}

/// Everything of a device that must survive a power cut. Plain data; the caller stores it as one unit, and gives it back whatever
/// the device's keys are then: it holds which part belongs to which keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceRecord {
    /// Of the AppKey that nonces and sessions belong to; None for a device that is activated by personalization.
    pub app_key_mark: Option<KeyMark>,
    /// All nonces of accepted join requests; at most 65 536.
    pub used_dev_nonces: BTreeSet<u16>,
    /// The number for the next join accept. The first one used is 1.
    pub next_join_nonce: u32,
    /// The session in use.
    pub session: Option<SessionRecord>,
    /// The session offered by the last join accept, until the device uses it.
    pub pending: Option<SessionRecord>,
    /// What belongs to other keys that the device had and used, at most 8, the newest last.
    pub shelved: Vec<Shelved>,
}

/// How a device is activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    /// Over the air.
    Otaa,
    /// By personalization.
    Abp,
}

/// What can be shown of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceStatus {
    /// How it is activated.
    pub activation: ActivationKind,
    /// Whether it has a session in use.
    pub joined: bool,
    /// Address of the session in use.
    pub dev_addr: Option<DevAddr>,
    /// Last accepted uplink counter.
    pub fcnt_up: Option<u32>,
    /// The next downlink counter.
    pub fcnt_down: Option<u32>,
    /// Whether the device keeps to the channel of a single-channel radio.
    pub pinned: PinState,
    /// Data rate of the last uplink; not stored.
    pub last_dr: Option<DataRate>,
}

/// A device at work.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) activation: Activation,
    app_key_mark: Option<KeyMark>,
    shelved: Vec<Shelved>,
    pub(crate) used_dev_nonces: BTreeSet<u16>,
    pub(crate) next_join_nonce: u32,
    pub(crate) session: Option<Session>,
    pub(crate) pending: Option<Session>,
    pub(crate) outbox: Outbox,
    /// Ticket of the last save; 0 if none was needed since the start.
    pub(crate) last_ticket: u64,
    pub(crate) last_dr: Option<DataRate>,
    /// The addresses under which the network looks for this device.
    pub(crate) indexed: Vec<DevAddr>,
}

impl Node {
    /// Restores a device. One whose keys or address were changed starts anew, until they are changed back.
    pub(crate) fn new(activation: Activation, record: DeviceRecord, default_rx1_delay_s: u8) -> Node {
        let record = record.turn_to(&activation);
        let session = match &activation {
            Activation::Otaa { .. } => record.session,
            Activation::Abp { dev_addr, nwk_s_key, app_s_key, .. } => record.session.or_else(|| {
                Some(SessionRecord {
                    dev_addr: *dev_addr,
                    nwk_s_key: nwk_s_key.clone(),
                    app_s_key: app_s_key.clone(),
                    fcnt_up: None,
                    fcnt_down_reserved: 0,
                    rx1_delay_s: default_rx1_delay_s,
                    pin: Pin::default(),
                })
            }),
        };
        Node {
            activation,
            app_key_mark: record.app_key_mark,
            shelved: record.shelved,
            used_dev_nonces: record.used_dev_nonces,
            next_join_nonce: record.next_join_nonce,
            session: session.map(Session::restore),
            pending: record.pending.map(Session::restore),
            outbox: Outbox::default(),
            last_ticket: 0,
            last_dr: None,
            indexed: Vec::new(),
        }
    }

    /// The record that goes to disk with this ticket; reserves downlink counters ahead where they run low.
    pub(crate) fn record(&mut self, ticket: u64) -> DeviceRecord {
        self.last_ticket = ticket;
        DeviceRecord {
            app_key_mark: self.app_key_mark,
            used_dev_nonces: self.used_dev_nonces.clone(),
            next_join_nonce: self.next_join_nonce,
            session: self.session.as_mut().map(|session| session.record(ticket)),
            pending: self.pending.as_mut().map(|session| session.record(ticket)),
            shelved: self.shelved.clone(),
        }
    }

    /// Whether counters are reserved with this ticket.
    pub(crate) fn awaits(&self, ticket: u64) -> bool {
        [&self.session, &self.pending].into_iter().flatten().any(|session| session.down.awaits(ticket))
    }

    pub(crate) fn saved_through(&mut self, ticket: u64) {
        for session in [&mut self.session, &mut self.pending].into_iter().flatten() {
            session.down.saved_through(ticket);
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = DevAddr> {
        [&self.session, &self.pending].into_iter().flatten().map(|session| session.dev_addr)
    }

    pub(crate) fn is_relaxed(&self) -> bool {
        matches!(self.activation, Activation::Abp { relaxed_counter: true, .. })
    }

    pub(crate) fn status(&self) -> DeviceStatus {
        let session = self.session.as_ref();
        DeviceStatus {
            activation: match self.activation {
                Activation::Otaa { .. } => ActivationKind::Otaa,
                Activation::Abp { .. } => ActivationKind::Abp,
            },
            joined: session.is_some(),
            dev_addr: session.map(|s| s.dev_addr),
            fcnt_up: session.and_then(|s| s.fcnt_up),
            fcnt_down: session.map(|s| s.down.next()),
            pinned: session.map_or(PinState::No, |s| s.pin.state),
            last_dr: self.last_dr,
        }
    }
}
