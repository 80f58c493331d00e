//! The air between one gateway and its nodes: what is sent, how long it lasts, who hears it.
//!
//! No clock, no modem: the caller says what time it is and which frame the gateway sends, then drains [`Air::poll`].
//! Everything is processed at the time it is due, whatever the caller's steps are, so that one seed gives one run.
//!
//! Rules: an uplink is lost if the gateway sends at the same time (half duplex), or if another uplink overlaps on the
//! same frequency and data rate and is not at least 6 dB weaker; a downlink is heard by the nodes whose receive window
//! has its frequency and data rate and is open when the preamble starts. Propagation takes no time.

use crate::airtime;
use crate::node::{Eui, Node, NodeConfig, NodeEvent, Uplink, Window};
use crate::rng::Rng;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Public LoRaWAN sync word (RP002-1.0.4 §2.4.1, EU868).
pub const SYNC_PUBLIC: u8 = 0x34;
/// Most events that wait for [`Air::poll`]; the oldest is dropped and counted.
pub const MAX_EVENTS: usize = 65_536;
/// Most copies (`replay`) on the air at a time; more are refused.
pub const MAX_REPLAYS: usize = 64;
/// How much stronger a frame must be to survive a collision, in dB.
const CAPTURE_DB: i16 = 6;

/// Where and how a frame is modulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulation {
    /// Centre frequency in Hz.
    pub freq_hz: u32,
    /// Spreading factor, 7 to 12.
    pub sf: u8,
    /// Bandwidth in Hz.
    pub bw_hz: u32,
}

/// A LoRa frame as it is sent: explicit header, coding rate 4/5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxOnAir {
    /// Frequency and data rate.
    pub on: Modulation,
    /// Inverted IQ, as LoRaWAN downlinks have it.
    pub iq_inverted: bool,
    /// Whether a payload CRC follows, as LoRaWAN uplinks have it.
    pub crc: bool,
    /// Sync word.
    pub sync_word: u8,
    /// Preamble length in symbols.
    pub preamble: u16,
    /// Power in dBm, as the sender was told.
    pub power_dbm: i8,
    /// PHYPayload, at most 255 bytes.
    pub data: Vec<u8>,
}

impl TxOnAir {
    /// A frame with the settings of a LoRaWAN uplink.
    #[must_use]
    pub fn uplink(on: Modulation, power_dbm: i8, data: Vec<u8>) -> Self {
        TxOnAir { on, iq_inverted: false, crc: true, sync_word: SYNC_PUBLIC, preamble: 8, power_dbm, data }
    }

    /// A frame with the settings of a LoRaWAN downlink.
    #[must_use]
    pub fn downlink(on: Modulation, power_dbm: i8, data: Vec<u8>) -> Self {
        TxOnAir { iq_inverted: true, crc: false, ..TxOnAir::uplink(on, power_dbm, data) }
    }

    /// Time on air.
    #[must_use]
    pub fn airtime(&self) -> Duration {
        airtime::time_on_air(self.on.sf, self.on.bw_hz, self.preamble, self.crc, self.data.len())
    }
}

/// An uplink as it reaches the gateway's antenna; whether a modem listens to that channel is the modem's affair.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The frame.
    pub frame: TxOnAir,
    /// Signal strength in dBm.
    pub rssi_dbm: i16,
    /// Signal to noise ratio in dB.
    pub snr_db: i8,
    /// Start of the preamble.
    pub start: Duration,
    /// End of the frame.
    pub end: Duration,
}

/// Direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a node.
    Up,
    /// From the gateway.
    Down,
}

/// What happened on the air.
#[derive(Clone, Debug, PartialEq)]
pub enum AirEvent {
    /// A frame has begun: every one, heard or not.
    OnAir {
        /// From whom.
        direction: Direction,
        /// Start of the preamble.
        start: Duration,
        /// End of the frame.
        end: Duration,
        /// The frame.
        frame: TxOnAir,
    },
    /// A frame has reached the gateway.
    ToGateway(Heard),
    /// A node sends data.
    UplinkSent {
        /// Which node.
        dev_eui: Eui,
        /// Its 32-bit counter.
        fcnt: u32,
        /// What it sends.
        uplink: Uplink,
    },
    /// A node has its session.
    NodeJoined {
        /// Which node.
        dev_eui: Eui,
        /// Device address, most significant byte first.
        dev_addr: [u8; 4],
    },
    /// A node got no join accept and will try again.
    JoinFailed {
        /// Which node.
        dev_eui: Eui,
    },
    /// A node has taken a downlink.
    NodeReceived {
        /// Which node.
        dev_eui: Eui,
        /// Counter of the downlink.
        fcnt: u32,
        /// FPort, `None` without application data.
        fport: Option<u8>,
        /// FRMPayload, decrypted.
        payload: Vec<u8>,
        /// Whether the network asks for an acknowledgement.
        confirmed: bool,
        /// In which window.
        window: Window,
        /// Start of the preamble minus nominal start of the window, in µs.
        window_error_us: i64,
    },
    /// A node's confirmed uplink was acknowledged.
    Acked {
        /// Which node.
        dev_eui: Eui,
        /// Counter of the uplink.
        fcnt: u32,
    },
    /// A node's confirmed uplink was not acknowledged.
    NoAck {
        /// Which node.
        dev_eui: Eui,
        /// Counter of the uplink.
        fcnt: u32,
    },
    /// A frame did not get through.
    Missed {
        /// Which way it went.
        direction: Direction,
        /// The node, where it is known.
        dev_eui: Option<Eui>,
        /// Why, for people.
        reason: String,
        /// For a downlink that met no window: its distance from the nearest one.
        window_error_us: Option<i64>,
    },
    /// The foreign node code did what it should not.
    NodeBroken {
        /// Which node.
        dev_eui: Eui,
        /// What.
        detail: String,
    },
}

/// An order from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A node shall send, as soon as it has joined and is idle.
    Uplink {
        /// Which node.
        dev_eui: Eui,
        /// What.
        uplink: Uplink,
    },
    /// A node loses its memory and joins again; one activated by personalisation stays as it is.
    Reboot {
        /// Which node.
        dev_eui: Eui,
    },
    /// The next so many uplinks are lost.
    Drop(u32),
    /// The next so many downlinks are lost.
    DropDown(u32),
    /// The next so many uplinks arrive with one bit flipped.
    Corrupt(u32),
    /// The last data uplink is sent again, byte for byte.
    Replay,
    /// The last join request is sent again, byte for byte.
    ReplayJoin,
}

/// The air.
pub struct Air {
    now: Duration,
    rng: Rng,
    nodes: Vec<Node>,
    due: BTreeSet<(Duration, usize)>,
    node_due: Vec<Option<Duration>>,
    flights: Vec<Flight>,
    drop_up: u32,
    drop_down: u32,
    corrupt: u32,
    last_data: Option<(TxOnAir, usize)>,
    last_join: Option<(TxOnAir, usize)>,
    events: VecDeque<AirEvent>,
    dropped_events: u64,
}

struct Flight {
    end: Duration,
    start: Duration,
    frame: TxOnAir,
    kind: FlightKind,
}

enum FlightKind {
    Up { node: usize, lost: Option<&'static str> },
    Down { locked: Vec<(usize, i64)>, lost: bool },
}

impl Air {
    /// Nodes and the seed of everything random.
    #[must_use]
    pub fn new(seed: u64, nodes: Vec<NodeConfig>) -> Self {
        let nodes: Vec<Node> = nodes.into_iter().map(|config| Node::new(config, seed)).collect();
        let mut air = Air {
            now: Duration::ZERO,
            rng: Rng::new(seed, 0),
            due: BTreeSet::new(),
            node_due: vec![None; nodes.len()],
            nodes,
            flights: Vec::new(),
            drop_up: 0,
            drop_down: 0,
            corrupt: 0,
            last_data: None,
            last_join: None,
            events: VecDeque::new(),
            dropped_events: 0,
        };
        for index in 0..air.nodes.len() {
            air.reschedule(index);
        }
        air
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Events dropped because nobody polled.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events
    }

    /// The gateway starts to send `frame` now; gives the time at which it ends.
    pub fn transmit_from_gateway(&mut self, now: Duration, frame: TxOnAir) -> Duration {
        self.tick(now);
        let end = now + frame.airtime();
        for flight in &mut self.flights {
            if let FlightKind::Up { lost, .. } = &mut flight.kind {
                lost.get_or_insert("the gateway began to send meanwhile");
            }
        }
        let lost = take_one(&mut self.drop_down);
        let mut locked = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.hears(&frame) {
                locked.push((index, node.lock(now)));
            }
        }
        self.emit(AirEvent::OnAir { direction: Direction::Down, start: now, end, frame: frame.clone() });
        if locked.is_empty() {
            let nearest = self
                .nodes
                .iter()
                .filter_map(|node| Some((node.config().dev_eui, node.window_error_us(now)?)))
                .min_by_key(|(_, error)| error.abs());
            self.emit(AirEvent::Missed {
                direction: Direction::Down,
                dev_eui: nearest.map(|(dev_eui, _)| dev_eui),
                reason: "no node had a window open for it".into(),
                window_error_us: nearest.map(|(_, error)| error),
            });
        }
        for (index, _) in &locked {
            self.reschedule(*index);
        }
        self.flights.push(Flight { start: now, end, frame, kind: FlightKind::Down { locked, lost } });
        end
    }

    /// Carries out `command`; an error says why not, for people.
    pub fn command(&mut self, now: Duration, command: Command) -> Result<(), String> {
        self.tick(now);
        match command {
            Command::Uplink { dev_eui, uplink } => {
                let found = self.nodes.iter_mut().enumerate().find(|(_, node)| node.config().dev_eui == dev_eui);
                let (index, node) = found.ok_or_else(|| format!("no node {dev_eui}"))?;
                node.enqueue(uplink)?;
                self.reschedule(index);
                self.tick(now);
            }
            Command::Reboot { dev_eui } => {
                let found = self.nodes.iter_mut().enumerate().find(|(_, node)| node.config().dev_eui == dev_eui);
                let (index, node) = found.ok_or_else(|| format!("no node {dev_eui}"))?;
                node.reboot(self.now);
                self.reschedule(index);
            }
            Command::Drop(count) => self.drop_up = count,
            Command::DropDown(count) => self.drop_down = count,
            Command::Corrupt(count) => self.corrupt = count,
            Command::Replay => self.replay(self.last_data.clone(), "no uplink to replay yet")?,
            Command::ReplayJoin => self.replay(self.last_join.clone(), "no join request to replay yet")?,
        }
        Ok(())
    }

    /// Lets everything happen that is due until `now`.
    pub fn tick(&mut self, now: Duration) {
        while let Some(due) = self.deadline().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            if let Some(index) = self.flights.iter().position(|flight| flight.end <= self.now) {
                let flight = self.flights.swap_remove(index);
                self.land(flight);
            } else if let Some((_, index)) = self.due.first().copied() {
                if let Some(node) = self.nodes.get_mut(index) {
                    node.tick(self.now);
                }
                self.settle(index);
            }
        }
        self.now = self.now.max(now);
    }

    /// When [`Air::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let flights = self.flights.iter().map(|flight| flight.end).min();
        let node = self.due.first().map(|(due, _)| *due);
        flights.into_iter().chain(node).min()
    }

    /// The next event.
    pub fn poll(&mut self) -> Option<AirEvent> {
        self.events.pop_front()
    }

    fn land(&mut self, flight: Flight) {
        match flight.kind {
            FlightKind::Up { node, lost } => self.land_uplink(flight.start, flight.end, flight.frame, node, lost),
            FlightKind::Down { locked, lost } => {
                for (index, window_error_us) in locked {
                    if let Some(node) = self.nodes.get_mut(index) {
                        node.deliver(flight.end, (!lost).then_some(&flight.frame.data), window_error_us);
                        let dev_eui = Some(node.config().dev_eui);
                        if lost {
                            let reason = "dropped on command".into();
                            let direction = Direction::Down;
                            self.emit(AirEvent::Missed { direction, dev_eui, reason, window_error_us: None });
                        }
                    }
                    self.settle(index);
                }
            }
        }
    }

    fn land_uplink(
        &mut self,
        start: Duration,
        end: Duration,
        mut frame: TxOnAir,
        node: usize,
        lost: Option<&'static str>,
    ) {
        let Some(config) = self.nodes.get(node).map(Node::config) else { return };
        let (dev_eui, rssi_dbm, snr_db) = (config.dev_eui, config.rssi_dbm, config.snr_db);
        if let Some(reason) = lost {
            return self.emit(AirEvent::Missed {
                direction: Direction::Up,
                dev_eui: Some(dev_eui),
                reason: reason.into(),
                window_error_us: None,
            });
        }
        if take_one(&mut self.corrupt) && !frame.data.is_empty() {
            let bit = self.rng.below(frame.data.len() as u64 * 8) as usize;
            if let Some(byte) = frame.data.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        self.emit(AirEvent::ToGateway(Heard { frame, rssi_dbm, snr_db, start, end }));
    }

    /// Takes over what node `index` has to say, and its new deadline.
    fn settle(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let dev_eui = node.config().dev_eui;
        for event in node.drain_events() {
            match event {
                NodeEvent::Transmit { frame, join } => {
                    let last = if join { &mut self.last_join } else { &mut self.last_data };
                    *last = Some((frame.clone(), index));
                    self.launch_uplink(frame, index);
                }
                NodeEvent::UplinkSent { fcnt, uplink } => self.emit(AirEvent::UplinkSent { dev_eui, fcnt, uplink }),
                NodeEvent::Joined { dev_addr } => self.emit(AirEvent::NodeJoined { dev_eui, dev_addr }),
                NodeEvent::JoinFailed => self.emit(AirEvent::JoinFailed { dev_eui }),
                NodeEvent::Received { fcnt, fport, payload, confirmed, window, window_error_us } => self
                    .emit(AirEvent::NodeReceived { dev_eui, fcnt, fport, payload, confirmed, window, window_error_us }),
                NodeEvent::Acked { fcnt } => self.emit(AirEvent::Acked { dev_eui, fcnt }),
                NodeEvent::NoAck { fcnt } => self.emit(AirEvent::NoAck { dev_eui, fcnt }),
                NodeEvent::Rejected { window } => self.emit(AirEvent::Missed {
                    direction: Direction::Down,
                    dev_eui: Some(dev_eui),
                    reason: format!("the node heard it in {window} and refused it (MIC or counter)"),
                    window_error_us: None,
                }),
                NodeEvent::Broken { detail } => self.emit(AirEvent::NodeBroken { dev_eui, detail }),
            }
        }
        self.reschedule(index);
    }

    fn launch_uplink(&mut self, frame: TxOnAir, node: usize) {
        let start = self.now;
        let end = start + frame.airtime();
        let rssi = |nodes: &[Node], index: usize| nodes.get(index).map_or(i16::MIN, |node| node.config().rssi_dbm);
        let own_rssi = rssi(&self.nodes, node);
        let mut own_lost = take_one(&mut self.drop_up).then_some("dropped on command");
        for flight in &mut self.flights {
            match &mut flight.kind {
                FlightKind::Down { .. } => {
                    own_lost.get_or_insert("the gateway was sending");
                }
                FlightKind::Up { node: other, lost } if flight.frame.on == frame.on => {
                    let stronger = own_rssi.saturating_sub(rssi(&self.nodes, *other));
                    if stronger < CAPTURE_DB {
                        own_lost.get_or_insert("collision with another uplink");
                    }
                    if stronger > -CAPTURE_DB {
                        lost.get_or_insert("collision with another uplink");
                    }
                }
                FlightKind::Up { .. } => {}
            }
        }
        self.emit(AirEvent::OnAir { direction: Direction::Up, start, end, frame: frame.clone() });
        self.flights.push(Flight { start, end, frame, kind: FlightKind::Up { node, lost: own_lost } });
    }

    fn replay(&mut self, last: Option<(TxOnAir, usize)>, nothing: &str) -> Result<(), String> {
        let (frame, node) = last.ok_or(nothing)?;
        if self.flights.len() >= self.nodes.len() + MAX_REPLAYS {
            return Err(format!("{MAX_REPLAYS} copies are on the air already"));
        }
        self.launch_uplink(frame, node);
        Ok(())
    }

    fn reschedule(&mut self, index: usize) {
        let new = self.nodes.get(index).and_then(Node::deadline);
        let Some(old) = self.node_due.get_mut(index) else { return };
        if let Some(old) = std::mem::replace(old, new) {
            self.due.remove(&(old, index));
        }
        if let Some(new) = new {
            self.due.insert((new, index));
        }
    }

    fn emit(&mut self, event: AirEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.dropped_events += 1;
        }
        self.events.push_back(event);
    }
}

fn take_one(count: &mut u32) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}
