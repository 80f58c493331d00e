//! An end device: `lorawan-device` with a radio that hears what the world has on the air.

use crate::world::{World, ms};
use core::time::Duration;
use lorawan_device::default_crypto::DefaultFactory;
use lorawan_device::nb_device::radio::{Event, PhyRxTx, Response, RfConfig, RxQuality};
use lorawan_device::nb_device::{self, Event as DeviceEvent, Response as DeviceResponse};
use lorawan_device::region::{Configuration, DR};
use lorawan_device::{AppEui, AppKey, AppSKey, DevAddr, DevEui, Downlink, JoinMode, NewSKey, RngCore, Timings};
use lpwad_lorawan::{self as lpwad, DataRate, Key};

pub(crate) const APP_KEY: [u8; 16] = *b"root key of test";

pub(crate) fn dev_eui(number: u8) -> lpwad::DevEui {
    lpwad::DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, number])
}

pub(crate) fn join_eui() -> lpwad::JoinEui {
    lpwad::JoinEui([1, 2, 3, 4, 5, 6, 7, 8])
}

pub(crate) fn otaa(number: u8) -> lpwad::Device {
    let activation = lpwad::Activation::Otaa { join_eui: Some(join_eui()), app_key: Key::new(APP_KEY) };
    lpwad::Device { dev_eui: dev_eui(number), activation }
}

/// The antenna: remembers what it was told.
#[derive(Default, Debug)]
pub(crate) struct Antenna {
    now_ms: u32,
    sent: Option<(RfConfig, Vec<u8>)>,
    listening: Option<RfConfig>,
    received: Vec<u8>,
}

impl PhyRxTx for Antenna {
    type PhyEvent = ();
    type PhyError = ();
    type PhyResponse = ();
    const MAX_RADIO_POWER: u8 = 14;

    fn get_mut_radio(&mut self) -> &mut Self {
        self
    }

    fn get_received_packet(&mut self) -> &mut [u8] {
        &mut self.received
    }

    fn handle_event(&mut self, event: Event<Self>) -> Result<Response<Self>, ()> {
        match event {
            Event::TxRequest(config, bytes) => {
                self.sent = Some((config.rf, bytes.to_vec()));
                Ok(Response::TxDone(self.now_ms))
            }
            Event::RxRequest(config) => {
                self.listening = Some(config);
                Ok(Response::Rxing)
            }
            Event::CancelRx => {
                self.listening = None;
                Ok(Response::Idle)
            }
            Event::Phy(()) => Ok(Response::RxDone(RxQuality::new(-80, 5))),
        }
    }
}

impl Timings for Antenna {
    fn get_rx_window_offset_ms(&self) -> i32 {
        0
    }

    fn get_rx_window_duration_ms(&self) -> u32 {
        100
    }
}

/// SplitMix64, so that a test is the same each time.
pub(crate) struct Rng(pub(crate) u64);

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill_with(|| self.next_u64() as u8);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// How an uplink of the device ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) response: DeviceResponse,
    /// 1 or 2: the window in which the device received its answer.
    pub(crate) window: Option<u8>,
    pub(crate) uplink: Vec<u8>,
    pub(crate) freq_hz: u32,
}

pub(crate) struct EndDevice {
    pub(crate) stack: nb_device::Device<Antenna, DefaultFactory, Rng, 256>,
    number: u8,
}

impl EndDevice {
    pub(crate) fn new(number: u8) -> EndDevice {
        let region = Configuration::new(lorawan_device::Region::EU868);
        let mut stack = nb_device::Device::new(region, Antenna::default(), Rng(number.into()));
        stack.set_datarate(DR::_5);
        EndDevice { stack, number }
    }

    pub(crate) fn abp(dev_addr: [u8; 4], nwk_s_key: [u8; 16], app_s_key: [u8; 16]) -> EndDevice {
        let mut device = EndDevice::new(0);
        let mut devaddr = dev_addr;
        devaddr.reverse();
        let joined = device.stack.join(JoinMode::ABP {
            newskey: NewSKey::from(nwk_s_key),
            appskey: AppSKey::from(app_s_key),
            devaddr: DevAddr::from(devaddr),
        });
        assert!(matches!(joined, Ok(DeviceResponse::JoinSuccess)));
        device
    }

    /// A whole join: request, windows, accept or not.
    pub(crate) fn join(&mut self, world: &mut World) -> Exchange {
        let mut dev_eui = dev_eui(self.number).0;
        let mut join_eui = join_eui().0;
        dev_eui.reverse();
        join_eui.reverse();
        self.stack.get_radio().now_ms = world.now.as_millis() as u32;
        let asked = self.stack.join(JoinMode::OTAA {
            deveui: DevEui::from(dev_eui),
            appeui: AppEui::from(join_eui),
            appkey: AppKey::from(APP_KEY),
        });
        self.exchange(world, asked.expect("request"))
    }

    /// A whole uplink: frame, windows, answer or not.
    pub(crate) fn send(&mut self, world: &mut World, data: &[u8], confirmed: bool) -> Exchange {
        self.stack.get_radio().now_ms = world.now.as_millis() as u32;
        let asked = self.stack.send(data, 10, confirmed);
        self.exchange(world, asked.expect("uplink"))
    }

    /// Whether the device stack has session keys.
    pub(crate) fn joined(&self) -> bool {
        self.stack.get_session_keys().is_some()
    }

    pub(crate) fn take_downlink(&mut self) -> Option<Downlink> {
        self.stack.take_downlink()
    }

    fn exchange(&mut self, world: &mut World, asked: DeviceResponse) -> Exchange {
        let (config, uplink) = self.stack.get_radio().sent.take().expect("a frame");
        world.hear(config.frequency, data_rate(&config), &uplink);
        let end = |response, window| Exchange { response, window, uplink: uplink.clone(), freq_hz: config.frequency };
        let mut response = asked;
        for window in [1, 2] {
            let DeviceResponse::TimeoutRequest(open_ms) = response else { panic!("{response:?}") };
            let open = ms(open_ms.into());
            world.run_until(open);
            response = self.stack.handle_event(DeviceEvent::TimeoutFired).expect("window opens");
            let DeviceResponse::TimeoutRequest(close_ms) = response else { panic!("{response:?}") };
            if let Some((over, bytes)) = self.listen(world, open) {
                world.run_until(over);
                self.stack.get_radio().received = bytes;
                let event = DeviceEvent::RadioEvent(Event::Phy(()));
                let heard = self.stack.handle_event(event).expect("frame");
                if !matches!(heard, DeviceResponse::NoUpdate) {
                    return end(heard, Some(window));
                }
            }
            world.run_until(ms(close_ms.into()));
            response = self.stack.handle_event(DeviceEvent::TimeoutFired).expect("window closes");
        }
        world.pass(Duration::from_millis(500));
        end(response, None)
    }

    /// What is on the air in the device's window: it must begin as the window opens, on its frequency and data rate.
    fn listen(&mut self, world: &World, open: Duration) -> Option<(Duration, Vec<u8>)> {
        let config = self.stack.get_radio().listening?;
        let heard = world.on_air.iter().find(|sent| {
            sent.start.abs_diff(open) <= ms(2)
                && sent.frame.freq_hz == config.frequency
                && sent.frame.dr == data_rate(&config)
        })?;
        Some((heard.start + heard.frame.airtime, heard.frame.data.clone()))
    }
}

fn data_rate(config: &RfConfig) -> DataRate {
    DataRate { sf: config.bb.sf.factor() as u8, bw_hz: config.bb.bw.hz() }
}
