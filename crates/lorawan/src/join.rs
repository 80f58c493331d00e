//! Over-the-air activation (LoRaWAN 1.0.4 §6.2): which join requests are accepted, and with which numbers.

use crate::device::Node;
use crate::frame::{self, JoinAccept, UnverifiedJoin};
use crate::output::DropReason;
use crate::region::Plan;
use crate::session::{Pin, Session, SessionRecord};
use crate::{Activation, DevAddr, DevEui, Settings};

/// JoinNonce has 24 bits.
const MAX_JOIN_NONCE: u32 = 0x00ff_ffff;
/// So many addresses are tried for one that no device has.
const ADDRESS_TRIES: u64 = 16;

/// A join accept that may leave as soon as the device's record is on disk.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) dev_addr: DevAddr,
    pub(crate) dev_nonce: u16,
    pub(crate) bytes: Vec<u8>,
}

/// Judges a join request and, if it is good, gives the device its pending session.
///
/// A DevNonce is accepted once in the life of the root key, in any order: so devices before 1.0.4 (random) and since
/// (counting) both work. JoinNonce counts up from 1 for each device. The old session stays until the new one is used.
pub(crate) fn accept(
    node: &mut Node,
    request: &UnverifiedJoin,
    settings: &Settings,
    plan: &Plan,
    is_taken: impl Fn(DevAddr) -> bool,
) -> Result<Accepted, DropReason> {
    let Activation::Otaa { join_eui, app_key } = &node.activation else { return Err(DropReason::UnknownDevice) };
    if join_eui.is_some_and(|wanted| wanted != request.join_eui) {
        return Err(DropReason::UnknownDevice);
    }
    let dev_nonce = request.verify(app_key).ok_or(DropReason::BadMic)?.dev_nonce;
    if node.used_dev_nonces.contains(&dev_nonce) {
        return Err(DropReason::DevNonceReused(dev_nonce));
    }
    let join_nonce = node.next_join_nonce.max(1);
    if join_nonce > MAX_JOIN_NONCE {
        return Err(DropReason::JoinNoncesUsedUp);
    }
    let accept = JoinAccept {
        join_nonce,
        net_id: settings.net_id,
        dev_addr: choose_dev_addr(settings, request.dev_eui, join_nonce, is_taken),
        rx2_dr: plan.rx2_dr_index(),
        rx1_delay_s: settings.rx1_delay_s,
    };
    let keys = accept.session_keys(request.join_eui, dev_nonce, app_key);
    let bytes = accept.encode(request.join_eui, dev_nonce, app_key);
    node.used_dev_nonces.insert(dev_nonce);
    node.next_join_nonce = join_nonce + 1;
    node.pending = Some(Session::restore(SessionRecord {
        dev_addr: accept.dev_addr,
        nwk_s_key: keys.nwk_s_key,
        app_s_key: keys.app_s_key,
        fcnt_up: None,
        fcnt_down_reserved: 0,
        rx1_delay_s: settings.rx1_delay_s,
        pin: Pin::default(),
    }));
    Ok(Accepted { dev_addr: accept.dev_addr, dev_nonce, bytes })
}

/// An address in the network's range that looks random and follows from seed, device and join. No other device has it
/// unless the range is nearly full; then two devices share one, and the MIC tells them apart.
fn choose_dev_addr(
    settings: &Settings,
    dev_eui: DevEui,
    join_nonce: u32,
    is_taken: impl Fn(DevAddr) -> bool,
) -> DevAddr {
    let mixed = mix(settings.seed ^ mix(u64::from_be_bytes(dev_eui.0) ^ mix(u64::from(join_nonce))));
    let candidate = |attempt: u64| frame::dev_addr(settings.net_id, mix(mixed ^ attempt) as u32);
    (0..ADDRESS_TRIES).map(candidate).find(|addr| !is_taken(*addr)).unwrap_or_else(|| candidate(0))
}

/// The SplitMix64 finalizer (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_the_network_prefix() {
        for first in 0..=255 {
            frame::dev_addr([first, 0x12, 0x34], u32::MAX);
        }
        // Type 0: one bit 0, then the six low bits of the NetID (TS002, DevAddr assignment).
        for nonce in 0..100 {
            let settings = Settings { net_id: [0, 0, 1], seed: 7, ..Settings::default() };
            let addr = choose_dev_addr(&settings, DevEui([9; 8]), nonce, |_| false);
            assert_eq!(addr.0[0] >> 1, 1, "{addr}");
        }
    }
}
