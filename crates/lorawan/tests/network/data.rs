//! Data frames: counters, retransmissions, copies, several devices.

use crate::device::{EndDevice, dev_eui, otaa};
use crate::frames::{ADR_ACK_REQ, Abp};
use crate::join::dropped;
use crate::world::{ROOF, SF7, SF12, World, ms, sheet};
use core::time::Duration;
use lorawan_device::nb_device::Response;
use lpwad_lorawan::{DropReason, Output, RadioId};

fn reasons(world: &mut World) -> Vec<DropReason> {
    world.take_news().iter().filter_map(dropped).map(|(reason, _)| reason).collect()
}

#[test]
fn confirmed_uplinks_are_acknowledged() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    for i in 0..40u32 {
        let sent = device.send(&mut world, &i.to_be_bytes(), true);
        assert!(matches!(sent.response, Response::DownlinkReceived(fcnt) if fcnt == i), "{i} {:?}", sent.response);
        assert_eq!(sent.window, Some(1));
        world.pass(ms(20_000));
    }
    let fcnts: Vec<u32> = world.take_uplinks().iter().map(|up| up.fcnt).collect();
    assert_eq!(fcnts, (0..40).collect::<Vec<_>>());
}

#[test]
fn acknowledgement_waits_for_the_disk() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    device.send(&mut world, b"a", false);
    world.disk_latency = Some(ms(1_000));
    assert_eq!(device.send(&mut world, b"b", true).window, Some(2), "RX2");
    world.disk_latency = None;
    let sent = device.send(&mut world, b"c", true);
    assert!(matches!(sent.response, Response::NoAck));
    // The disk works again: the retransmission gets its acknowledgement and is not delivered again.
    world.disk_latency = Some(ms(5));
    world.write_all();
    world.hear(sent.freq_hz, SF7, &sent.uplink);
    let handed_over = world.handed_over.len();
    world.pass(ms(2_000));
    assert_eq!(world.handed_over.len(), handed_over + 1);
    assert_eq!(world.take_uplinks().len(), 3);
    assert_eq!(world.net.counters().retransmissions, 1);
}

#[test]
fn counter_rolls_over_from_65535_to_65536() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    device.send(&mut world, b"first", false);
    let mut session = device.stack.get_session().unwrap().clone();
    // As if frames were lost.
    for fcnt_up in [16_000, 32_000, 48_000, 64_000, 65_534, 65_535, 65_536, 65_537, 80_000] {
        session.fcnt_up = fcnt_up;
        session.fcnt_down = device.stack.get_session().unwrap().fcnt_down;
        device.stack.set_session(session.clone());
        world.take_news();
        assert_eq!(device.send(&mut world, b"x", true).window, Some(1), "{fcnt_up}");
        assert_eq!(world.take_uplinks()[0].fcnt, fcnt_up);
        world.pass(ms(10_000));
    }
    assert_eq!(world.net.device_status(dev_eui(1)).unwrap().fcnt_up, Some(80_000));
}

#[test]
fn replay_and_bad_mic() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let old = abp.up(3).bytes();
    world.hear(868_100_000, SF7, &old);
    world.pass(ms(5_000));
    world.hear(868_100_000, SF7, &abp.up(4).bytes());
    world.pass(ms(5_000));
    assert_eq!(world.take_uplinks().len(), 2);
    world.hear(868_100_000, SF7, &old);
    let mut forged = abp.up(5).bytes();
    *forged.last_mut().unwrap() ^= 1;
    world.hear(868_100_000, SF7, &forged);
    let mut foreign = abp.up(5).bytes();
    foreign[1] ^= 1;
    world.hear(868_100_000, SF7, &foreign);
    // The same counter as the last one, with other content.
    let mut other = abp.up(4);
    other.payload = b"ho";
    world.hear(868_100_000, SF7, &other.bytes());
    assert_eq!(
        reasons(&mut world),
        [DropReason::Replay(3), DropReason::BadMic, DropReason::UnknownDevice, DropReason::Replay(4),]
    );
    // A forged frame must not have moved our counter.
    world.hear(868_100_000, SF7, &abp.up(5).bytes());
    assert_eq!(world.take_uplinks()[0].fcnt, 5);
    world.pass(ms(5_000));
    assert!(world.handed_over.is_empty(), "nothing of this was answered");
    // A device that was out of reach for long is heard again.
    world.hear(868_100_000, SF7, &abp.up(40_000).bytes());
    world.pass(ms(5_000));
    world.hear(868_100_000, SF7, &abp.up(70_000).bytes());
    assert_eq!(world.take_uplinks().iter().map(|uplink| uplink.fcnt).collect::<Vec<_>>(), [40_000, 70_000]);
}

#[test]
fn an_uplink_that_somebody_repeats_for_ever_is_answered_as_often_as_a_device_repeats_one() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    for fcnt in 0..2 {
        let mut up = abp.up(fcnt);
        up.confirmed = true;
        for _ in 0..40 {
            world.hear(868_100_000, SF7, &up.bytes());
            world.pass(ms(3_000));
        }
    }
    assert_eq!(world.handed_over.len(), 2 * 15);
    assert_eq!(world.net.counters().drop_replay, 2 * 25);
}

#[test]
fn retransmission_is_answered_again_under_a_new_counter() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let mut up = abp.up(0);
    up.confirmed = true;
    for _ in 0..3 {
        world.hear(868_100_000, SF7, &up.bytes());
        world.pass(ms(3_000));
    }
    let answers: Vec<_> = world.handed_over.iter().map(|bytes| abp.read(bytes)).collect();
    assert_eq!(answers.iter().map(|down| (down.fcnt, down.ack)).collect::<Vec<_>>(), [(0, true), (1, true), (2, true)]);
    assert_eq!(world.take_uplinks().len(), 1);
    let again = Output::Retransmission { dev_eui: abp.dev_eui, fcnt: 0 };
    assert_eq!(world.take_news().iter().filter(|output| **output == again).count(), 2);
}

#[test]
fn relaxed_counter_is_opt_in() {
    let (strict, relaxed) = (Abp::new(1), Abp::new(2));
    let mut world = World::new(vec![strict.device(false), relaxed.device(true)]);
    for device in [&strict, &relaxed] {
        for fcnt in [0, 1, 500] {
            world.hear(868_100_000, SF7, &device.up(fcnt).bytes());
            world.pass(ms(3_000));
        }
        world.take_news();
        let mut after_reset = device.up(0);
        after_reset.payload = b"reset";
        world.hear(868_100_000, SF7, &after_reset.bytes());
        world.pass(ms(3_000));
        world.hear(868_100_000, SF7, &device.up(1).bytes());
        world.pass(ms(3_000));
        let uplinks: Vec<u32> = world.take_uplinks().iter().map(|up| up.fcnt).collect();
        let expected: &[u32] = if device.dev_eui == relaxed.dev_eui { &[0, 1] } else { &[] };
        assert_eq!(uplinks, expected);
    }
    assert_eq!(world.net.counters().counter_resets, 1);
}

#[test]
fn two_devices_on_one_address() {
    let one = Abp::new(1);
    let two = Abp { addr: one.addr, ..Abp::new(2) };
    let mut world = World::new(vec![one.device(false), two.device(false)]);
    for (fcnt, device) in [(0, &one), (0, &two), (1, &two), (1, &one)] {
        let mut up = device.up(fcnt);
        up.confirmed = true;
        world.hear(868_100_000, SF7, &up.bytes());
        world.pass(ms(3_000));
        let uplink = world.take_uplinks().pop().unwrap();
        assert_eq!((uplink.dev_eui, uplink.payload.as_slice()), (device.dev_eui, &b"hi"[..]));
        assert!(device.read(world.handed_over.last().unwrap()).ack, "signed with the right key");
    }
}

#[test]
fn copies_of_one_frame_are_delivered_once_and_the_best_radio_answers() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let yard = RadioId(2);
    world.net.add_radio(yard, sheet());
    let mut up = abp.up(0);
    up.confirmed = true;
    world.hear_by(ROOF, 868_100_000, SF7, Some(-3.0), &up.bytes());
    world.pass(ms(80));
    world.hear_by(yard, 868_100_000, SF7, Some(6.0), &up.bytes());
    world.hear_by(yard, 868_100_000, SF7, Some(9.0), &up.bytes());
    world.pass(ms(600));
    world.drain();
    assert_eq!(world.take_uplinks().len(), 1);
    assert_eq!(reasons(&mut world), [DropReason::Duplicate, DropReason::Duplicate]);
    world.net.tick(world.now + ms(300));
    let Some(Output::Transmit { radio, .. }) = world.net.poll() else { panic!() };
    assert_eq!(radio, yard);
}

#[test]
fn personalized_device_stack() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let mut device = EndDevice::abp(abp.addr, abp.nwk_s_key, abp.app_s_key);
    for fcnt in 0..3 {
        let sent = device.send(&mut world, b"abp", true);
        assert!(matches!(sent.response, Response::DownlinkReceived(down) if down == fcnt));
        assert_eq!(world.take_uplinks()[0].payload, b"abp");
    }
}

/// Bytes made by a third implementation.
#[test]
fn published_frame() {
    let file = include_str!("../vectors/uplink.txt");
    let field = |name: &str| {
        let line = file.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap()
    };
    let bytes = |name: &str| -> Vec<u8> {
        let hex = field(name);
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    let abp = Abp {
        addr: bytes("dev_addr").try_into().unwrap(),
        nwk_s_key: bytes("nwk_s_key").try_into().unwrap(),
        app_s_key: bytes("app_s_key").try_into().unwrap(),
        ..Abp::new(1)
    };
    let mut world = World::new(vec![abp.device(false)]);
    world.hear(868_100_000, SF7, &bytes("phy_payload"));
    let up = world.take_uplinks().pop().unwrap();
    assert_eq!((up.fcnt.to_string().as_str(), up.fport.unwrap().to_string().as_str()), (field("fcnt"), field("fport")));
    assert_eq!(up.payload, bytes("payload"));
}

#[test]
fn adr_ack_req_is_answered_with_an_empty_frame() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let mut up = abp.up(0);
    up.fctrl = ADR_ACK_REQ;
    world.hear(868_100_000, SF7, &up.bytes());
    world.pass(ms(3_000));
    let down = abp.read(&world.handed_over[0]);
    assert_eq!((down.ack, down.fport, down.payload.len()), (false, None, 0));
}

#[test]
fn spreading_factor_12_and_frames_outside_the_plan() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let mut up = abp.up(0);
    up.confirmed = true;
    world.hear(868_100_000, lpwad_lorawan::DataRate { sf: 7, bw_hz: 500_000 }, &up.bytes());
    assert_eq!(reasons(&mut world), [DropReason::NotInPlan]);
    world.hear(868_100_000, SF12, &up.bytes());
    world.pass(ms(3_000));
    assert_eq!(world.on_air[0].frame.dr, SF12);
    assert_eq!(world.on_air[0].frame.freq_hz, 868_100_000);
    // On 869.3 MHz nothing may be sent: the answer goes to RX2.
    let mut up = abp.up(1);
    up.confirmed = true;
    world.pass(Duration::from_secs(60));
    world.hear(869_300_000, SF7, &up.bytes());
    world.pass(ms(3_000));
    assert_eq!(world.on_air[1].frame.freq_hz, 869_525_000);
    assert_eq!(world.net.counters().tx_no_band, 1);
}
