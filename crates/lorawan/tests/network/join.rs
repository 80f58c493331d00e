//! Over-the-air activation.

use crate::device::{APP_KEY, EndDevice, dev_eui, otaa};
use crate::frames::{join_request, read_join_accept};
use crate::world::{SF7, World, ms, sheet};
use core::time::Duration;
use lorawan_device::nb_device::Response;
use lpwad_lorawan::{Activation, Device, DropReason, Key, Output, Settings, TxFailure, TxOutcome};

#[test]
fn join_in_rx1_then_first_uplink_activates() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    let joined = device.join(&mut world);
    assert!(matches!(joined.response, Response::JoinSuccess));
    assert_eq!(joined.window, Some(1));
    let (nonce, rx_delay, cf_list) = read_join_accept(&world.on_air[0].frame.data);
    assert_eq!((nonce, rx_delay, cf_list), (1, 1, false));
    let status = world.net.device_status(dev_eui(1)).unwrap();
    assert!(!status.joined, "not before the device uses it");
    let Output::Joined { dev_addr, .. } = world.take_news()[0] else { panic!() };
    assert_eq!(dev_addr.0[0] >> 1, 1, "NwkID 1 of NetID 000001");

    world.pass(ms(3_000));
    let sent = device.send(&mut world, b"hello", false);
    assert!(matches!(sent.response, Response::RxComplete), "nothing to answer");
    let news = world.take_news();
    assert_eq!(news[0], Output::Activated { dev_eui: dev_eui(1), dev_addr });
    let Output::Uplink(up) = &news[1] else { panic!("{news:?}") };
    assert_eq!((up.dev_eui, up.fcnt, up.fport, up.payload.as_slice()), (dev_eui(1), 0, Some(10), &b"hello"[..]));
    assert_eq!((up.dr, up.freq_hz, up.confirmed), (SF7, sent.freq_hz, false));
    assert!(world.net.device_status(dev_eui(1)).unwrap().joined);
}

#[test]
fn join_in_rx2_when_the_radio_misses_rx1() {
    for outcome in [TxOutcome::Late, TxOutcome::Busy, TxOutcome::Collision, TxOutcome::Failed] {
        let mut world = World::new(vec![otaa(1)]);
        world.outcomes.push_back(Some(outcome));
        let mut device = EndDevice::new(1);
        assert_eq!(device.join(&mut world).window, Some(2), "{outcome:?}");
        assert_eq!(world.handed_over[0], world.handed_over[1], "the same bytes");
        assert_eq!(world.on_air[0].frame.freq_hz, 869_525_000);
        assert_eq!(world.on_air[0].frame.dr.sf, 12);
        device.send(&mut world, b"x", false);
        assert_eq!(world.take_uplinks().len(), 1);
    }
}

#[test]
fn join_accept_waits_for_the_disk() {
    let mut world = World::new(vec![otaa(1)]);
    world.disk_latency = Some(ms(4_800));
    let mut device = EndDevice::new(1);
    assert_eq!(device.join(&mut world).window, Some(2), "RX1 is decided at 4.7 s");
    assert_eq!(world.net.counters().tx_not_saved, 1);

    world.disk_latency = None;
    let mut device = EndDevice::new(1);
    world.take_news();
    device.stack.set_datarate(lorawan_device::region::DR::_4);
    device.join(&mut world);
    assert!(device.join(&mut world).window.is_none());
    let failed = |o: &Output| matches!(o, Output::TxFailed { reason: TxFailure::NotSaved, .. });
    assert!(world.take_news().iter().any(failed));
    assert_eq!(world.handed_over.len(), 1, "nothing left the house");
}

#[test]
fn receive_delay_of_the_join_accept_is_used_by_both() {
    let settings = Settings { rx1_delay_s: 5, ..Settings::default() };
    let mut world = World::with(vec![otaa(1)], settings, sheet());
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    world.pass(ms(10_000));
    let before = world.now;
    let sent = device.send(&mut world, b"x", true);
    assert_eq!(sent.window, Some(1));
    assert_eq!(world.on_air.last().unwrap().start - before, Duration::from_secs(5));
}

#[test]
fn dev_nonce_is_accepted_once_and_join_nonce_counts_up() {
    let mut world = World::new(vec![otaa(1)]);
    for (dev_nonce, accepted) in [(7, true), (7, false), (3, true), (u16::MAX, true), (3, false)] {
        world.take_news();
        world.hear(868_100_000, SF7, &join_request(1, dev_nonce, APP_KEY));
        world.pass(Duration::from_secs(60));
        let reused = world
            .news
            .iter()
            .any(|o| matches!(o, Output::Dropped { reason: DropReason::DevNonceReused(n), .. } if *n == dev_nonce));
        assert_eq!(reused, !accepted, "{dev_nonce}");
    }
    let nonces: Vec<u32> = world.on_air.iter().map(|sent| read_join_accept(&sent.frame.data).0).collect();
    assert_eq!(nonces, [1, 2, 3]);
}

#[test]
fn no_two_devices_get_one_address_while_there_are_others() {
    // A NetID of type 7 leaves 7 bits: of 60 random addresses of 128 some would be the same.
    let settings = Settings { net_id: [0xe0, 0, 1], ..Settings::default() };
    let mut world = World::with((1..=60).map(otaa).collect(), settings, sheet());
    let mut given = std::collections::BTreeSet::new();
    for n in 1..=60 {
        EndDevice::new(n).join(&mut world);
        for news in world.take_news() {
            if let Output::Joined { dev_addr, .. } = news {
                assert!(given.insert(dev_addr), "{dev_addr} given twice");
            }
        }
        world.pass(ms(60_000));
    }
    assert_eq!(given.len(), 60);
}

#[test]
fn join_requests_that_are_not_ours() {
    let mut world = World::new(vec![otaa(1)]);
    world.hear(868_100_000, SF7, &join_request(1, 1, [0; 16]));
    world.hear(868_100_000, SF7, &join_request(2, 1, APP_KEY));
    let mut other = join_request(1, 1, APP_KEY);
    other[1] ^= 1;
    world.hear(868_100_000, SF7, &other);
    let reasons: Vec<_> = world.take_news().iter().filter_map(dropped).collect();
    let reason = |r, eui: &str| (r, Some(eui.to_string()));
    assert_eq!(
        reasons,
        [
            reason(DropReason::BadMic, "70b3d57ed0000001"),
            reason(DropReason::UnknownDevice, "70b3d57ed0000002"),
            reason(DropReason::UnknownDevice, "70b3d57ed0000001"),
        ]
    );
    world.pass(Duration::from_secs(10));
    assert!(world.handed_over.is_empty() && world.disk.is_empty());
}

#[test]
fn old_session_lives_until_the_new_one_is_used() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    device.send(&mut world, b"a", false);
    let old = world.net.device_status(dev_eui(1)).unwrap().dev_addr;
    // Somebody answers a join request of this device, but the device never gets it and goes on as before.
    world.hear(868_100_000, SF7, &join_request(1, 1, APP_KEY));
    world.pass(Duration::from_secs(10));
    assert_eq!(device.send(&mut world, b"b", true).window, Some(1));
    assert_eq!(world.take_uplinks().len(), 2);
    assert_eq!(world.net.device_status(dev_eui(1)).unwrap().dev_addr, old);
    // Now it joins and uses it.
    device.join(&mut world);
    device.send(&mut world, b"c", false);
    assert_ne!(world.net.device_status(dev_eui(1)).unwrap().dev_addr, old);
    assert_eq!(world.net.counters().activations, 2);
    assert_eq!(world.disk[&dev_eui(1)].pending, None);
}

#[test]
fn a_repeated_frame_of_the_old_session_does_not_cost_the_join_accept() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    let last = device.send(&mut world, b"a", true).uplink;
    world.pass(Duration::from_secs(60));
    let before = world.handed_over.len();
    world.hear(868_100_000, SF7, &join_request(1, 1, APP_KEY));
    world.pass(ms(2_000));
    world.hear(868_100_000, SF7, &last);
    world.pass(Duration::from_secs(10));
    let answers: Vec<u8> = world.handed_over[before..].iter().map(|frame| frame[0]).collect();
    assert_eq!(answers, [0x20], "a join accept, and nothing else");
}

#[test]
fn a_new_app_key_begins_anew_and_the_old_one_goes_on_where_it_was() {
    let join = |world: &mut World, dev_nonce, key| {
        world.take_news();
        world.hear(868_100_000, SF7, &join_request(1, dev_nonce, key));
        world.pass(Duration::from_secs(60));
        world.take_news().iter().any(|news| matches!(news, Output::Joined { .. }))
    };
    let configure = |world: &mut World, key: [u8; 16]| {
        let activation = Activation::Otaa { join_eui: None, app_key: Key::new(key) };
        world.reconfigure(Device { dev_eui: dev_eui(1), activation });
    };
    let mut world = World::new(vec![otaa(1)]);
    assert!(join(&mut world, 5, APP_KEY));
    configure(&mut world, [7; 16]);
    assert!(join(&mut world, 5, [7; 16]), "the nonces of another key are not its own");
    configure(&mut world, APP_KEY);
    assert!(!join(&mut world, 5, APP_KEY));
    assert!(join(&mut world, 6, APP_KEY));
    assert_eq!(world.net.device_status(dev_eui(1)).map(|status| status.joined), Some(false));
    assert_eq!(world.disk[&dev_eui(1)].next_join_nonce, 4, "join nonces count on");
}

pub(crate) fn dropped(output: &Output) -> Option<(DropReason, Option<String>)> {
    match output {
        Output::Dropped { reason, dev_addr_or_eui, .. } => Some((*reason, dev_addr_or_eui.clone())),
        _ => None,
    }
}
