//! The network server: inputs, outputs, and what happens when. `uplink.rs` is the way of a frame in, `answer.rs` the way
//! of the answer out.

mod answer;
mod uplink;

use crate::counters::Counters;
use crate::dedup::Dedup;
use crate::device::{Device, DeviceRecord, DeviceStatus, Node};
use crate::downlink::Air;
use crate::outbox::{Downlink, Report};
use crate::output::{DownlinkOutcome, DropReason, Output, RefusedReason, TxFailure};
use crate::radio::{RadioSheet, RxFrame, TxOutcome};
use crate::region::{Plan, Region};
use crate::{DevAddr, DevEui, RadioId};
use answer::{Answer, Flight};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Longest payload of any data rate (RP002-1.0.4 §2.4, N without repeater).
const MAX_PAYLOAD: usize = 242;

/// What is the same for all devices.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Channel plan.
    pub region: Region,
    /// RECEIVE_DELAY1 given in the join accept, in seconds, 1 to 15; other values are moved into that range. Devices
    /// activated by personalization always have the region's default of 1 s.
    pub rx1_delay_s: u8,
    /// An answer is decided this long before its window, so that the radio can be told in time.
    pub decision_lead: Duration,
    /// The same bytes within this time are copies of one frame.
    pub dedup_window: Duration,
    /// Network identifier, most significant byte first. 000000 and 000001 are for experiments.
    pub net_id: [u8; 3],
    /// Seed for the choice of device addresses.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            region: Region::default(),
            rx1_delay_s: 1,
            decision_lead: Duration::from_millis(300),
            dedup_window: Duration::from_millis(200),
            net_id: [0, 0, 0],
            seed: 0,
        }
    }
}

/// A LoRaWAN network server without IO. `now` is the time since any fixed start and never runs backwards.
///
/// After every call to a method that takes `&mut self`, [`poll`](Network::poll) must be called until it gives None, and
/// [`tick`](Network::tick) at the time [`deadline`](Network::deadline) tells then.
pub struct Network {
    settings: Settings,
    plan: Plan,
    air: Air,
    nodes: BTreeMap<DevEui, Node>,
    /// Devices by the addresses of their sessions, pending ones included.
    by_addr: BTreeMap<DevAddr, BTreeSet<DevEui>>,
    dedup: Dedup,
    /// Answers not decided yet; one per device, the newest.
    answers: BTreeMap<DevEui, Answer>,
    /// Transmissions that a radio has, by number.
    flights: BTreeMap<u64, Flight>,
    next_tx_id: u64,
    next_ticket: u64,
    /// Everything up to this ticket is on disk.
    saved_through: u64,
    /// Who waits for a ticket to reach the disk, to use the counters reserved with it.
    unsaved: BTreeMap<u64, DevEui>,
    counters: Counters,
    outputs: VecDeque<Output>,
}

impl Network {
    /// A network without radios and devices.
    pub fn new(mut settings: Settings) -> Network {
        settings.rx1_delay_s = settings.rx1_delay_s.clamp(1, 15);
        Network {
            plan: Plan::new(settings.region),
            air: Air::new(settings.decision_lead),
            dedup: Dedup::new(settings.dedup_window),
            settings,
            nodes: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            answers: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_tx_id: 1,
            next_ticket: 1,
            saved_through: 0,
            unsaved: BTreeMap::new(),
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// A radio appeared, perhaps again and with a new clock. What was planned on it before is lost and reported; its duty
    /// cycle is remembered.
    pub fn add_radio(&mut self, radio: RadioId, sheet: RadioSheet) {
        self.remove_radio(radio);
        self.air.add_radio(radio, sheet);
    }

    /// A radio is gone. What was planned on it is lost and reported.
    pub fn remove_radio(&mut self, radio: RadioId) {
        self.air.remove_radio(radio);
        self.forget_radio(radio);
    }

    /// Adds a device, or replaces it, with the last record given out for it; None only if there never was one, for counters
    /// start from the record. Nothing is sent or saved before its first uplink.
    pub fn add_device(&mut self, device: Device, record: Option<DeviceRecord>) {
        self.remove_device(device.dev_eui);
        let record = record.unwrap_or_default();
        let node = Node::new(device.activation, record, self.plan.default_rx1_delay_s());
        self.nodes.insert(device.dev_eui, node);
        self.index_addresses(device.dev_eui);
    }

    /// Whether this device is there, with this activation.
    pub fn is_configured_as(&self, device: &Device) -> bool {
        self.nodes.get(&device.dev_eui).is_some_and(|node| node.activation == device.activation)
    }

    /// Forgets a device like [`remove_device`](Network::remove_device), and gives its record, which is given out to be
    /// saved as well. With it the device can be added again.
    pub fn take_device(&mut self, dev_eui: DevEui) -> Option<DeviceRecord> {
        let ticket = self.save(dev_eui)?;
        // What is reserved with this ticket is not used by the device that goes.
        self.unsaved.remove(&ticket);
        let record = self.nodes.get_mut(&dev_eui)?.record(ticket);
        self.remove_device(dev_eui);
        Some(record)
    }

    /// Forgets a device. A frame for it that a radio already has is sent all the same.
    pub fn remove_device(&mut self, dev_eui: DevEui) {
        self.answers.remove(&dev_eui);
        if let Some(node) = self.nodes.remove(&dev_eui) {
            self.unindex(dev_eui, &node.indexed);
        }
    }

    /// A radio heard a frame. Whatever the bytes are, this cannot fail: bad frames are counted and reported as
    /// [`Output::Dropped`].
    pub fn handle_rx(&mut self, now: Duration, radio: RadioId, frame: RxFrame) {
        self.receive(now, radio, frame);
        self.tick(now);
    }

    /// A radio tells what became of a transmission. False if that is not waited for: it came too late, or this radio was
    /// never given such a transmission.
    pub fn handle_tx_done(&mut self, now: Duration, radio: RadioId, id: u64, outcome: TxOutcome) -> bool {
        match self.flights.remove(&id) {
            Some(flight) if flight.radio == radio => {
                self.landed(now, id, flight, outcome);
                true
            }
            other => {
                Counters::count(&mut self.counters.tx_unknown_report);
                self.flights.extend(other.map(|flight| (id, flight)));
                false
            }
        }
    }

    /// All records up to and including this ticket are on disk.
    pub fn handle_saved(&mut self, now: Duration, ticket: u64) {
        let ticket = ticket.min(self.next_ticket - 1);
        if ticket > self.saved_through {
            self.saved_through = ticket;
            let later = self.unsaved.split_off(&(ticket + 1));
            for dev_eui in std::mem::replace(&mut self.unsaved, later).into_values() {
                if let Some(node) = self.nodes.get_mut(&dev_eui) {
                    node.saved_through(ticket);
                }
            }
        }
        self.tick(now);
    }

    /// Sets the application downlink that waits for the device's next window, or takes it away. It replaces one that
    /// waits; one already on its way, or waiting for its acknowledgement, goes first and is not touched. If an answer to
    /// the device is not decided yet, it goes with that.
    pub fn set_downlink(&mut self, _now: Duration, dev_eui: DevEui, downlink: Option<Downlink>) {
        let refusal = |downlink: &Downlink, reason| (downlink.id, DownlinkOutcome::Refused(reason));
        let report = match (self.nodes.get_mut(&dev_eui), downlink) {
            (None, Some(downlink)) => Some(refusal(&downlink, RefusedReason::UnknownDevice)),
            (None, None) => None,
            (Some(_), Some(downlink)) if !(1..=223).contains(&downlink.fport) => {
                Some(refusal(&downlink, RefusedReason::BadPort))
            }
            (Some(_), Some(downlink)) if downlink.payload.len() > MAX_PAYLOAD => {
                Some(refusal(&downlink, RefusedReason::TooLong { max: MAX_PAYLOAD }))
            }
            (Some(node), downlink) => {
                node.outbox.set(downlink);
                None
            }
        };
        self.report(dev_eui, report);
    }

    /// Takes a downlink back: it is not sent any more, nor repeated. What a radio has already goes out once; its outcome may still be
    /// told.
    pub fn withdraw_downlink(&mut self, dev_eui: DevEui, id: u64) {
        if let Some(node) = self.nodes.get_mut(&dev_eui) {
            node.outbox.withdraw(id);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        let due = |answer: &Answer| answer.decide_at <= now;
        while let Some(dev_eui) = self.answers.iter().find(|(_, answer)| due(answer)).map(|(dev_eui, _)| *dev_eui) {
            self.decide(now, dev_eui);
        }
        while let Some((id, flight)) = self.flights.iter().find(|(_, flight)| flight.report_by <= now) {
            let (id, radio) = (*id, flight.radio);
            if let Some(flight) = self.flights.remove(&id) {
                self.counters.window_missed(TxFailure::NoReport);
                self.failed(flight.dev_eui, radio, TxFailure::NoReport, flight.downlink_id());
            }
        }
    }

    /// When [`tick`](Network::tick) is wanted next.
    pub fn deadline(&self) -> Option<Duration> {
        let answers = self.answers.values().map(|answer| answer.decide_at);
        answers.chain(self.flights.values().map(|flight| flight.report_by)).min()
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How often things happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is known of a device; None: no such device.
    pub fn device_status(&self, dev_eui: DevEui) -> Option<DeviceStatus> {
        self.nodes.get(&dev_eui).map(Node::status)
    }

    /// Gives the device's record out to be saved; the ticket of that.
    fn save(&mut self, dev_eui: DevEui) -> Option<u64> {
        let node = self.nodes.get_mut(&dev_eui)?;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        Counters::count(&mut self.counters.saves);
        self.outputs.push_back(Output::Save { ticket, dev_eui, record: node.record(ticket) });
        if node.awaits(ticket) {
            self.unsaved.insert(ticket, dev_eui);
        }
        Some(ticket)
    }

    fn drop_frame(&mut self, radio: RadioId, reason: DropReason, dev_addr_or_eui: Option<String>) {
        self.counters.dropped(reason);
        self.outputs.push_back(Output::Dropped { radio, reason, dev_addr_or_eui });
    }

    fn report(&mut self, dev_eui: DevEui, report: Option<Report>) {
        if let Some((id, outcome)) = report {
            self.outputs.push_back(Output::Downlink { dev_eui, id, outcome });
        }
    }

    /// Brings the address index in line with the device's sessions.
    fn index_addresses(&mut self, dev_eui: DevEui) {
        let Some(node) = self.nodes.get_mut(&dev_eui) else { return };
        let addresses: Vec<DevAddr> = node.addresses().collect();
        let former = std::mem::replace(&mut node.indexed, addresses.clone());
        self.unindex(dev_eui, &former);
        for addr in addresses {
            self.by_addr.entry(addr).or_default().insert(dev_eui);
        }
    }

    fn unindex(&mut self, dev_eui: DevEui, addresses: &[DevAddr]) {
        for addr in addresses {
            if let Some(devices) = self.by_addr.get_mut(addr) {
                devices.remove(&dev_eui);
                if devices.is_empty() {
                    self.by_addr.remove(addr);
                }
            }
        }
    }
}

impl core::fmt::Debug for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Network").field("settings", &self.settings).field("devices", &self.nodes.len()).finish()
    }
}
