//! Frames by hand, with `lorawan`: uplinks of any kind, and a reader for what the network sends.

use crate::device::{APP_KEY, dev_eui, join_eui};
use lorawan::creator::{DataPayloadCreator, JoinRequestCreator};
use lorawan::default_crypto::DefaultFactory;
use lorawan::keys::{AES128, AppKey, AppSKey, NewSKey};
use lorawan::maccommands::SerializableMacCommand;
use lorawan::parser::{self, DataHeader, FRMPayload, PhyPayload};
use lpwad_lorawan::{Activation, DevAddr, DevEui, Device, Key};

/// A personalized device.
#[derive(Clone, Copy)]
pub(crate) struct Abp {
    pub(crate) dev_eui: DevEui,
    pub(crate) addr: [u8; 4],
    pub(crate) nwk_s_key: [u8; 16],
    pub(crate) app_s_key: [u8; 16],
}

impl Abp {
    pub(crate) fn new(number: u8) -> Abp {
        let (nwk_s_key, app_s_key) = ([number; 16], [number ^ 0xff; 16]);
        Abp { dev_eui: dev_eui(number), addr: [0x02, 0xaa, 0xbb, number], nwk_s_key, app_s_key }
    }

    pub(crate) fn device(&self, relaxed_counter: bool) -> Device {
        let activation = Activation::Abp {
            dev_addr: DevAddr(self.addr),
            nwk_s_key: Key::new(self.nwk_s_key),
            app_s_key: Key::new(self.app_s_key),
            relaxed_counter,
        };
        Device { dev_eui: self.dev_eui, activation }
    }

    pub(crate) fn up(&self, fcnt: u32) -> Up<'_> {
        Up { device: self, fcnt, fctrl: 0, confirmed: false, fport: 1, payload: b"hi", commands: Vec::new() }
    }

    pub(crate) fn read(&self, bytes: &[u8]) -> Down {
        Down::read(bytes, self.nwk_s_key, self.app_s_key)
    }
}

/// An uplink in the making.
pub(crate) struct Up<'a> {
    device: &'a Abp,
    pub(crate) fcnt: u32,
    pub(crate) fctrl: u8,
    pub(crate) confirmed: bool,
    pub(crate) fport: u8,
    pub(crate) payload: &'a [u8],
    pub(crate) commands: Vec<&'a dyn SerializableMacCommand>,
}

pub(crate) const ACK: u8 = 0x20;
pub(crate) const ADR_ACK_REQ: u8 = 0x40;

impl Up<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut creator =
            DataPayloadCreator::<[u8; 256], DefaultFactory>::with_options([0; 256], DefaultFactory).unwrap();
        let mut addr = self.device.addr;
        addr.reverse();
        creator
            .set_confirmed(self.confirmed)
            .set_uplink(true)
            .set_f_port(self.fport)
            .set_dev_addr(addr)
            .set_fctrl(&parser::FCtrl::new(self.fctrl, true))
            .set_fcnt(self.fcnt);
        let keys = (NewSKey::from(self.device.nwk_s_key), AppSKey::from(self.device.app_s_key));
        creator.build(self.payload, &self.commands, &keys.0, &keys.1).unwrap().to_vec()
    }
}

pub(crate) fn join_request(number: u8, dev_nonce: u16, app_key: [u8; 16]) -> Vec<u8> {
    let mut creator = JoinRequestCreator::<[u8; 23], DefaultFactory>::with_options([0; 23], DefaultFactory).unwrap();
    let (mut dev_eui, mut join_eui) = (dev_eui(number).0, join_eui().0);
    dev_eui.reverse();
    join_eui.reverse();
    creator.set_dev_eui(dev_eui).set_app_eui(join_eui).set_dev_nonce(dev_nonce.to_le_bytes());
    creator.build(&AppKey::from(app_key)).to_vec()
}

/// A data downlink, read with proved MIC.
#[derive(Debug, PartialEq)]
pub(crate) struct Down {
    pub(crate) fcnt: u16,
    pub(crate) confirmed: bool,
    pub(crate) ack: bool,
    pub(crate) pending: bool,
    pub(crate) fopts: Vec<u8>,
    pub(crate) fport: Option<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Down {
    pub(crate) fn read(bytes: &[u8], nwk_s_key: [u8; 16], app_s_key: [u8; 16]) -> Down {
        let mut bytes = bytes.to_vec();
        let Ok(PhyPayload::Data(parser::DataPayload::Encrypted(data))) = parser::parse(&mut bytes[..]) else {
            panic!("not a data frame")
        };
        assert!(!data.is_uplink());
        let fcnt = data.fhdr().fcnt();
        assert!(data.validate_mic(&AES128(nwk_s_key), fcnt.into()), "MIC");
        let data = data.decrypt(Some(&AES128(nwk_s_key)), Some(&AES128(app_s_key)), fcnt.into()).unwrap();
        let fctrl = data.fhdr().fctrl();
        Down {
            fcnt,
            confirmed: data.is_confirmed(),
            ack: fctrl.ack(),
            pending: fctrl.f_pending(),
            fopts: data.fhdr().data().to_vec(),
            fport: data.f_port(),
            payload: match data.frm_payload() {
                FRMPayload::Data(payload) => payload.to_vec(),
                FRMPayload::MACCommands(commands) => commands.data().to_vec(),
                FRMPayload::None => Vec::new(),
            },
        }
    }
}

/// JoinNonce, RxDelay and length of CFList of a join accept with proved MIC.
pub(crate) fn read_join_accept(bytes: &[u8]) -> (u32, u8, bool) {
    let mut bytes = bytes.to_vec();
    let Ok(PhyPayload::JoinAccept(parser::JoinAcceptPayload::Encrypted(accept))) = parser::parse(&mut bytes[..]) else {
        panic!("not a join accept")
    };
    let key = AppKey::from(APP_KEY);
    let accept = accept.decrypt(&key);
    assert!(accept.validate_mic(&key), "MIC");
    let nonce = accept.app_nonce();
    let nonce: &[u8] = nonce.as_ref();
    (u32::from_le_bytes([nonce[0], nonce[1], nonce[2], 0]), accept.rx_delay(), accept.c_f_list().is_some())
}
