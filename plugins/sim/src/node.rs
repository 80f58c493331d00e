//! A virtual end node: `lorawan-device` (class A, LoRaWAN 1.0.x, EU868) with a schedule around it.
//!
//! The node's MAC is foreign code on purpose, so that it does not share a mistake with the network server under test.
//! This file gives it a radio (`phy.rs`), a clock and something to say. Its times are microseconds exact: the crate
//! counts milliseconds from the end of each uplink, which is where this file sets its zero.

use crate::air::{SYNC_PUBLIC, TxOnAir};
use crate::phy::Phy;
use crate::rng::Rng;
use lorawan_device::JoinMode;
use lorawan_device::default_crypto::DefaultFactory;
use lorawan_device::nb_device::radio::Event as PhyEvent;
use lorawan_device::nb_device::{self, Event, Response};
use lorawan_device::region::{Configuration, DR, Region};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Most uplinks that wait in a node; more are refused.
pub const MAX_QUEUED_UPLINKS: usize = 16;
/// Largest `rx_tolerance`: with more, RX1 would reach into RX2, which opens one second later.
pub const MAX_RX_TOLERANCE: Duration = Duration::from_millis(500);

/// DevEUI or JoinEUI, most significant byte first; written as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Eui(pub [u8; 8]);

impl fmt::Display for Eui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lpwad_link::hex::encode(&self.0))
    }
}

impl FromStr for Eui {
    type Err = BadEui;

    fn from_str(text: &str) -> Result<Self, BadEui> {
        let bytes = lpwad_link::hex::decode(text).map_err(|_| BadEui)?;
        Ok(Eui(bytes.try_into().map_err(|_| BadEui)?))
    }
}

/// Text that is not an EUI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an EUI is 16 hex digits")]
pub struct BadEui;

/// An AES key of a virtual node; not shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// How a node comes to its session.
#[derive(Clone, Debug)]
pub enum Activation {
    /// Over the air, tried until it succeeds.
    Otaa {
        /// JoinEUI (AppEUI).
        join_eui: Eui,
        /// AppKey.
        app_key: Key,
    },
    /// By personalisation; the node expects RECEIVE_DELAY1 = 1 s until told otherwise.
    Abp {
        /// Device address, most significant byte first.
        dev_addr: [u8; 4],
        /// NwkSKey.
        nwk_s_key: Key,
        /// AppSKey.
        app_s_key: Key,
        /// Counter of the first uplink.
        fcnt_up: u32,
    },
}

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// FPort, 1 to 223.
    pub fport: u8,
    /// FRMPayload, at most [`max_payload`] bytes.
    pub payload: Vec<u8>,
    /// Whether the node asks for an acknowledgement.
    pub confirmed: bool,
}

/// What a node is and does.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who it is.
    pub dev_eui: Eui,
    /// How it joins.
    pub activation: Activation,
    /// Spreading factor of its uplinks, 7 to 12 (125 kHz).
    pub sf: u8,
    /// Time between two uplinks, `None`: only when told.
    pub interval: Option<Duration>,
    /// What it sends, in turn.
    pub uplinks: Vec<Uplink>,
    /// Time from the start to the first transmission.
    pub start_delay: Duration,
    /// Wait after a failed join; doubled with each failure up to eight times, plus up to half of it at random.
    pub join_retry: Duration,
    /// How far a downlink's start may lie from the window's nominal time, at most [`MAX_RX_TOLERANCE`].
    pub rx_tolerance: Duration,
    /// Pins every uplink (and so RX1) to this frequency. A real EU868 node hops over three channels, and a gateway
    /// with one channel hears a third of its frames; this makes tests short and is not what the standard says.
    pub pinned_hz: Option<u32>,
    /// Signal strength at the gateway.
    pub rssi_dbm: i16,
    /// Signal to noise ratio at the gateway.
    pub snr_db: i8,
}

/// Longest FRMPayload at `sf` without MAC commands, as RP002-1.0.4 §2.4.6 (EU868, repeater compatible) has it.
#[must_use]
pub fn max_payload(sf: u8) -> usize {
    match sf {
        7 | 8 => 222,
        9 => 115,
        _ => 51,
    }
}

/// Receive window of class A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// First window: the uplink's channel.
    Rx1,
    /// Second window, one second later: 869.525 MHz SF12.
    Rx2,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Window::Rx1 => "rx1",
            Window::Rx2 => "rx2",
        })
    }
}

/// What a node tells the air.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NodeEvent {
    /// Starts to send now; `join` tells a join request from data.
    Transmit { frame: TxOnAir, join: bool },
    /// A data uplink goes out.
    UplinkSent { fcnt: u32, uplink: Uplink },
    /// The join accept was good.
    Joined { dev_addr: [u8; 4] },
    /// Neither window brought a join accept.
    JoinFailed,
    /// A data downlink was good.
    Received { fcnt: u32, fport: Option<u8>, payload: Vec<u8>, confirmed: bool, window: Window, window_error_us: i64 },
    /// A confirmed uplink was acknowledged.
    Acked { fcnt: u32 },
    /// A confirmed uplink was not acknowledged in either window.
    NoAck { fcnt: u32 },
    /// A downlink was heard and is not good: wrong MIC, old counter, or for somebody else.
    Rejected { window: Window },
    /// `lorawan-device` answered what it should not.
    Broken { detail: String },
}

/// A node's stack needs this long after its windows before it sends again; the modem listens again by then.
const TURNAROUND: Duration = Duration::from_millis(500);
/// And up to so many ms more by chance: two nodes that sent at the same instant do not collide for ever.
const JITTER_MS: u64 = 1_000;

/// An end node.
pub struct Node {
    config: NodeConfig,
    device: nb_device::Device<Phy, DefaultFactory, Rng, 256>,
    rng: Rng,
    joined: bool,
    failed_joins: u32,
    next_at: Option<Duration>,
    turn: usize,
    queue: VecDeque<Uplink>,
    exchange: Option<Exchange>,
    last_rx1: Option<Duration>,
    /// Nothing is sent before this.
    rests_until: Duration,
    events: Vec<NodeEvent>,
}

/// From the start of an uplink to the end of its windows.
struct Exchange {
    uplink_end: Duration,
    timer: Duration,
    window: Option<(Window, Duration)>,
    locked: bool,
    confirmed_fcnt: Option<u32>,
}

impl Node {
    /// A node that acts for the first time after its start delay.
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let purpose = u64::from_be_bytes(config.dev_eui.0);
        let mut device = new_device(&config, Rng::new(seed, purpose));
        let mut joined = false;
        if let Activation::Abp { dev_addr, nwk_s_key, app_s_key, fcnt_up } = &config.activation {
            let mut address = *dev_addr;
            address.reverse();
            let mut session = lorawan_device::mac::Session::new(nwk_s_key.0.into(), app_s_key.0.into(), address.into());
            session.fcnt_up = *fcnt_up;
            device.set_session(session);
            joined = true;
        }
        let mut node = Node {
            rng: Rng::new(seed, !purpose),
            device,
            joined,
            failed_joins: 0,
            next_at: None,
            turn: 0,
            queue: VecDeque::new(),
            exchange: None,
            last_rx1: None,
            rests_until: Duration::ZERO,
            events: Vec::new(),
            config,
        };
        if !joined || node.is_periodic() {
            node.next_at = Some(node.config.start_delay);
        }
        node
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Whether it has a session.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// Queues `uplink` to be sent as soon as the node has joined and is idle.
    pub(crate) fn enqueue(&mut self, uplink: Uplink) -> Result<(), String> {
        check(&uplink, self.config.sf)?;
        if self.queue.len() >= MAX_QUEUED_UPLINKS {
            return Err(format!("{MAX_QUEUED_UPLINKS} uplinks wait in this node already"));
        }
        self.queue.push_back(uplink);
        Ok(())
    }

    /// Loses its session, and what it was about to send; joins again after a second.
    pub(crate) fn reboot(&mut self, now: Duration) {
        if matches!(self.config.activation, Activation::Abp { .. }) {
            return;
        }
        let seed = self.rng.next();
        self.device = new_device(&self.config, Rng::new(seed, 0));
        self.joined = false;
        self.failed_joins = 0;
        self.queue.clear();
        self.exchange = None;
        self.next_at = Some(now + Duration::from_secs(1));
    }

    /// When [`Node::tick`] wants to be called. While a frame is being received there is no deadline:
    /// [`Node::deliver`] ends that state.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.exchange {
            Some(exchange) => (!exchange.locked).then_some(exchange.timer),
            None if self.joined && !self.queue.is_empty() => Some(self.rests_until),
            None => self.next_at,
        }
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        if self.deadline().is_none_or(|due| due > now) {
            return;
        }
        if self.exchange.is_some() {
            let response = self.device.handle_event(Event::TimeoutFired);
            self.advance(now, response);
        } else if self.joined {
            self.begin_uplink(now);
        } else {
            self.begin_join(now);
        }
    }

    pub(crate) fn drain_events(&mut self) -> Vec<NodeEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether the receiver is open for `frame` now. What a LoRaWAN downlink must be: inverted IQ, no payload CRC,
    /// public sync word (LoRaWAN 1.0.4 §3.3, RP002-1.0.4 §2.4.1).
    pub(crate) fn hears(&mut self, frame: &TxOnAir) -> bool {
        let free = self.exchange.as_ref().is_some_and(|exchange| !exchange.locked);
        let downlink = frame.iq_inverted && !frame.crc && frame.sync_word == SYNC_PUBLIC;
        free && downlink && self.phy().listening == Some(frame.on)
    }

    /// Locks the receiver on a frame that starts `now` and ends later; gives its distance from the nominal start.
    pub(crate) fn lock(&mut self, now: Duration) -> i64 {
        let Some(exchange) = self.exchange.as_mut() else { return 0 };
        exchange.locked = true;
        exchange.window.map_or(0, |(_, nominal)| signed_us(now, nominal))
    }

    /// Distance of `start` from the nearer of the last two windows, if the last uplink is not older than 20 s.
    pub(crate) fn window_error_us(&self, start: Duration) -> Option<i64> {
        let rx1 = self.last_rx1?;
        let rx2 = rx1 + Duration::from_secs(1);
        [signed_us(start, rx1), signed_us(start, rx2)]
            .into_iter()
            .min_by_key(|error| error.abs())
            .filter(|error| error.abs() < 20_000_000)
    }

    /// Ends the reception of a frame on which the node had locked; `None`: it was lost on the way.
    pub(crate) fn deliver(&mut self, now: Duration, data: Option<&[u8]>, window_error_us: i64) {
        let Some(exchange) = self.exchange.as_mut() else { return };
        exchange.locked = false;
        let Some((window, _)) = exchange.window else { return };
        let confirmed_fcnt = exchange.confirmed_fcnt;
        let Some(data) = data else { return };
        self.phy().received = data.to_vec();
        match self.device.handle_event(Event::RadioEvent(PhyEvent::Phy(()))) {
            Ok(Response::NoUpdate) => {
                if self.is_addressed(data) {
                    self.events.push(NodeEvent::Rejected { window });
                }
            }
            Ok(Response::DownlinkReceived(fcnt)) => {
                let (fport, payload) = match self.device.take_downlink() {
                    Some(downlink) => (Some(downlink.fport), downlink.data.to_vec()),
                    None => (None, Vec::new()),
                };
                let confirmed = data.first().is_some_and(|mhdr| mhdr >> 5 == 0b101);
                let ack = data.get(5).is_some_and(|fctrl| fctrl & 0x20 != 0);
                self.events.push(NodeEvent::Received { fcnt, fport, payload, confirmed, window, window_error_us });
                if let Some(fcnt) = confirmed_fcnt {
                    self.events.push(if ack { NodeEvent::Acked { fcnt } } else { NodeEvent::NoAck { fcnt } });
                }
                self.finish(now);
            }
            response => self.advance(now, response),
        }
    }

    fn begin_join(&mut self, now: Duration) {
        self.next_at = None;
        let Activation::Otaa { join_eui, app_key } = &self.config.activation else { return };
        let (mut dev_eui, mut join_eui) = (self.config.dev_eui.0, join_eui.0);
        dev_eui.reverse();
        join_eui.reverse();
        let mode = JoinMode::OTAA { deveui: dev_eui.into(), appeui: join_eui.into(), appkey: app_key.0.into() };
        let response = self.device.join(mode);
        self.begin(now, response, true, None);
    }

    fn begin_uplink(&mut self, now: Duration) {
        let uplink = match self.queue.pop_front() {
            Some(uplink) => uplink,
            None => {
                let count = self.config.uplinks.len();
                let Some(uplink) = self.config.uplinks.get(self.turn.checked_rem(count).unwrap_or(0)).cloned() else {
                    self.next_at = None;
                    return;
                };
                self.turn = self.turn.wrapping_add(1);
                self.next_at = self.config.interval.map(|interval| now + interval);
                uplink
            }
        };
        let fcnt = self.device.get_fcnt_up().unwrap_or(0);
        let response = self.device.send(&uplink.payload, uplink.fport, uplink.confirmed);
        let confirmed_fcnt = uplink.confirmed.then_some(fcnt);
        self.events.push(NodeEvent::UplinkSent { fcnt, uplink });
        self.begin(now, response, false, confirmed_fcnt);
    }

    fn begin(&mut self, now: Duration, response: DeviceResult, join: bool, confirmed_fcnt: Option<u32>) {
        let Some((on, power_dbm, data)) = self.phy().sent.take() else {
            return self.broken(now, format!("no frame to send: {}", describe(&response)));
        };
        let frame = TxOnAir::uplink(on, power_dbm, data);
        let uplink_end = now + frame.airtime();
        self.events.push(NodeEvent::Transmit { frame, join });
        self.exchange = Some(Exchange { uplink_end, timer: uplink_end, window: None, locked: false, confirmed_fcnt });
        self.advance(now, response);
        let tolerance = self.tolerance();
        self.last_rx1 = self.exchange.as_ref().map(|exchange| exchange.timer + tolerance);
    }

    fn advance(&mut self, now: Duration, response: DeviceResult) {
        let tolerance = self.tolerance();
        let listening = self.phy().listening.is_some();
        match (response, &mut self.exchange) {
            (Ok(Response::TimeoutRequest(ms)), Some(exchange)) => {
                if listening {
                    let window = if exchange.window.is_none() { Window::Rx1 } else { Window::Rx2 };
                    exchange.window = Some((window, exchange.timer + tolerance));
                }
                exchange.timer = exchange.uplink_end + Duration::from_millis(u64::from(ms));
            }
            (Ok(Response::JoinSuccess), _) => {
                let mut dev_addr = [0; 4];
                if let Some(session) = self.device.get_session() {
                    dev_addr.copy_from_slice(session.devaddr.as_ref());
                    dev_addr.reverse();
                }
                self.joined = true;
                self.failed_joins = 0;
                self.events.push(NodeEvent::Joined { dev_addr });
                if let Some(interval) = self.config.interval.filter(|_| self.is_periodic()) {
                    let soon = Duration::from_millis(1_000 + self.rng.below(2_000));
                    self.next_at = Some(now + soon.min(interval));
                }
                self.finish(now);
            }
            (Ok(Response::NoJoinAccept), _) => {
                self.events.push(NodeEvent::JoinFailed);
                let pause = self.config.join_retry * (1 << self.failed_joins.min(3));
                let jitter = Duration::from_millis(self.rng.below(pause.as_millis() as u64 / 2));
                self.failed_joins = self.failed_joins.saturating_add(1);
                self.next_at = Some(now + pause + jitter);
                self.finish(now);
            }
            (Ok(Response::NoAck), exchange) => {
                let fcnt = exchange.as_ref().and_then(|exchange| exchange.confirmed_fcnt);
                self.events.extend(fcnt.map(|fcnt| NodeEvent::NoAck { fcnt }));
                self.finish(now);
            }
            (Ok(Response::RxComplete), _) => self.finish(now),
            (Ok(Response::SessionExpired), _) => {
                self.joined = matches!(self.config.activation, Activation::Abp { .. });
                self.broken(now, "frame counter used up".into());
            }
            (response, _) => self.broken(now, format!("unexpected {}", describe(&response))),
        }
    }

    fn broken(&mut self, now: Duration, detail: String) {
        self.events.push(NodeEvent::Broken { detail });
        self.next_at = Some(now + self.config.join_retry.max(Duration::from_secs(1)));
        self.finish(now);
    }

    fn finish(&mut self, now: Duration) {
        self.rests_until = now + TURNAROUND + Duration::from_millis(self.rng.below(JITTER_MS));
        self.exchange = None;
        self.phy().listening = None;
    }

    fn is_periodic(&self) -> bool {
        self.config.interval.is_some() && !self.config.uplinks.is_empty()
    }

    fn is_addressed(&self, data: &[u8]) -> bool {
        let own = self.device.get_session().map(|session| session.devaddr);
        match own {
            Some(own) => data.get(1..5).is_some_and(|address| address == own.as_ref()),
            None => data.first().is_some_and(|mhdr| mhdr >> 5 == 0b001),
        }
    }

    fn tolerance(&self) -> Duration {
        self.config.rx_tolerance.min(MAX_RX_TOLERANCE)
    }

    fn phy(&mut self) -> &mut Phy {
        self.device.get_radio()
    }
}

/// The foreign stack of a node without a session.
fn new_device(config: &NodeConfig, rng: Rng) -> nb_device::Device<Phy, DefaultFactory, Rng, 256> {
    let phy = Phy::new(config.rx_tolerance.min(MAX_RX_TOLERANCE), config.pinned_hz);
    let mut device = nb_device::Device::new(Configuration::new(Region::EU868), phy, rng);
    device.set_datarate(match config.sf {
        7 => DR::_5,
        8 => DR::_4,
        9 => DR::_3,
        10 => DR::_2,
        11 => DR::_1,
        _ => DR::_0,
    });
    device
}

/// Whether a node at `sf` can send `uplink`.
pub(crate) fn check(uplink: &Uplink, sf: u8) -> Result<(), String> {
    if !(1..=223).contains(&uplink.fport) {
        return Err(format!("FPort {} is not an application port (1 to 223)", uplink.fport));
    }
    if uplink.payload.len() > max_payload(sf) {
        return Err(format!("{} bytes do not fit: at SF{sf} at most {}", uplink.payload.len(), max_payload(sf)));
    }
    Ok(())
}

fn signed_us(time: Duration, reference: Duration) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    micros(time) - micros(reference)
}

type DeviceResult = Result<Response, nb_device::Error<Phy>>;

fn describe(response: &DeviceResult) -> String {
    match response {
        Ok(response) => format!("{response:?}"),
        Err(nb_device::Error::Radio(())) => "radio error".into(),
        Err(nb_device::Error::State(error)) => format!("{error:?}"),
        Err(nb_device::Error::Mac(error)) => format!("{error:?}"),
    }
}
