//! Rules of the air, with nodes on it and hand-made answers of a network (encoded by the crate `lorawan`, which is
//! not the one that the network server under test is built on).
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use lorawan::creator::{DataPayloadCreator, JoinAcceptCreator};
use lorawan::default_crypto::DefaultFactory;
use lpwad_sim::air::{Air, AirEvent, Command, Direction, Heard, Modulation, TxOnAir};
use lpwad_sim::node::{Eui, NodeConfig, Uplink, Window};
use lpwad_sim::nodes_file;
use std::time::Duration;

const SF7: Modulation = Modulation { freq_hz: 868_100_000, sf: 7, bw_hz: 125_000 };
const RX2: Modulation = Modulation { freq_hz: 869_525_000, sf: 12, bw_hz: 125_000 };
const APP_KEY: [u8; 16] = [1; 16];
const DEV_ADDR: [u8; 4] = [0x26, 0x01, 0x1b, 0xda];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn otaa(extra: &str) -> NodeConfig {
    let key = "01".repeat(16);
    nodes(&format!("[[node]]\ndev_eui = \"70b3d57ed0001234\"\napp_key = \"{key}\"\n{extra}\n")).remove(0)
}

fn abp(extra: &str) -> NodeConfig {
    let key = "01".repeat(16);
    nodes(&format!(
        "[[node]]\ndev_eui = \"70b3d57ed0001235\"\ndev_addr = \"26011bda\"\nnwk_s_key = \"{key}\"\napp_s_key = \"{key}\"\n{extra}\n"
    ))
    .remove(0)
}

fn nodes(text: &str) -> Vec<NodeConfig> {
    nodes_file::parse(text).unwrap()
}

fn events(air: &mut Air) -> Vec<AirEvent> {
    std::iter::from_fn(|| air.poll()).collect()
}

/// Runs until a frame reaches the gateway.
fn next_heard(air: &mut Air) -> Heard {
    for _ in 0..10_000 {
        let due = air.deadline().expect("something is due");
        air.tick(due);
        for event in events(air) {
            if let AirEvent::ToGateway(heard) = event {
                return heard;
            }
        }
    }
    panic!("no uplink")
}

/// Runs until `now`.
fn run_until(air: &mut Air, now: Duration) -> Vec<AirEvent> {
    air.tick(now);
    events(air)
}

fn join_accept(rx_delay_s: u8) -> Vec<u8> {
    let mut creator = JoinAcceptCreator::with_options([0; 17], DefaultFactory).unwrap();
    let mut address = DEV_ADDR;
    address.reverse();
    creator.set_app_nonce(&[1, 0, 0]).set_net_id(&[0, 0, 0]).set_dev_addr(&address).set_rx_delay(rx_delay_s);
    creator.build(&APP_KEY.into()).unwrap().to_vec()
}

fn data_down(fcnt: u32, payload: &[u8], confirmed: bool, ack: bool) -> Vec<u8> {
    let mut creator = DataPayloadCreator::with_options([0; 256], DefaultFactory).unwrap();
    let mut address = DEV_ADDR;
    address.reverse();
    let mut fctrl = lorawan::parser::FCtrl::new(0, false);
    if ack {
        fctrl.set_ack();
    }
    creator.set_uplink(false).set_confirmed(confirmed).set_dev_addr(&address).set_fcnt(fcnt).set_fctrl(&fctrl);
    creator.set_f_port(9);
    creator.build(payload, &[], &APP_KEY.into(), &APP_KEY.into()).unwrap().to_vec()
}

fn uplink(payload: &[u8], confirmed: bool) -> Command {
    let uplink = Uplink { fport: 1, payload: payload.to_vec(), confirmed };
    Command::Uplink { dev_eui: Eui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0x12, 0x35]), uplink }
}

#[test]
fn a_node_joins_in_rx1_and_in_rx2_and_uses_the_delay_that_it_was_given() {
    for (delay_ms, window) in [(5_000, "rx1"), (6_000, "rx2")] {
        let mut air = Air::new(7, vec![otaa("single_channel = true\npayload = \"01\"\ninterval_s = 60")]);
        let join = next_heard(&mut air);
        assert_eq!((join.frame.on, join.frame.data.len(), join.frame.data[0]), (SF7, 23, 0));
        let on = if window == "rx1" { SF7 } else { RX2 };
        let end = air.transmit_from_gateway(join.end + ms(delay_ms), TxOnAir::downlink(on, 14, join_accept(5)));
        let seen = run_until(&mut air, end + ms(100));
        let joined = seen.iter().any(|e| matches!(e, AirEvent::NodeJoined { dev_addr: DEV_ADDR, .. }));
        assert!(joined, "{window}: {seen:?}");

        let first = next_heard(&mut air);
        assert_eq!(first.frame.data[1..5], [0xda, 0x1b, 0x01, 0x26]);
        assert!(first.start - join.end < ms(12_000), "the first uplink follows soon");
        // The join accept said 5 s: at 1 s nobody listens.
        air.transmit_from_gateway(first.end + ms(1_000), TxOnAir::downlink(SF7, 14, vec![0x60; 20]));
        let seen = run_until(&mut air, first.end + ms(2_000));
        let missed = seen.iter().any(|e| {
            matches!(e, AirEvent::Missed { direction: Direction::Down, window_error_us: Some(-4_000_000), .. })
        });
        assert!(missed, "{seen:?}");
    }
}

#[test]
fn an_unanswered_node_tries_again_by_itself_with_growing_pauses_and_new_nonces() {
    let mut air = Air::new(7, vec![otaa("single_channel = true\njoin_retry_s = 4")]);
    let joins: Vec<Heard> = (0..5).map(|_| next_heard(&mut air)).collect();
    let pauses: Vec<Duration> = joins.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    for (pause, base_s) in pauses.iter().zip([4, 8, 16, 32]) {
        // The windows end at 6 s; the pause follows, and up to half of it at random.
        let (low, high) = (ms(6_000) + ms(base_s * 1_000), ms(6_100) + ms(base_s * 1_500));
        assert!((low..=high).contains(pause), "{pauses:?}");
    }
    let mut nonces: Vec<&[u8]> = joins.iter().map(|join| &join.frame.data[17..19]).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 5);
}

#[test]
fn a_real_node_hops_over_three_join_channels_and_a_pinned_one_does_not() {
    let mut air = Air::new(3, vec![otaa("join_retry_s = 1")]);
    let mut seen: Vec<u32> = (0..40).map(|_| next_heard(&mut air).frame.on.freq_hz).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [868_100_000, 868_300_000, 868_500_000]);
    let mut air = Air::new(3, vec![otaa("join_retry_s = 1\nsingle_channel = true")]);
    assert!((0..40).all(|_| next_heard(&mut air).frame.on.freq_hz == 868_100_000));
}

#[test]
fn window_accuracy_decides_whether_a_downlink_is_heard() {
    // (distance from RX1, heard)
    for (error_us, heard) in [(0, true), (9_900, true), (-9_900, true), (11_000, false), (-11_000, false)] {
        let mut air = Air::new(1, vec![abp("single_channel = true")]);
        air.command(ms(100), uplink(b"x", false)).unwrap();
        let up = next_heard(&mut air);
        let nominal = up.end + ms(1_000);
        let start = Duration::from_micros((nominal.as_micros() as i64 + error_us) as u64);
        air.transmit_from_gateway(start, TxOnAir::downlink(SF7, 14, data_down(1, b"hi", false, false)));
        let seen = run_until(&mut air, up.end + ms(4_000));
        let received = seen.iter().find_map(|event| match event {
            AirEvent::NodeReceived { window: Window::Rx1, window_error_us, payload, fport: Some(9), .. } => {
                Some((*window_error_us, payload.clone()))
            }
            _ => None,
        });
        let missed = seen.iter().find_map(|event| match event {
            AirEvent::Missed { direction: Direction::Down, window_error_us, .. } => *window_error_us,
            _ => None,
        });
        if heard {
            assert_eq!(received, Some((error_us, b"hi".to_vec())));
            assert_eq!(missed, None);
        } else {
            assert_eq!(received, None);
            assert_eq!(missed, Some(error_us));
        }
    }
}

#[test]
fn only_a_frame_with_the_settings_of_a_downlink_is_heard() {
    let good = TxOnAir::downlink(SF7, 14, data_down(1, b"hi", false, false));
    let wrong = [
        TxOnAir { iq_inverted: false, ..good.clone() },
        TxOnAir { crc: true, ..good.clone() },
        TxOnAir { sync_word: 0x12, ..good.clone() },
        TxOnAir { on: Modulation { sf: 8, ..SF7 }, ..good.clone() },
        TxOnAir { on: Modulation { freq_hz: 868_300_000, ..SF7 }, ..good.clone() },
    ];
    for (frame, expected) in wrong.into_iter().map(|frame| (frame, false)).chain([(good, true)]) {
        let mut air = Air::new(1, vec![abp("single_channel = true")]);
        air.command(ms(100), uplink(b"x", false)).unwrap();
        let up = next_heard(&mut air);
        air.transmit_from_gateway(up.end + ms(1_000), frame.clone());
        let seen = run_until(&mut air, up.end + ms(4_000));
        let received = seen.iter().any(|event| matches!(event, AirEvent::NodeReceived { .. }));
        assert_eq!(received, expected, "{frame:?}");
    }
}

#[test]
fn confirmed_uplinks_are_acknowledged_or_not_and_confirmed_downlinks_are_answered() {
    let mut air = Air::new(1, vec![abp("single_channel = true")]);
    air.command(ms(100), uplink(b"x", true)).unwrap();
    let up = next_heard(&mut air);
    assert_eq!(up.frame.data[0] >> 5, 0b100, "confirmed data up");
    air.transmit_from_gateway(up.end + ms(1_000), TxOnAir::downlink(SF7, 14, data_down(1, b"hi", true, true)));
    let seen = run_until(&mut air, up.end + ms(4_000));
    assert!(seen.iter().any(|event| matches!(event, AirEvent::Acked { fcnt: 0, .. })), "{seen:?}");
    assert!(seen.iter().any(|event| matches!(event, AirEvent::NodeReceived { confirmed: true, .. })), "{seen:?}");

    air.command(up.end + ms(5_000), uplink(b"x", true)).unwrap();
    let up = next_heard(&mut air);
    assert_eq!(up.frame.data[5] & 0x20, 0x20, "acknowledges the downlink");
    let seen = run_until(&mut air, up.end + ms(4_000));
    assert!(seen.iter().any(|event| matches!(event, AirEvent::NoAck { fcnt: 1, .. })), "{seen:?}");
}

#[test]
fn a_wrong_mic_is_refused_in_rx1_and_a_good_frame_in_rx2_is_still_taken() {
    let mut air = Air::new(1, vec![abp("single_channel = true")]);
    air.command(ms(100), uplink(b"x", false)).unwrap();
    let up = next_heard(&mut air);
    let mut bad = data_down(1, b"hi", false, false);
    *bad.last_mut().unwrap() ^= 1;
    air.transmit_from_gateway(up.end + ms(1_000), TxOnAir::downlink(SF7, 14, bad));
    air.transmit_from_gateway(up.end + ms(2_000), TxOnAir::downlink(RX2, 14, data_down(1, b"hi", false, false)));
    let seen = run_until(&mut air, up.end + ms(6_000));
    let refused = seen.iter().any(|e| matches!(e, AirEvent::Missed { dev_eui: Some(_), window_error_us: None, .. }));
    assert!(refused, "{seen:?}");
    assert!(seen.iter().any(|e| matches!(e, AirEvent::NodeReceived { window: Window::Rx2, .. })), "{seen:?}");
}

#[test]
fn frames_are_dropped_corrupted_and_replayed_on_command() {
    let mut air = Air::new(1, vec![abp("single_channel = true")]);
    air.command(ms(0), Command::Replay).unwrap_err();
    air.command(ms(0), Command::ReplayJoin).unwrap_err();
    air.command(ms(1), Command::Drop(1)).unwrap();
    air.command(ms(1), uplink(b"lost", false)).unwrap();
    air.command(ms(1), uplink(b"good", false)).unwrap();
    let good = next_heard(&mut air);
    assert_eq!(good.frame.data[6..8], [1, 0], "the first was lost");
    air.command(good.end + ms(5_000), Command::Replay).unwrap();
    let again = next_heard(&mut air);
    assert_eq!(again.frame, good.frame);
    air.command(again.end, Command::Corrupt(1)).unwrap();
    air.command(again.end, Command::Replay).unwrap();
    let bent = next_heard(&mut air).frame.data;
    let flipped: u32 = bent.iter().zip(&good.frame.data).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!(flipped, 1);
}

#[test]
fn overlapping_uplinks_are_lost_unless_one_is_much_stronger() {
    let second = "[[node]]\ndev_eui = \"70b3d57ed0001236\"\ndev_addr = \"26011bdb\"\nnwk_s_key = \"01010101010101010101010101010101\"\napp_s_key = \"01010101010101010101010101010101\"\nsingle_channel = true\n";
    for (rssi_dbm, heard) in [(-80, 0), (-75, 0), (-74, 1), (-120, 1)] {
        let strong = format!("{second}rssi_dbm = {rssi_dbm}\n");
        let mut air = Air::new(1, vec![abp("single_channel = true"), nodes(&strong).remove(0)]);
        air.command(ms(10), uplink(b"a", false)).unwrap();
        let other = Uplink { fport: 1, payload: b"b".to_vec(), confirmed: false };
        let dev_eui = Eui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0x12, 0x36]);
        air.command(ms(30), Command::Uplink { dev_eui, uplink: other }).unwrap();
        let seen = run_until(&mut air, ms(4_000));
        let count = seen.iter().filter(|event| matches!(event, AirEvent::ToGateway(_))).count();
        assert_eq!(count, heard, "{rssi_dbm}: {seen:?}");
    }
}

#[test]
fn the_gateway_is_deaf_while_it_sends() {
    let mut air = Air::new(1, vec![abp("single_channel = true")]);
    air.transmit_from_gateway(ms(10), TxOnAir::downlink(RX2, 14, vec![0x60; 20]));
    air.command(ms(100), uplink(b"a", false)).unwrap();
    let seen = run_until(&mut air, ms(900));
    assert!(!seen.iter().any(|event| matches!(event, AirEvent::ToGateway(_))), "{seen:?}");
    assert!(seen.iter().any(|e| matches!(e, AirEvent::Missed { direction: Direction::Up, .. })), "{seen:?}");
}

#[test]
fn the_queue_of_a_node_is_bounded_and_unknown_nodes_are_named() {
    let mut air = Air::new(1, vec![abp("")]);
    let refused = (0..40).filter(|_| air.command(ms(1), uplink(b"a", false)).is_err()).count();
    assert_eq!(refused, 40 - 1 - lpwad_sim::node::MAX_QUEUED_UPLINKS, "one is on the air already");
    let stranger =
        Command::Uplink { dev_eui: Eui([9; 8]), uplink: Uplink { fport: 1, payload: vec![], confirmed: false } };
    assert!(air.command(ms(1), stranger).unwrap_err().contains("0909090909090909"));
    let long = Uplink { fport: 1, payload: vec![0; 223], confirmed: false };
    let dev_eui = Eui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0x12, 0x35]);
    assert!(air.command(ms(1), Command::Uplink { dev_eui, uplink: long }).unwrap_err().contains("at most 222"));
}

#[test]
fn one_seed_is_one_run_whatever_the_steps_of_the_caller_are() {
    let run = |step_ms: u64| {
        let mut air =
            Air::new(42, vec![otaa("join_retry_s = 1"), abp("interval_s = 7\npayloads = [\"00\", \"0102\"]")]);
        let mut seen = Vec::new();
        for step in 1..=120_000 / step_ms {
            seen.extend(run_until(&mut air, ms(step * step_ms)));
        }
        seen
    };
    let coarse = run(1_000);
    assert!(coarse.len() > 40);
    assert_eq!(coarse, run(1));
}
