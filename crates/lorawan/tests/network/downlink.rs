//! Application downlinks.

use crate::device::{EndDevice, dev_eui, otaa};
use crate::frames::{ACK, Abp};
use crate::world::{ROOF, SF7, SF12, World, ms, sheet};
use core::time::Duration;
use lpwad_lorawan::{
    DevEui, Downlink, DownlinkOutcome, Output, RadioSheet, RefusedReason, Settings, TxFailure, TxOutcome,
};

pub(crate) fn downlink(id: u64, payload: &[u8], confirmed: bool) -> Option<Downlink> {
    Some(Downlink { id, fport: 42, payload: payload.to_vec(), confirmed, more: false })
}

fn outcomes(world: &mut World, dev_eui: DevEui) -> Vec<(u64, DownlinkOutcome)> {
    let news = world.take_news().into_iter();
    news.filter_map(|output| match output {
        Output::Downlink { dev_eui: whose, id, outcome } if whose == dev_eui => Some((id, outcome)),
        _ => None,
    })
    .collect()
}

fn uplink(world: &mut World, abp: &Abp, fcnt: u32, ack: bool) {
    let mut up = abp.up(fcnt);
    up.fctrl = if ack { ACK } else { 0 };
    world.hear(868_100_000, SF7, &up.bytes());
    world.pass(ms(5_000));
}

#[test]
fn unconfirmed_reaches_the_device_in_rx1_and_rx2() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    device.send(&mut world, b"a", false);
    for (id, window) in [(1, 1), (2, 2)] {
        if window == 2 {
            world.outcomes.push_back(Some(TxOutcome::Late));
        }
        world.take_news();
        world.net.set_downlink(world.now, dev_eui(1), downlink(id, b"open the door", false));
        assert_eq!(device.send(&mut world, b"b", false).window, Some(window));
        let received = device.take_downlink().unwrap();
        assert_eq!((received.fport, &received.data[..]), (42, &b"open the door"[..]));
        world.pass(ms(3_000));
        let fcnt = id as u32 - 1;
        assert_eq!(outcomes(&mut world, dev_eui(1)), [(id, DownlinkOutcome::Sent { fcnt })]);
    }
}

#[test]
fn set_after_the_uplink_still_makes_the_window() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    for (fcnt, delay_ms, frequency) in [(0, 690, 868_100_000), (1, 1_690, 869_525_000)] {
        world.hear(868_100_000, SF7, &abp.up(fcnt).bytes());
        world.pass(ms(delay_ms));
        world.net.set_downlink(world.now, abp.dev_eui, downlink(1, b"quick", false));
        world.pass(ms(5_000));
        assert_eq!(world.on_air.last().unwrap().frame.freq_hz, frequency);
    }
    world.hear(868_100_000, SF7, &abp.up(2).bytes());
    world.pass(ms(1_710));
    world.net.set_downlink(world.now, abp.dev_eui, downlink(2, b"too late", false));
    world.pass(ms(5_000));
    assert_eq!(world.handed_over.len(), 2, "waits for the next uplink");
    uplink(&mut world, &abp, 3, false);
    assert_eq!(abp.read(&world.handed_over[2]).payload, b"too late");
}

#[test]
fn confirmed_and_acknowledged_by_the_device_stack() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    world.net.set_downlink(world.now, dev_eui(1), downlink(9, b"valve 1", true));
    device.send(&mut world, b"a", false);
    world.pass(ms(3_000));
    device.send(&mut world, b"b", false);
    assert_eq!(outcomes(&mut world, dev_eui(1)), [(9, DownlinkOutcome::Sent { fcnt: 0 }), (9, DownlinkOutcome::Acked)]);
}

#[test]
fn confirmed_without_acknowledgement_is_sent_four_times_with_new_counters() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    world.net.set_downlink(world.now, abp.dev_eui, downlink(5, b"?", true));
    for fcnt in 0..6 {
        uplink(&mut world, &abp, fcnt, false);
    }
    let sent: Vec<_> = world.handed_over.iter().map(|bytes| abp.read(bytes)).collect();
    assert_eq!(
        sent.iter().map(|down| (down.fcnt, down.confirmed)).collect::<Vec<_>>(),
        [(0, true), (1, true), (2, true), (3, true)]
    );
    assert_eq!(
        outcomes(&mut world, abp.dev_eui),
        [(5, DownlinkOutcome::Sent { fcnt: 0 }), (5, DownlinkOutcome::NoAck { tries: 4 })]
    );
}

#[test]
fn next_one_waits_behind_a_confirmed_one() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    world.net.set_downlink(world.now, abp.dev_eui, downlink(1, b"one", true));
    uplink(&mut world, &abp, 0, false);
    world.net.set_downlink(world.now, abp.dev_eui, downlink(2, b"two", false));
    uplink(&mut world, &abp, 1, false);
    let again = abp.read(&world.handed_over[1]);
    assert_eq!((again.payload.as_slice(), again.pending), (&b"one"[..], true));
    uplink(&mut world, &abp, 2, true);
    assert_eq!(abp.read(&world.handed_over[2]).payload, b"two");
    let ids: Vec<u64> = outcomes(&mut world, abp.dev_eui).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 1, 2]);
}

#[test]
fn refused() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let refused = |reason| DownlinkOutcome::Refused(reason);
    for (id, fport, len) in [(1, 0, 1), (2, 224, 1), (3, 1, 243)] {
        let wrong = Downlink { id, fport, payload: vec![0; len], confirmed: false, more: false };
        world.net.set_downlink(world.now, abp.dev_eui, Some(wrong));
    }
    world.net.set_downlink(world.now, dev_eui(9), downlink(4, b"x", false));
    world.drain();
    assert_eq!(outcomes(&mut world, dev_eui(9)), [(4, refused(RefusedReason::UnknownDevice))]);
    world.net.set_downlink(world.now, abp.dev_eui, downlink(1, &[0; 52], false));
    world.hear(868_100_000, SF12, &abp.up(0).bytes());
    world.pass(ms(5_000));
    assert_eq!(outcomes(&mut world, abp.dev_eui), [(1, refused(RefusedReason::TooLong { max: 51 }))]);
    assert!(world.handed_over.is_empty());
    // At SF7 the longest one fits, in RX1 only.
    world.net.set_downlink(world.now, abp.dev_eui, downlink(2, &[7; 242], false));
    world.outcomes.push_back(Some(TxOutcome::Late));
    uplink(&mut world, &abp, 1, false);
    let late = |o: &Output| matches!(o, Output::TxFailed { reason: TxFailure::Radio(TxOutcome::Late), .. });
    assert!(world.take_news().iter().any(late));
    uplink(&mut world, &abp, 2, false);
    assert_eq!(abp.read(&world.handed_over[1]).payload, [7; 242]);
    assert_eq!(outcomes(&mut world, abp.dev_eui), [(2, DownlinkOutcome::Sent { fcnt: 1 })]);
}

#[test]
fn no_counter_is_used_before_its_reservation_is_on_disk() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    world.disk_latency = None;
    world.net.set_downlink(world.now, abp.dev_eui, downlink(1, b"x", false));
    uplink(&mut world, &abp, 0, false);
    assert!(world.handed_over.is_empty());
    assert_eq!(world.net.counters().tx_not_saved, 2, "RX1 and RX2");
    world.write_all();
    // 32 numbers are reserved now; the next block is asked for in time, but never reaches the disk.
    for fcnt in 1..40 {
        world.net.set_downlink(world.now, abp.dev_eui, downlink(1, b"x", false));
        uplink(&mut world, &abp, fcnt, false);
    }
    assert_eq!(world.handed_over.len(), 32);
}

#[test]
fn two_devices_at_once_share_the_radio() {
    let (one, two, three) = (Abp::new(1), Abp::new(2), Abp::new(3));
    let mut world = World::new(vec![one.device(false), two.device(false), three.device(false)]);
    for (abp, frequency) in [(&one, 868_100_000), (&two, 868_300_000), (&three, 868_500_000)] {
        let mut up = abp.up(0);
        up.confirmed = true;
        world.hear(frequency, SF7, &up.bytes());
    }
    world.pass(ms(6_000));
    let frequencies: Vec<u32> = world.on_air.iter().map(|sent| sent.frame.freq_hz).collect();
    assert_eq!(frequencies, [868_100_000, 869_525_000], "RX1, RX2, and none left for the third");
    let none_left = |o: &Output| matches!(o, Output::TxFailed { dev_eui, reason: TxFailure::NoWindow, .. } if *dev_eui == three.dev_eui);
    assert!(world.take_news().iter().any(none_left));
}

#[test]
fn radio_that_vanishes_or_never_reports() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    world.net.set_downlink(world.now, abp.dev_eui, downlink(1, b"x", false));
    world.outcomes.push_back(None);
    uplink(&mut world, &abp, 0, false);
    let no_report = |o: &Output| matches!(o, Output::TxFailed { reason: TxFailure::NoReport, .. });
    assert!(world.take_news().iter().any(no_report));

    world.outcomes.push_back(None);
    world.hear(868_100_000, SF7, &abp.up(1).bytes());
    world.pass(ms(900));
    world.net.add_radio(ROOF, sheet());
    world.drain();
    let gone = |o: &Output| matches!(o, Output::TxFailed { reason: TxFailure::RadioGone, .. });
    assert!(world.take_news().iter().any(gone), "the transmission");
    let mut up = abp.up(2);
    up.confirmed = true;
    world.hear(868_100_000, SF7, &up.bytes());
    world.net.remove_radio(ROOF);
    world.drain();
    assert!(world.take_news().iter().any(gone), "the answer");
    assert_eq!(world.net.deadline(), None);
    world.net.add_radio(ROOF, sheet());
    uplink(&mut world, &abp, 3, false);
    let last = abp.read(world.handed_over.last().unwrap());
    assert_eq!((last.fcnt, last.payload.as_slice()), (2, &b"x"[..]));
}

#[test]
fn untimed_radio_is_told_just_in_time() {
    let abp = Abp::new(1);
    let roof = RadioSheet { timed_tx: false, min_lead: ms(40), ..sheet() };
    let mut world = World::with(vec![abp.device(false)], Settings::default(), roof);
    let mut up = abp.up(0);
    up.confirmed = true;
    world.hear(868_100_000, SF7, &up.bytes());
    assert_eq!(world.net.deadline(), Some(world.now + ms(960)));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.on_air.len(), 1);
}
