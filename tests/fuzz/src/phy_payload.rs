//! What radios report, against a network with a device that joins and a personalized one: a sequence of steps.
//!
//! A step is a byte, a length and as many bytes: a frame as it is, or one that gets a valid MIC first, so that what lies
//! behind the MIC is reached too; or a report, a save, a downlink, time.
use aes::Aes128;
use cmac::{Cmac, Mac};
use lpwad_lorawan::{
    Activation, DataRate, DevAddr, DevEui, Device, DeviceRecord, Downlink, Key, Network, Output, RadioId, RadioSheet,
    RxFrame, Settings, TxOutcome,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys and address of the vector in `crates/lorawan/tests/vectors/uplink.txt`.
const NWK_S_KEY: u128 = 0x4402_4241_ed4c_e9a6_8c6a_8bc0_5523_3fd3;
const APP_S_KEY: u128 = 0xec92_5802_ae43_0ca7_7fd3_dd73_cb2c_c588;
const APP_KEY: u128 = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c;
const DEV_ADDR: [u8; 4] = [0x49, 0xbe, 0x7d, 0xf1];
const OTAA: DevEui = DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0x00, 0x12, 0x34]);
const ABP: DevEui = DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0x00, 0x12, 0x35]);
const ROOF: RadioId = RadioId(1);

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let mut site = Site::new();
    let mut rest = data;
    while let [step, len, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        site.step(*step, bytes);
        site.settle();
        rest = behind;
    }
}

struct Site {
    net: Network,
    now: Duration,
    on_air: Vec<(RadioId, u64)>,
    unsaved: u64,
    disk: BTreeMap<DevEui, DeviceRecord>,
    next_id: u64,
}

impl Site {
    fn new() -> Site {
        let mut net = Network::new(Settings { seed: 42, net_id: [0, 0, 1], ..Settings::default() });
        let sheet = RadioSheet {
            max_dbm_eirp: 14.0,
            single_channel: Some((868_100_000, DataRate { sf: 7, bw_hz: 125_000 })),
            timed_tx: true,
            min_lead: Duration::from_millis(50),
        };
        net.add_radio(ROOF, sheet.clone());
        net.add_radio(RadioId(2), RadioSheet { single_channel: None, timed_tx: false, ..sheet });
        for device in devices() {
            net.add_device(device, None);
        }
        let now = Duration::from_secs(100);
        Site { net, now, on_air: Vec::new(), unsaved: 0, disk: BTreeMap::new(), next_id: 0 }
    }

    fn step(&mut self, step: u8, bytes: &[u8]) {
        let number = bytes.first().copied().unwrap_or(0);
        let radio = RadioId(1 + u16::from(step >> 7));
        match step & 7 {
            0 => self.hear(radio, step, bytes.to_vec()),
            1 => self.hear(radio, step, signed(bytes, NWK_S_KEY)),
            2 => self.hear(radio, step, signed_join(bytes)),
            3 => {
                let outcomes =
                    [TxOutcome::Sent, TxOutcome::Late, TxOutcome::Collision, TxOutcome::Busy, TxOutcome::Failed];
                if let Some((radio, id)) = self.on_air.pop() {
                    self.net.handle_tx_done(self.now, radio, id, outcomes[usize::from(number) % outcomes.len()]);
                }
            }
            4 => self.net.handle_saved(self.now, self.unsaved),
            5 => {
                self.next_id += 1;
                let downlink = Downlink {
                    id: self.next_id,
                    fport: number,
                    payload: bytes.to_vec(),
                    confirmed: step & 8 != 0,
                    more: step & 16 != 0,
                };
                self.net.set_downlink(self.now, if step & 32 == 0 { ABP } else { OTAA }, Some(downlink));
            }
            6 => self.pass(Duration::from_millis(u64::from(number) * 50)),
            _ => {
                // A restart of the device with what is on disk.
                for device in devices() {
                    let record = self.disk.get(&device.dev_eui).cloned();
                    self.net.add_device(device, record);
                }
            }
        }
    }

    fn hear(&mut self, radio: RadioId, step: u8, data: Vec<u8>) {
        let dr = DataRate { sf: if step & 8 == 0 { 7 } else { 5 + (step >> 4 & 7) }, bw_hz: 125_000 };
        let freq_hz = if step & 64 == 0 { 868_100_000 } else { 869_525_000 };
        let at_us = self.now.as_micros() as u64;
        self.net.handle_rx(self.now, radio, RxFrame { at_us, freq_hz, dr, rssi_dbm: None, snr_db: Some(5.0), data });
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.net.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.net.tick(self.now);
            assert!(self.net.deadline().is_none_or(|next| next > self.now), "a deadline that never passes");
            self.settle();
        }
        self.now = until;
    }

    fn settle(&mut self) {
        while let Some(output) = self.net.poll() {
            match output {
                Output::Transmit { radio, frame } => {
                    assert!((1..=255).contains(&frame.data.len()) && frame.dbm_eirp <= 14.0);
                    self.on_air.push((radio, frame.id));
                }
                Output::Save { ticket, dev_eui, record } => {
                    assert!(ticket > self.unsaved);
                    self.unsaved = ticket;
                    self.disk.insert(dev_eui, record);
                }
                Output::Uplink(uplink) => {
                    assert!(uplink.payload.len() <= 242 && (uplink.fport != Some(0) || uplink.payload.is_empty()));
                }
                _ => {}
            }
        }
    }
}

fn devices() -> [Device; 2] {
    let key = |number: u128| Key::new(number.to_be_bytes());
    let abp = Activation::Abp {
        dev_addr: DevAddr(DEV_ADDR),
        nwk_s_key: key(NWK_S_KEY),
        app_s_key: key(APP_S_KEY),
        relaxed_counter: false,
    };
    [
        Device { dev_eui: ABP, activation: abp },
        Device { dev_eui: OTAA, activation: Activation::Otaa { join_eui: None, app_key: key(APP_KEY) } },
    ]
}

/// MHDR, FCtrl, FCnt (2 bytes) and the rest of a data uplink, completed by the address and a MIC (LoRaWAN 1.0.4 §4.4).
fn signed(bytes: &[u8], key: u128) -> Vec<u8> {
    let [mhdr, fctrl, low, high, rest @ ..] = bytes else { return bytes.to_vec() };
    let mut frame = vec![*mhdr];
    frame.extend(DEV_ADDR.iter().rev());
    frame.extend([*fctrl, *low, *high]);
    frame.extend(rest.iter().take(242));
    let mut block = [0; 16];
    block[0] = 0x49;
    block[6..10].copy_from_slice(&frame[1..5]);
    block[10..12].copy_from_slice(&[*low, *high]);
    block[15] = frame.len() as u8;
    let mic = cmac(key, &[&block, &frame]);
    frame.extend(mic);
    frame
}

/// JoinEUI and DevNonce of a join request, completed by MHDR, DevEUI and MIC (LoRaWAN 1.0.4 §6.2.5).
fn signed_join(bytes: &[u8]) -> Vec<u8> {
    let [nonce_low, nonce_high, join_eui @ ..] = bytes else { return bytes.to_vec() };
    let mut frame = vec![0];
    frame.extend((0..8).map(|at| join_eui.get(at).copied().unwrap_or(0)));
    frame.extend(OTAA.0.iter().rev());
    frame.extend([*nonce_low, *nonce_high]);
    let mic = cmac(APP_KEY, &[&frame]);
    frame.extend(mic);
    frame
}

fn cmac(key: u128, parts: &[&[u8]]) -> [u8; 4] {
    let mut mac = <Cmac<Aes128> as Mac>::new(&key.to_be_bytes().into());
    parts.iter().for_each(|part| mac.update(part));
    let [a, b, c, d, ..] = <[u8; 16]>::from(mac.finalize().into_bytes());
    [a, b, c, d]
}
