//! MAC commands: LinkCheckReq, and keeping a device on the channel of a single-channel radio.

use crate::device::{EndDevice, dev_eui, otaa};
use crate::downlink::downlink;
use crate::frames::Abp;
use crate::world::{ROOF, SF7, SF12, World, ms, sheet};
use lorawan::maccommandcreator::{DevStatusAnsCreator, LinkADRAnsCreator, LinkCheckReqCreator};
use lpwad_lorawan::{PinState, RadioId, RadioSheet, Settings};

const ONE: u32 = 868_300_000;

fn single_channel() -> RadioSheet {
    RadioSheet { single_channel: Some((ONE, SF7)), ..sheet() }
}

#[test]
fn link_check() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    world.net.add_radio(RadioId(2), sheet());
    let request = LinkCheckReqCreator::new();
    for (fcnt, fport) in [(0, 1), (1, 0)] {
        let mut up = abp.up(fcnt);
        up.commands = vec![&request];
        up.fport = fport;
        if fport == 0 {
            up.payload = b"";
        }
        world.hear_by(ROOF, ONE, SF12, Some(-17.4), &up.bytes());
        world.hear_by(RadioId(2), ONE, SF12, Some(-18.4), &up.bytes());
        world.pass(ms(6_000));
        // Margin over -20 dB, two radios.
        assert_eq!(abp.read(&world.handed_over[fcnt as usize]).fopts, [0x02, 2, 2]);
    }
    let uplinks = world.take_uplinks();
    assert_eq!(uplinks.iter().map(|up| up.fport).collect::<Vec<_>>(), [Some(1), Some(0)]);
    assert!(uplinks[1].payload.is_empty());
}

#[test]
fn commands_we_do_not_serve_are_counted() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    let answer = DevStatusAnsCreator::new();
    let mut up = abp.up(0);
    up.commands = vec![&answer];
    world.hear(ONE, SF7, &up.bytes());
    world.pass(ms(3_000));
    assert_eq!((world.net.counters().mac_unanswered, world.handed_over.len()), (1, 0));
    assert_eq!(world.take_uplinks().len(), 1);
}

#[test]
fn single_channel_radio_pins_the_device_stack() {
    let mut world = World::with(vec![otaa(1)], Settings::default(), single_channel());
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    let pinned = |world: &World| world.net.device_status(dev_eui(1)).unwrap().pinned;
    device.send(&mut world, b"a", false);
    assert_eq!(pinned(&world), PinState::Asked);
    world.pass(ms(3_000));
    // The device obeys the channel mask and says so in its next uplink.
    for _ in 0..20 {
        assert_eq!(device.send(&mut world, b"b", false).freq_hz, ONE);
        assert_eq!(pinned(&world), PinState::Yes);
        world.pass(ms(3_000));
    }
    assert_eq!(world.handed_over.len(), 2, "join accept and one request");
    assert_eq!(world.disk[&dev_eui(1)].session.as_ref().unwrap().pin.state, PinState::Yes);
    world.power_cut();
    assert_eq!(pinned(&world), PinState::Yes);
    // A new session starts with all channels.
    device.join(&mut world);
    world.pass(ms(3_000));
    device.send(&mut world, b"c", false);
    assert_eq!(pinned(&world), PinState::Asked);
}

#[test]
fn request_names_the_channel_and_stops_after_three_refusals() {
    let abp = Abp::new(1);
    let mut world = World::with(vec![abp.device(false)], Settings::default(), single_channel());
    let mut refusal = LinkADRAnsCreator::new();
    refusal.set_channel_mask_ack(true).set_data_rate_ack(false).set_tx_power_ack(true);
    for fcnt in 0..6 {
        let mut up = abp.up(fcnt);
        up.commands = if fcnt == 0 { vec![] } else { vec![&refusal] };
        world.hear(ONE, SF7, &up.bytes());
        world.pass(ms(5_000));
    }
    let requests: Vec<_> = world.handed_over.iter().map(|bytes| abp.read(bytes).fopts).collect();
    // DR5 and power 0, mask of channel 1, NbTrans 1.
    assert_eq!(requests, vec![vec![0x03, 0x50, 0x02, 0x00, 0x01]; 3]);
    assert_eq!(world.net.device_status(abp.dev_eui).unwrap().pinned, PinState::Refused);
}

#[test]
fn application_data_comes_before_commands() {
    let abp = Abp::new(1);
    let mut world = World::with(vec![abp.device(false)], Settings::default(), single_channel());
    world.net.set_downlink(world.now, abp.dev_eui, downlink(1, &[1; 240], false));
    for fcnt in 0..2 {
        world.hear(ONE, SF7, &abp.up(fcnt).bytes());
        world.pass(ms(5_000));
    }
    let sent: Vec<_> = world.handed_over.iter().map(|bytes| abp.read(bytes)).collect();
    assert_eq!(sent.iter().map(|down| (down.payload.len(), down.fopts.len())).collect::<Vec<_>>(), [(240, 0), (0, 5)]);
}
