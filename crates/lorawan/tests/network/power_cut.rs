//! A power cut at every point of join and data: no downlink counter is used for two contents, no JoinNonce twice.

use crate::device::{APP_KEY, EndDevice, Rng, dev_eui, otaa};
use crate::downlink::downlink;
use crate::frames::{Abp, join_request, read_join_accept};
use crate::world::{SF7, World, ms};
use core::time::Duration;
use lorawan_device::RngCore;
use std::collections::{BTreeMap, BTreeSet};

/// The rule, judged by the bytes handed to radios.
fn assert_nothing_reused(frames: &[Vec<u8>]) {
    let mut data = BTreeMap::new();
    let mut nonces = BTreeMap::new();
    for frame in frames {
        let former = if frame[0] == 0x20 {
            nonces.insert(read_join_accept(frame).0, frame)
        } else {
            data.insert((frame[1..5].to_vec(), frame[6..8].to_vec()), frame)
        };
        assert!(former.is_none_or(|former| former == frame), "one number, two contents");
    }
}

/// Points at which the power fails, in their order.
#[derive(Clone, Copy, Debug)]
enum Cut {
    BeforeTheDisk,
    OnDiskNotConfirmed,
    ConfirmedNotDecided,
    HandedToTheRadio,
    OnTheAir,
    Reported,
}

const CUTS: [Cut; 6] = [
    Cut::BeforeTheDisk,
    Cut::OnDiskNotConfirmed,
    Cut::ConfirmedNotDecided,
    Cut::HandedToTheRadio,
    Cut::OnTheAir,
    Cut::Reported,
];

/// Lets the world run after a frame came in until the point is reached, then cuts the power.
fn cut(world: &mut World, at: Cut, rx1: Duration) {
    match at {
        Cut::BeforeTheDisk => {}
        Cut::OnDiskNotConfirmed => while world.write_one().is_some() {},
        Cut::ConfirmedNotDecided => world.pass(ms(100)),
        Cut::HandedToTheRadio => world.pass(rx1 - ms(290)),
        Cut::OnTheAir => world.pass(rx1 + ms(10)),
        Cut::Reported => world.pass(rx1 + ms(2_500)),
    }
    world.power_cut();
}

#[test]
fn data_at_every_point() {
    for at in CUTS {
        let abp = Abp::new(1);
        let mut world = World::new(vec![abp.device(false)]);
        for fcnt in 0..12 {
            let mut up = abp.up(fcnt);
            up.confirmed = true;
            world.net.set_downlink(world.now, abp.dev_eui, downlink(fcnt.into(), &[fcnt as u8], fcnt % 2 == 0));
            world.hear(868_100_000, SF7, &up.bytes());
            if fcnt % 3 == 1 {
                cut(&mut world, at, ms(1_000));
                // The device repeats what was not acknowledged.
                world.pass(ms(3_000));
                world.hear(868_100_000, SF7, &up.bytes());
            }
            world.pass(ms(20_000));
        }
        assert_nothing_reused(&world.handed_over);
        assert!(world.handed_over.len() >= 12, "{at:?} {}", world.handed_over.len());
    }
}

#[test]
fn keys_that_are_changed_and_changed_back_go_on_with_their_counters() {
    let (abp, typo) = (Abp::new(1), Abp { nwk_s_key: [9; 16], ..Abp::new(1) });
    let mut world = World::new(vec![abp.device(false)]);
    for (round, (device, power_fails)) in
        [(&abp, false), (&typo, true), (&abp, true), (&typo, false), (&abp, false)].into_iter().enumerate()
    {
        world.reconfigure(device.device(false));
        if power_fails {
            world.power_cut();
        }
        // What was heard before is a replay, with whatever keys.
        for fcnt in (0..round as u32).step_by(2) {
            world.hear(868_100_000, SF7, &abp.up(fcnt).bytes());
            world.pass(ms(20_000));
        }
        let (fcnt, id) = (round as u32, round as u64);
        world.net.set_downlink(world.now, abp.dev_eui, downlink(id, &[round as u8], false));
        world.hear(868_100_000, SF7, &abp.up(fcnt).bytes());
        world.pass(ms(20_000));
    }
    assert_nothing_reused(&world.handed_over);
    assert_eq!(world.handed_over.len(), 3);
    assert_eq!(world.take_uplinks().iter().map(|uplink| uplink.fcnt).collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn join_at_every_point() {
    for at in CUTS {
        let mut world = World::new(vec![otaa(1)]);
        for dev_nonce in 0..4 {
            let request = join_request(1, dev_nonce, APP_KEY);
            world.hear(868_100_000, SF7, &request);
            cut(&mut world, at, ms(5_000));
            world.pass(ms(20_000));
            // The same request again: refused, if the first one reached the disk.
            world.hear(868_100_000, SF7, &request);
            world.pass(ms(20_000));
        }
        assert_nothing_reused(&world.handed_over);
        let nonces: BTreeSet<u32> = world.handed_over.iter().map(|frame| read_join_accept(frame).0).collect();
        assert_eq!(nonces.len(), world.handed_over.len(), "{at:?}");
        assert_eq!(world.disk[&dev_eui(1)].used_dev_nonces.len(), 4);
    }
}

#[test]
fn device_stack_goes_on_after_a_restart() {
    let mut world = World::new(vec![otaa(1)]);
    let mut device = EndDevice::new(1);
    device.join(&mut world);
    world.power_cut();
    assert!(device.joined());
    let mut last = None;
    for i in 0..9 {
        let sent = device.send(&mut world, b"x", true);
        assert_eq!(sent.window, Some(1), "{i}");
        let fcnt = device.stack.get_session().unwrap().fcnt_down;
        assert!(last < Some(fcnt));
        last = Some(fcnt);
        world.pass(ms(10_000));
        if i % 3 == 2 {
            world.power_cut();
        }
    }
    assert_eq!(world.take_uplinks().len(), 9);
    assert_nothing_reused(&world.handed_over);
}

#[test]
fn random_cuts_and_disk_delays() {
    for seed in 0..30 {
        let mut rng = Rng(seed);
        let abp = Abp::new(2);
        let mut world = World::new(vec![otaa(1), abp.device(false)]);
        let mut fcnt = 0;
        for step in 0..120u16 {
            world.disk_latency = [Some(ms(2)), Some(ms(800)), Some(ms(30_000)), None][(rng.next_u32() % 4) as usize];
            match rng.next_u32() % 8 {
                0 => world.power_cut(),
                1 => world.write_all(),
                2 => world.hear(868_300_000, SF7, &join_request(1, step, APP_KEY)),
                3 => world.net.set_downlink(world.now, abp.dev_eui, downlink(step.into(), &step.to_be_bytes(), true)),
                kind => {
                    fcnt += u32::from(kind != 4);
                    let mut up = abp.up(fcnt);
                    up.confirmed = rng.next_u32() & 1 == 0;
                    world.hear(868_100_000, SF7, &up.bytes());
                }
            }
            world.pass(ms((rng.next_u32() % 6_000).into()));
        }
        assert_nothing_reused(&world.handed_over);
    }
}
