//! A network server, its radios, its disk and the air, in virtual time.

use core::time::Duration;
use lpwad_lorawan::{
    DataRate, DevEui, Device, DeviceRecord, Network, Output, RadioId, RadioSheet, RxFrame, Settings, TxFrame,
    TxOutcome, Uplink,
};
use std::collections::{BTreeMap, VecDeque};

pub(crate) const ROOF: RadioId = RadioId(1);
pub(crate) const SF7: DataRate = DataRate { sf: 7, bw_hz: 125_000 };
pub(crate) const SF12: DataRate = DataRate { sf: 12, bw_hz: 125_000 };

/// The radios' clocks run this far ahead of ours.
const RADIO_CLOCK_AHEAD_US: u64 = 7_000_000_000;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn sheet() -> RadioSheet {
    RadioSheet { max_dbm_eirp: 14.0, single_channel: None, timed_tx: true, min_lead: ms(50) }
}

/// A transmission that was on the air, dated by our clock.
#[derive(Debug, Clone)]
pub(crate) struct OnAir {
    pub(crate) start: Duration,
    pub(crate) frame: TxFrame,
}

pub(crate) struct World {
    pub(crate) net: Network,
    pub(crate) now: Duration,
    /// What survives a power cut.
    pub(crate) disk: BTreeMap<DevEui, DeviceRecord>,
    /// Saves on their way to the disk.
    pub(crate) unsaved: VecDeque<(u64, DevEui, DeviceRecord)>,
    /// How long a save takes; None: for ever.
    pub(crate) disk_latency: Option<Duration>,
    saves_due: VecDeque<(Duration, u64)>,
    /// What the radios say to the next transmissions; `Sent` when empty.
    pub(crate) outcomes: VecDeque<Option<TxOutcome>>,
    reports_due: Vec<(Duration, RadioId, u64, TxOutcome)>,
    pub(crate) on_air: Vec<OnAir>,
    /// All frames ever handed to a radio, sent or not.
    pub(crate) handed_over: Vec<Vec<u8>>,
    /// Outputs other than saves and transmissions, since they were last taken.
    pub(crate) news: Vec<Output>,
    devices: Vec<Device>,
    settings: Settings,
    roof: RadioSheet,
}

impl World {
    pub(crate) fn new(devices: Vec<Device>) -> World {
        World::with(devices, Settings { seed: 42, net_id: [0, 0, 1], ..Settings::default() }, sheet())
    }

    pub(crate) fn with(devices: Vec<Device>, settings: Settings, roof: RadioSheet) -> World {
        let mut world = World {
            net: Network::new(settings.clone()),
            now: Duration::from_secs(100),
            disk: BTreeMap::new(),
            unsaved: VecDeque::new(),
            disk_latency: Some(ms(5)),
            saves_due: VecDeque::new(),
            outcomes: VecDeque::new(),
            reports_due: Vec::new(),
            on_air: Vec::new(),
            handed_over: Vec::new(),
            news: Vec::new(),
            devices,
            settings,
            roof,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.net = Network::new(self.settings.clone());
        self.net.add_radio(ROOF, self.roof.clone());
        for device in &self.devices {
            self.net.add_device(device.clone(), self.disk.get(&device.dev_eui).cloned());
        }
    }

    /// Everything but the disk is lost, and the network starts again.
    pub(crate) fn power_cut(&mut self) {
        self.unsaved.clear();
        self.saves_due.clear();
        self.reports_due.clear();
        self.start();
    }

    /// The device has other keys from now on, and the record that it had.
    pub(crate) fn reconfigure(&mut self, device: Device) {
        let record = self.net.take_device(device.dev_eui);
        self.net.add_device(device.clone(), record);
        self.devices.retain(|other| other.dev_eui != device.dev_eui);
        self.devices.push(device);
        self.drain();
    }

    /// A frame ended on the air just now.
    pub(crate) fn hear(&mut self, freq_hz: u32, dr: DataRate, data: &[u8]) {
        self.hear_by(ROOF, freq_hz, dr, Some(5.0), data);
    }

    pub(crate) fn hear_by(&mut self, radio: RadioId, freq_hz: u32, dr: DataRate, snr_db: Option<f32>, data: &[u8]) {
        let at_us = self.now.as_micros() as u64 + RADIO_CLOCK_AHEAD_US;
        let frame = RxFrame { at_us, freq_hz, dr, rssi_dbm: Some(-80), snr_db, data: data.to_vec() };
        self.net.handle_rx(self.now, radio, frame);
        self.drain();
    }

    /// Writes the oldest save to the disk without telling the network.
    pub(crate) fn write_one(&mut self) -> Option<u64> {
        let (ticket, dev_eui, record) = self.unsaved.pop_front()?;
        self.disk.insert(dev_eui, record);
        Some(ticket)
    }

    /// Writes all saves and tells the network.
    pub(crate) fn write_all(&mut self) {
        while let Some(ticket) = self.write_one() {
            self.net.handle_saved(self.now, ticket);
            self.drain();
        }
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.net.poll() {
            match output {
                Output::Save { ticket, dev_eui, record } => {
                    self.unsaved.push_back((ticket, dev_eui, record));
                    if let Some(latency) = self.disk_latency {
                        self.saves_due.push_back((self.now + latency, ticket));
                    }
                }
                Output::Transmit { radio, frame } => self.transmit(radio, frame),
                other => self.news.push(other),
            }
        }
    }

    fn transmit(&mut self, radio: RadioId, frame: TxFrame) {
        let start = Duration::from_micros(frame.at_us - RADIO_CLOCK_AHEAD_US);
        assert!(start >= self.now, "told {:?} too late", self.now - start);
        self.handed_over.push(frame.data.clone());
        match self.outcomes.pop_front() {
            None | Some(Some(TxOutcome::Sent)) => {
                self.reports_due.push((start + frame.airtime, radio, frame.id, TxOutcome::Sent));
                self.on_air.push(OnAir { start, frame });
            }
            Some(Some(outcome)) => self.reports_due.push((start, radio, frame.id, outcome)),
            Some(None) => {}
        }
    }

    /// Lets time pass: saves, reports of radios and ticks come in their order.
    pub(crate) fn run_until(&mut self, until: Duration) {
        loop {
            let save = self.saves_due.front().map(|(at, _)| *at);
            let report = self.reports_due.iter().map(|(at, ..)| *at).min();
            let next = [save, report, self.net.deadline()].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if save == Some(at) {
                let (_, ticket) = self.saves_due.pop_front().unwrap();
                while self.unsaved.front().is_some_and(|(next, ..)| *next <= ticket) {
                    self.write_one();
                }
                self.net.handle_saved(self.now, ticket);
            } else if report == Some(at) {
                let index = self.reports_due.iter().position(|(due, ..)| *due == at).unwrap();
                let (_, radio, id, outcome) = self.reports_due.swap_remove(index);
                self.net.handle_tx_done(self.now, radio, id, outcome);
            } else {
                self.net.tick(self.now);
            }
            self.drain();
        }
        self.now = self.now.max(until);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Takes the news.
    pub(crate) fn take_news(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.news)
    }

    /// Takes the uplinks delivered, with the other news left in place.
    pub(crate) fn take_uplinks(&mut self) -> Vec<Uplink> {
        let (uplinks, news) = self.take_news().into_iter().partition(|output| matches!(output, Output::Uplink(_)));
        self.news = news;
        let _: &Vec<Output> = &uplinks;
        uplinks.into_iter().filter_map(|output| if let Output::Uplink(up) = output { Some(up) } else { None }).collect()
    }
}
