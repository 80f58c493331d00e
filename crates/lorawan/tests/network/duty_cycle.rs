//! The duty cycle holds in every sliding hour, whatever is asked of the radio.

use crate::device::{APP_KEY, otaa};
use crate::frames::{Abp, join_request};
use crate::world::{OnAir, SF7, SF12, World, ms};
use core::time::Duration;
use lpwad_lorawan::TxOutcome;

/// The most time on air within any hour, among transmissions of these frequencies.
fn busiest_hour(sent: &[OnAir], low_hz: u32, high_hz: u32) -> Duration {
    let hour = Duration::from_secs(3600);
    let sent: Vec<_> = sent.iter().filter(|s| (low_hz..high_hz).contains(&s.frame.freq_hz)).collect();
    let within = |from: Duration| -> Duration {
        let overlap = |s: &&OnAir| {
            let (start, end) = (s.start.max(from), (s.start + s.frame.airtime).min(from + hour));
            end.saturating_sub(start)
        };
        sent.iter().map(overlap).sum()
    };
    sent.iter().map(|s| within(s.start)).max().unwrap_or_default()
}

#[test]
fn flood_of_joins() {
    let mut world = World::new((1..=4).map(otaa).collect());
    for dev_nonce in 0..3_000u16 {
        let dr = if dev_nonce % 5 == 0 { SF12 } else { SF7 };
        world.hear(868_100_000, dr, &join_request(dev_nonce as u8 % 4 + 1, dev_nonce, APP_KEY));
        world.pass(ms(2_700));
    }
    world.pass(ms(10_000));
    let rx1 = busiest_hour(&world.on_air, 868_000_000, 868_600_000);
    let rx2 = busiest_hour(&world.on_air, 869_400_000, 869_650_000);
    assert!(rx1 <= Duration::from_secs(36), "{rx1:?}");
    assert!(rx2 <= Duration::from_secs(360), "{rx2:?}");
    assert!(rx1 > Duration::from_secs(34), "the budget is used: {rx1:?}");
    assert!(world.net.counters().tx_duty_cycle > 100);
}

#[test]
fn what_was_not_on_the_air_does_not_count_and_what_may_have_been_does() {
    for (outcome, counts) in [(TxOutcome::Late, false), (TxOutcome::Failed, true), (TxOutcome::Busy, true)] {
        let abp = Abp::new(1);
        let mut world = World::new(vec![abp.device(false)]);
        // SF12, 12 bytes: 0.99 s each; 36 s are used up by 36 of them.
        for fcnt in 0..60 {
            world.outcomes.push_back(Some(outcome));
            let mut up = abp.up(fcnt);
            up.confirmed = true;
            world.hear(868_100_000, SF12, &up.bytes());
            world.pass(ms(10_000));
            world.outcomes.clear();
        }
        assert_eq!(world.net.counters().tx_duty_cycle > 0, counts, "{outcome:?}");
    }
}

#[test]
fn a_radio_that_comes_back_has_not_forgotten() {
    let abp = Abp::new(1);
    let mut world = World::new(vec![abp.device(false)]);
    for fcnt in 0..100 {
        let mut up = abp.up(fcnt);
        up.confirmed = true;
        world.hear(868_100_000, SF12, &up.bytes());
        world.pass(ms(10_000));
        world.net.add_radio(crate::world::ROOF, crate::world::sheet());
    }
    assert!(busiest_hour(&world.on_air, 868_000_000, 868_600_000) <= Duration::from_secs(36));
    assert!(world.net.counters().tx_duty_cycle > 0);
}
