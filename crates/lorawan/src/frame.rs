//! Frames: bytes to meaning and back. With `region/` the only place that names `lrwn`.
//!
//! ```text
//! PHYPayload = MHDR(1) | MACPayload | MIC(4)                       LoRaWAN 1.0.4 §4
//! MACPayload = DevAddr(4) | FCtrl(1) | FCnt(2) | FOpts(0..15) | FPort(0..1) | FRMPayload
//! ```
//! An unverified frame gives away only what is needed to look for its key; payload and flags come with the MIC proved.

use crate::mac::{MacDown, MacUp};
use crate::{DevAddr, DevEui, JoinEui, Key};
use lrwn::{AES128Key, FType, MACCommand, MACVersion, Payload, PhyPayload};

/// MHDR and MIC, in bytes.
pub(crate) const FRAME_OVERHEAD: usize = 5;
/// FHDR without FOpts, in bytes.
pub(crate) const FHDR_LEN: usize = 7;
/// Most bytes of FOpts.
pub(crate) const MAX_FOPTS: usize = 15;

/// A frame from a device, nothing proved.
pub(crate) enum Frame {
    Join(UnverifiedJoin),
    Data(UnverifiedData),
}

/// Why bytes are no frame for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    Malformed,
    UnsupportedMajor,
    UnsupportedMtype,
}

/// Reads a PHYPayload. Never panics.
pub(crate) fn parse(bytes: &[u8]) -> Result<Frame, Reject> {
    let mhdr = *bytes.first().ok_or(Reject::Malformed)?;
    if mhdr & 0x03 != 0 {
        return Err(Reject::UnsupportedMajor);
    }
    let phy = PhyPayload::from_slice(bytes).map_err(|_| Reject::Malformed)?;
    match (phy.mhdr.f_type, &phy.payload, phy.mic) {
        (FType::JoinRequest, Payload::JoinRequest(join), _) => Ok(Frame::Join(UnverifiedJoin {
            dev_eui: DevEui(join.dev_eui.to_be_bytes()),
            join_eui: JoinEui(join.join_eui.to_be_bytes()),
            dev_nonce: join.dev_nonce,
            phy,
        })),
        (FType::UnconfirmedDataUp | FType::ConfirmedDataUp, Payload::MACPayload(mac), Some(mic)) => {
            Ok(Frame::Data(UnverifiedData {
                dev_addr: DevAddr(mac.fhdr.devaddr.to_be_bytes()),
                fcnt_lsb: mac.fhdr.f_cnt as u16,
                mic,
                phy,
            }))
        }
        _ => Err(Reject::UnsupportedMtype),
    }
}

/// A join request (LoRaWAN 1.0.4 §6.2.5), MIC not checked.
pub(crate) struct UnverifiedJoin {
    pub(crate) dev_eui: DevEui,
    pub(crate) join_eui: JoinEui,
    dev_nonce: u16,
    phy: PhyPayload,
}

/// A join request with proved MIC.
pub(crate) struct JoinRequest {
    pub(crate) dev_nonce: u16,
}

impl UnverifiedJoin {
    pub(crate) fn verify(&self, app_key: &Key) -> Option<JoinRequest> {
        let fits = self.phy.validate_join_request_mic(&aes(app_key)).ok()?;
        fits.then_some(JoinRequest { dev_nonce: self.dev_nonce })
    }
}

/// A data uplink, MIC not checked.
pub(crate) struct UnverifiedData {
    pub(crate) dev_addr: DevAddr,
    pub(crate) fcnt_lsb: u16,
    pub(crate) mic: [u8; 4],
    phy: PhyPayload,
}

/// A data uplink whose MIC fits this 32-bit counter value; still encrypted.
pub(crate) struct VerifiedData {
    pub(crate) fcnt: u32,
    pub(crate) mic: [u8; 4],
    phy: PhyPayload,
}

/// A data uplink, opened.
#[derive(Debug)]
pub(crate) struct DataUp {
    pub(crate) confirmed: bool,
    pub(crate) ack: bool,
    pub(crate) adr_ack_req: bool,
    pub(crate) fport: Option<u8>,
    /// Empty for port 0, whose content is in `mac`.
    pub(crate) payload: Vec<u8>,
    pub(crate) mac: Vec<MacUp>,
}

impl UnverifiedData {
    pub(crate) fn verify(&self, fcnt: u32, nwk_s_key: &Key) -> Option<VerifiedData> {
        let mut phy = self.phy.clone();
        if let Payload::MACPayload(mac) = &mut phy.payload {
            mac.fhdr.f_cnt = fcnt;
        }
        let key = aes(nwk_s_key);
        let fits = phy.validate_uplink_data_mic(MACVersion::LoRaWAN1_0, 0, 0, 0, &key, &key).ok()?;
        fits.then_some(VerifiedData { fcnt, mic: self.mic, phy })
    }
}

impl VerifiedData {
    /// Decrypts. None if MAC commands stand both in FOpts and on port 0, which the specification forbids
    /// (LoRaWAN 1.0.4 §4.3.1.6).
    pub(crate) fn open(self, nwk_s_key: &Key, app_s_key: &Key) -> Option<DataUp> {
        let confirmed = self.phy.mhdr.f_type == FType::ConfirmedDataUp;
        let Payload::MACPayload(mac) = self.phy.payload else { return None };
        let mut commands = mac_up(&mac.fhdr.f_opts.to_vec().ok()?);
        let has_fopts = mac.fhdr.f_ctrl.f_opts_len > 0;
        let encrypted = match &mac.frm_payload {
            Some(payload) => payload.to_vec().ok()?,
            None => Vec::new(),
        };
        let key = aes(if mac.f_port == Some(0) { nwk_s_key } else { app_s_key });
        let mut payload = lrwn::encrypt_frm_payload(&key, true, &mac.fhdr.devaddr, self.fcnt, &encrypted).ok()?;
        if mac.f_port == Some(0) {
            if has_fopts {
                return None;
            }
            commands = mac_up(&payload);
            payload.clear();
        }
        Some(DataUp {
            confirmed,
            ack: mac.fhdr.f_ctrl.ack,
            adr_ack_req: mac.fhdr.f_ctrl.adr_ack_req,
            fport: mac.f_port,
            payload,
            mac: commands,
        })
    }
}

/// The commands of a device (LoRaWAN 1.0.4 §5; 0x01, 0x0b, 0x0c and 0x0f are of 1.1). What stands behind a command of unknown
/// length or one that is cut off cannot be read; the rest of the frame stands.
fn mac_up(bytes: &[u8]) -> Vec<MacUp> {
    let mut commands = Vec::new();
    let mut rest = bytes;
    while let [cid, behind @ ..] = rest {
        let (command, len) = match (cid, behind) {
            (0x02, _) => (MacUp::LinkCheckReq, 0),
            (0x03, [status, ..]) => {
                let bit = |mask| status & mask != 0;
                (MacUp::LinkAdrAns { channel_mask: bit(1), data_rate: bit(2), power: bit(4) }, 1)
            }
            (0x04 | 0x08 | 0x09 | 0x0c | 0x0d, _) => (MacUp::Other, 0),
            (0x01 | 0x05 | 0x07 | 0x0a | 0x0b | 0x0f | 0x10 | 0x11 | 0x13, _) => (MacUp::Other, 1),
            (0x06, _) => (MacUp::Other, 2),
            _ => (MacUp::Other, behind.len()),
        };
        commands.push(command);
        rest = behind.get(len..).unwrap_or_default();
    }
    commands
}

/// What a join accept says (LoRaWAN 1.0.4 §6.2.6). RX1DROffset is 0 and there is no CFList.
pub(crate) struct JoinAccept {
    pub(crate) join_nonce: u32,
    pub(crate) net_id: [u8; 3],
    pub(crate) dev_addr: DevAddr,
    pub(crate) rx2_dr: u8,
    /// 1 to 15.
    pub(crate) rx1_delay_s: u8,
}

/// Keys of a new session.
pub(crate) struct SessionKeys {
    pub(crate) nwk_s_key: Key,
    pub(crate) app_s_key: Key,
}

impl JoinAccept {
    /// The encrypted PHYPayload.
    pub(crate) fn encode(&self, join_eui: JoinEui, dev_nonce: u16, app_key: &Key) -> Vec<u8> {
        let key = aes(app_key);
        let mut phy = PhyPayload {
            mhdr: lrwn::MHDR { f_type: FType::JoinAccept, major: lrwn::Major::LoRaWANR1 },
            payload: Payload::JoinAccept(lrwn::JoinAcceptPayload {
                join_nonce: self.join_nonce,
                home_netid: lrwn::NetID::from_be_bytes(self.net_id),
                devaddr: lrwn::DevAddr::from_be_bytes(self.dev_addr.0),
                dl_settings: lrwn::DLSettings { opt_neg: false, rx2_dr: self.rx2_dr, rx1_dr_offset: 0 },
                rx_delay: self.rx1_delay_s,
                cflist: None,
            }),
            mic: None,
        };
        let join_eui = lrwn::EUI64::from_be_bytes(join_eui.0);
        phy.set_join_accept_mic(lrwn::JoinType::Join, &join_eui, dev_nonce, &key)
            .and_then(|()| phy.encrypt_join_accept_payload(&key))
            .and_then(|()| phy.to_vec())
            .expect("rx_delay and rx2_dr are below 16, and 12 bytes with a MIC are one cipher block")
    }

    /// The session keys that the device derives from this accept (LoRaWAN 1.0.4 §6.2.6).
    pub(crate) fn session_keys(&self, join_eui: JoinEui, dev_nonce: u16, app_key: &Key) -> SessionKeys {
        let (root, net_id) = (aes(app_key), lrwn::NetID::from_be_bytes(self.net_id));
        let join_eui = lrwn::EUI64::from_be_bytes(join_eui.0);
        let nwk = lrwn::keys::get_f_nwk_s_int_key(false, &root, &net_id, &join_eui, self.join_nonce, dev_nonce);
        let app = lrwn::keys::get_app_s_key(false, &root, &net_id, &join_eui, self.join_nonce, dev_nonce);
        let key = |derived: AES128Key| Key::new(derived.to_bytes());
        SessionKeys {
            nwk_s_key: key(nwk.expect("an AES block is a 16-byte key")),
            app_s_key: key(app.expect("an AES block is a 16-byte key")),
        }
    }
}

/// What tells a root key from others, and nothing else of it: half of a session key that no join gives, for JoinNonces begin at 1.
pub(crate) fn key_mark(app_key: &Key) -> [u8; 8] {
    let never = JoinAccept { join_nonce: 0, net_id: [0; 3], dev_addr: DevAddr([0; 4]), rx2_dr: 0, rx1_delay_s: 1 };
    let [a, b, c, d, e, f, g, h, ..] = *never.session_keys(JoinEui([0; 8]), 0, app_key).nwk_s_key.expose();
    [a, b, c, d, e, f, g, h]
}

/// The address prefix of a NetID filled up with `bits` (LoRaWAN 1.0.4 §6.1.1; DevAddr types of TS002).
pub(crate) fn dev_addr(net_id: [u8; 3], bits: u32) -> DevAddr {
    let mut addr = lrwn::DevAddr::from_be_bytes(bits.to_be_bytes());
    addr.set_dev_addr_prefix(lrwn::NetID::from_be_bytes(net_id).dev_addr_prefix());
    DevAddr(addr.to_be_bytes())
}

/// A data downlink before encryption.
pub(crate) struct DataDown<'a> {
    pub(crate) dev_addr: DevAddr,
    pub(crate) fcnt: u32,
    pub(crate) confirmed: bool,
    pub(crate) ack: bool,
    pub(crate) adr: bool,
    pub(crate) pending: bool,
    /// At most [`MAX_FOPTS`] bytes.
    pub(crate) fopts: &'a [MacDown],
    /// FPort (1 to 223) and plain payload.
    pub(crate) data: Option<(u8, &'a [u8])>,
}

impl DataDown<'_> {
    /// The encrypted PHYPayload.
    pub(crate) fn encode(&self, nwk_s_key: &Key, app_s_key: &Key) -> Vec<u8> {
        let fopts = self.fopts.iter().map(|command| mac_down(*command)).collect();
        let f_type = if self.confirmed { FType::ConfirmedDataDown } else { FType::UnconfirmedDataDown };
        let mut phy = PhyPayload {
            mhdr: lrwn::MHDR { f_type, major: lrwn::Major::LoRaWANR1 },
            payload: Payload::MACPayload(lrwn::MACPayload {
                fhdr: lrwn::FHDR {
                    devaddr: lrwn::DevAddr::from_be_bytes(self.dev_addr.0),
                    f_ctrl: lrwn::FCtrl { adr: self.adr, ack: self.ack, f_pending: self.pending, ..Default::default() },
                    f_cnt: self.fcnt,
                    f_opts: lrwn::MACCommandSet::new(fopts),
                },
                f_port: self.data.map(|(fport, _)| fport),
                frm_payload: self
                    .data
                    .filter(|(_, payload)| !payload.is_empty())
                    .map(|(_, payload)| lrwn::FRMPayload::Raw(payload.to_vec())),
            }),
            mic: None,
        };
        phy.encrypt_frm_payload(&aes(app_s_key))
            .and_then(|()| phy.set_downlink_data_mic(MACVersion::LoRaWAN1_0, 0, &aes(nwk_s_key)))
            .and_then(|()| phy.to_vec())
            .expect("FOpts fit 15 bytes, commands are in range, and a payload comes with its port")
    }
}

fn mac_down(command: MacDown) -> MACCommand {
    match command {
        MacDown::LinkCheckAns { margin_db, gateways } => {
            MACCommand::LinkCheckAns(lrwn::LinkCheckAnsPayload { margin: margin_db, gw_cnt: gateways })
        }
        MacDown::LinkAdrReq { dr, channel } => {
            let mask = std::array::from_fn(|index| index == usize::from(channel));
            MACCommand::LinkADRReq(lrwn::LinkADRReqPayload {
                dr,
                tx_power: 0,
                ch_mask: lrwn::ChMask::new(mask),
                redundancy: lrwn::Redundancy { ch_mask_cntl: 0, nb_rep: 1 },
            })
        }
    }
}

fn aes(key: &Key) -> AES128Key {
    AES128Key::from_bytes(*key.expose())
}
