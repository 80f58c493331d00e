//! Bytes and radios that mean no good.

use crate::device::{APP_KEY, dev_eui, otaa};
use crate::frames::{Abp, join_request};
use crate::join::dropped;
use crate::world::{ROOF, SF7, World, ms};
use core::time::Duration;
use lpwad_lorawan::{DataRate, DropReason, RadioId, RxFrame, TxOutcome};
use proptest::prelude::*;

fn drive(world: &mut World) {
    world.drain();
    world.pass(Duration::from_secs(7));
    world.drain();
}

#[test]
fn frames_of_no_use() {
    let mut world = World::new(vec![otaa(1)]);
    let cases: [(&[u8], DropReason); 8] = [
        (&[], DropReason::Malformed),
        (&[0x40], DropReason::Malformed),
        (&[0x00; 22], DropReason::Malformed),
        (&[0xe0, 1, 2, 3], DropReason::UnsupportedMtype),
        (&[0x60; 20], DropReason::UnsupportedMtype),
        (&[0x20; 17], DropReason::UnsupportedMtype),
        (&[0x41; 20], DropReason::UnsupportedMajor),
        (&[0x40; 256], DropReason::Malformed),
    ];
    for (bytes, reason) in cases {
        world.hear(868_100_000, SF7, bytes);
        assert_eq!(world.take_news().iter().filter_map(dropped).collect::<Vec<_>>(), [(reason, None)], "{bytes:02x?}");
    }
    world.hear_by(RadioId(77), 868_100_000, SF7, None, &join_request(1, 1, APP_KEY));
    assert_eq!(world.take_news().iter().filter_map(dropped).next().unwrap().0, DropReason::UnknownRadio);
    let total: u64 =
        world.net.counters().iter().filter(|(name, _)| name.starts_with("drop_")).map(|(_, count)| count).sum();
    assert_eq!(total, 9);
}

#[test]
fn commands_in_both_places_are_refused() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let command = lorawan::maccommandcreator::LinkCheckReqCreator::new();
    // The encoder does not make such frames: FOpts of a good frame, then FPort 0, signed by hand.
    let mut up = abp.up(0);
    up.commands = vec![&command];
    let mut bytes = up.bytes();
    let port = 8 + 1;
    bytes[port] = 0;
    resign(&mut bytes, &abp);
    world.hear(868_100_000, SF7, &bytes);
    assert_eq!(world.take_news().iter().filter_map(dropped).next().unwrap().0, DropReason::Malformed);
    world.hear(868_100_000, SF7, &abp.up(0).bytes());
    assert_eq!(world.take_uplinks().len(), 1, "its counter was not spent");
}

/// Puts a new MIC on a data frame with counter 0.
fn resign(bytes: &mut [u8], abp: &Abp) {
    use lorawan::keys::{CryptoFactory, Mac};
    let len = bytes.len() - 4;
    let mut b0 = [0x49, 0, 0, 0, 0, 0, bytes[1], bytes[2], bytes[3], bytes[4], 0, 0, 0, 0, 0, len as u8];
    b0[5] = 0;
    let mut mac = lorawan::default_crypto::DefaultFactory.new_mac(&lorawan::keys::AES128(abp.nwk_s_key));
    mac.input(&b0);
    mac.input(&bytes[..len]);
    let mic = mac.result();
    bytes[len..].copy_from_slice(&mic[..4]);
}

#[test]
fn tx_reports_nobody_asked_for() {
    let mut world = World::new(vec![otaa(1)]);
    assert!(!world.net.handle_tx_done(world.now, ROOF, 12345, TxOutcome::Sent));
    world.net.handle_saved(world.now, u64::MAX);
    world.hear(868_100_000, SF7, &join_request(1, 1, APP_KEY));
    world.net.handle_tx_done(world.now, RadioId(5), 1, TxOutcome::Sent);
    world.pass(ms(4_800));
    world.net.handle_tx_done(world.now, RadioId(5), 1, TxOutcome::Sent);
    drive(&mut world);
    assert_eq!(world.net.counters().tx_unknown_report, 3);
    assert_eq!(world.net.counters().join_accepts_sent, 1, "the true report still counts");
    assert_eq!(world.net.device_status(dev_eui(9)), None);
}

/// Found by fuzzing: a margin that no node can have (DevStatusAns, LoRaWAN 1.0.4 §5.5) overflowed in the frame library.
#[test]
fn impossible_margin_in_dev_status_ans_is_no_panic_and_the_frame_stands() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let mut bytes = abp.up(0).bytes();
    bytes[5] = (bytes[5] & 0xf0) | 3;
    bytes.splice(8..8, [0x06, 0x64, 0x80]);
    resign(&mut bytes, &abp);
    world.hear(868_100_000, SF7, &bytes);
    drive(&mut world);
    assert_eq!(world.take_uplinks().len(), 1);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        data in proptest::collection::vec(any::<u8>(), 0..300),
        at_us in any::<u64>(),
        freq_hz in any::<u32>(),
        sf in any::<u8>(),
        bw_hz in any::<u32>(),
        snr_db in any::<Option<f32>>(),
    ) {
        let mut world = World::new(vec![otaa(1), Abp::new(1).device(true)]);
        for dr in [DataRate { sf, bw_hz }, SF7] {
            let frame = RxFrame { at_us, freq_hz, dr, rssi_dbm: None, snr_db, data: data.clone() };
            world.net.handle_rx(world.now, ROOF, frame);
            drive(&mut world);
        }
        prop_assert!(world.handed_over.is_empty() && world.take_uplinks().is_empty());
    }

    #[test]
    fn damaged_frames_are_never_accepted(
        position in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        is_join in any::<bool>(),
    ) {
        let abp = Abp::new(1);
        let mut world = World::new(vec![otaa(1), abp.device(true)]);
        let mut bytes = if is_join { join_request(1, 77, APP_KEY) } else { abp.up(3).bytes() };
        let index = position.index(bytes.len());
        // The three reserved bits of MHDR are not looked at by everybody; leave them.
        prop_assume!(index != 0 || flip & 0xe3 != 0);
        bytes[index] ^= flip;
        world.hear(868_100_000, SF7, &bytes);
        drive(&mut world);
        prop_assert!(world.handed_over.is_empty() && world.take_uplinks().is_empty());
    }

    /// Signed by the device's key, but with any content: MAC commands cut short, ports without rule.
    #[test]
    fn odd_content_never_panics(
        fport in any::<u8>(),
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        fctrl in any::<u8>(),
        at_us in any::<u64>(),
        freq_hz in 863_000_000..870_000_000u32,
        sf in 7..=12u8,
    ) {
        let abp = Abp::new(1);
        let mut world = World::new(vec![abp.device(false)]);
        for fcnt in 0..3 {
            let mut up = abp.up(fcnt);
            let fopts: Vec<u8>;
            up.confirmed = true;
            up.fctrl = fctrl & 0xf0;
            up.fport = fport.max(1);
            up.payload = &payload;
            let mut bytes = up.bytes();
            if fcnt == 1 {
                // Any bytes as FOpts: shift the rest, sign again.
                fopts = payload.iter().copied().take(15).collect();
                bytes[5] = (bytes[5] & 0xf0) | fopts.len() as u8;
                bytes.splice(8..8, fopts);
                bytes[6] = 0;
                bytes[7] = 0;
                resign(&mut bytes, &abp);
            }
            let dr = DataRate { sf, bw_hz: 125_000 };
            let frame = RxFrame { at_us, freq_hz, dr, rssi_dbm: None, snr_db: None, data: bytes };
            world.net.handle_rx(world.now, ROOF, frame);
            while world.net.poll().is_some() {}
            world.net.tick(world.now + Duration::from_secs(20));
            while world.net.poll().is_some() {}
        }
    }
}
