//! A lying plugin is a unit test.

use super::*;
use lpwad_link::fact::FactName;

const S: fn(u64) -> Duration = Duration::from_secs;

fn radio() -> Radio {
    Radio::new("roof".into(), Map::new(), &[868_100_000], 7)
}

fn drain(radio: &mut Radio) -> Vec<Output> {
    std::iter::from_fn(|| radio.poll()).collect()
}

fn say(radio: &mut Radio, now: Duration, line: &str) -> Vec<Output> {
    radio.line(now, radio.starts, Ok(line.as_bytes()));
    drain(radio)
}

const HELLO: &str = r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","plugin":"x","kind":"lora-phy"}}"#;
const READY: &str = r#"{"ready":{"max_dbm_eirp":14.0,"clock":"us32","channels":1,"freq_hz":868100000,"dr":"SF7BW125","timed_tx":true,"inverted_iq":true,"min_lead_ms":50}}"#;

fn ready_radio() -> Radio {
    let mut radio = radio();
    assert_eq!(drain(&mut radio), [Output::Start]);
    radio.started(S(0), radio.starts);
    assert!(matches!(drain(&mut radio).as_slice(), [Output::Write(line)] if line.starts_with(r#"{"hello""#)));
    assert!(
        matches!(say(&mut radio, S(1), HELLO).as_slice(), [Output::Write(line)] if line.starts_with(r#"{"configure""#))
    );
    let Some(Output::Ready(sheet)) = say(&mut radio, S(2), READY).pop() else { panic!("not ready") };
    assert_eq!(sheet.single_channel, Some((868_100_000, DataRate { sf: 7, bw_hz: 125_000 })));
    radio
}

fn lost(outputs: &[Output]) -> Option<(&str, Duration)> {
    outputs.iter().find_map(|output| match output {
        Output::Lost { reason, retry_in, .. } => Some((reason.as_str(), *retry_in)),
        _ => None,
    })
}

#[test]
fn frames_flow_after_hello_configure_ready() {
    let mut radio = ready_radio();
    let line =
        r#"{"rx":{"at_us":4294967295,"freq_hz":868100000,"dr":"SF7BW125","rssi_dbm":-97,"snr_db":5.5,"data":"4004"}}"#;
    let Some(Output::Rx(first)) = say(&mut radio, S(3), line).pop() else { panic!("no frame") };
    let Some(Output::Rx(second)) = say(&mut radio, S(4), &line.replace("4294967295", "5")).pop() else {
        panic!("no frame")
    };
    assert_eq!(second.at_us - first.at_us, 6, "the clock is unwrapped");
    let dr = DataRate { sf: 7, bw_hz: 125_000 };
    let frame = TxFrame {
        id: 9,
        at_us: second.at_us,
        freq_hz: 868_100_000,
        dr,
        dbm_eirp: 14.0,
        data: vec![0x60],
        airtime: S(0),
    };
    radio.transmit(&frame);
    assert!(matches!(drain(&mut radio).as_slice(), [Output::Write(line)] if line.contains(r#""at_us":5,"#)));
    assert_eq!(
        say(&mut radio, S(5), r#"{"txdone":{"id":9,"status":"late","tx_margin_ms":-3}}"#),
        [Output::TxDone { id: 9, outcome: TxOutcome::Late, margin_ms: Some(-3) }]
    );
}

#[test]
fn silence_wrong_version_wrong_kind_and_exit_are_named_and_lead_to_a_restart() {
    for (line, word) in [
        (HELLO.replace("1.0.0", "2.0.0"), "major version 2"),
        (HELLO.replace("lpwad-link", "other"), "another protocol"),
        (HELLO.replace("lora-phy", "codec"), "kind"),
    ] {
        let mut radio = radio();
        radio.started(S(0), radio.starts);
        drain(&mut radio);
        let outputs = say(&mut radio, S(1), &line);
        assert_eq!(outputs.first(), Some(&Output::Kill));
        assert!(lost(&outputs).unwrap().0.contains(word), "{outputs:?}");
    }
    let mut radio = ready_radio();
    radio.tick(S(31));
    assert!(drain(&mut radio).is_empty(), "a line came at 2 s");
    radio.tick(S(32));
    let outputs = drain(&mut radio);
    assert!(lost(&outputs).unwrap().0.contains("silent"));
    radio.exited(S(33), radio.starts, "killed");
    assert!(drain(&mut radio).is_empty(), "its end is no second failure");
    radio.tick(S(40));
    assert_eq!(drain(&mut radio), [Output::Start]);
}

#[test]
fn restarts_come_at_a_growing_delay_up_to_a_minute_and_quicker_after_recovery() {
    let mut radio = radio();
    let mut now = S(0);
    let mut waits = Vec::new();
    for _ in 0..9 {
        radio.started(now, radio.starts);
        radio.exited(now, radio.starts, "exit code 1");
        let outputs = drain(&mut radio);
        let (_, retry_in) = lost(&outputs).unwrap();
        waits.push(retry_in.as_secs_f64());
        now += retry_in;
        radio.tick(now);
    }
    for (wait, base) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]) {
        assert!((base..base * 1.25).contains(wait), "{waits:?}");
    }
    radio.started(now, radio.starts);
    say(&mut radio, now, HELLO);
    say(&mut radio, now, READY);
    radio.exited(now + S(121), radio.starts, "exit code 1");
    assert!(lost(&drain(&mut radio)).unwrap().1 < S(2));
}

#[test]
fn garbage_is_counted_and_too_much_of_it_or_a_flood_stops_the_plugin() {
    let mut radio = ready_radio();
    for n in 0..MAX_BAD_LINES {
        assert!(say(&mut radio, S(3), "garbage").is_empty(), "{n}");
    }
    assert!(say(&mut radio, S(3), r#"{"news":{}}"#).is_empty(), "an unknown message is no garbage");
    for _ in 0..MAX_BAD_LINES {
        say(&mut radio, S(3), "garbage");
    }
    assert!(radio.is_ready());
    assert!(lost(&say(&mut radio, S(3), "garbage")).unwrap().0.contains("bad lines"));
    assert_eq!(radio.bad_lines, u64::from(2 * MAX_BAD_LINES + 1));

    let mut radio = ready_radio();
    radio.line(S(3), radio.starts, Err(lpwad_link::Oversize));
    let outputs = drain(&mut radio);
    assert!(
        matches!(outputs.as_slice(), [Output::Kill, Output::Lost { cause: Cause::LineTooLong, .. }]),
        "{outputs:?}"
    );

    let mut radio = ready_radio();
    for _ in 0..MAX_LINES_PER_S {
        assert!(say(&mut radio, S(9), r#"{"status":{}}"#).is_empty());
    }
    assert!(lost(&say(&mut radio, S(9), r#"{"status":{}}"#)).unwrap().0.contains("lines per second"));
}

#[test]
fn messages_out_of_turn_count_as_bad_lines() {
    let mut radio = ready_radio();
    for _ in 0..MAX_BAD_LINES {
        assert!(say(&mut radio, S(3), READY).is_empty());
    }
    assert!(lost(&say(&mut radio, S(3), READY)).unwrap().0.contains("out of turn"));
}

#[test]
fn a_radio_that_cannot_send_a_frame_says_so_at_once() {
    let mut radio = radio();
    radio.started(S(0), radio.starts);
    say(&mut radio, S(1), HELLO);
    say(
        &mut radio,
        S(2),
        &READY.replace("\"inverted_iq\":true", "\"freq_ranges_hz\":[[863000000,870000000]],\"inverted_iq\":true"),
    );
    let dr = DataRate { sf: 7, bw_hz: 125_000 };
    let frame = TxFrame { id: 1, at_us: 0, freq_hz: 915_000_000, dr, dbm_eirp: 14.0, data: vec![0x60], airtime: S(0) };
    radio.transmit(&frame);
    assert_eq!(drain(&mut radio), [Output::TxDone { id: 1, outcome: TxOutcome::Late, margin_ms: None }]);
    radio.transmit(&TxFrame { freq_hz: 869_525_000, ..frame });
    assert!(matches!(drain(&mut radio).as_slice(), [Output::Write(_)]));
}

#[test]
fn fault_of_the_plugin_is_told_once_and_names_the_failure() {
    let mut radio = ready_radio();
    let fault = r#"{"status":{"fault":"port is gone","counters":{"rx":3,"text":"x"}}}"#;
    assert_eq!(say(&mut radio, S(3), fault), [Output::Fault(Some("port is gone".into()))]);
    assert!(say(&mut radio, S(4), fault).is_empty());
    assert_eq!(radio.plugin_counters.len(), 1);
    radio.exited(S(5), radio.starts, "exit code 1");
    assert_eq!(lost(&drain(&mut radio)).unwrap().0, "port is gone (exit code 1)");
}

#[test]
fn the_end_of_an_earlier_run_is_no_news_and_reasons_do_not_pile_up() {
    let mut radio = ready_radio();
    radio.tick(S(40));
    let outputs = drain(&mut radio);
    assert!(lost(&outputs).is_some());
    radio.tick(S(45));
    assert_eq!(drain(&mut radio), [Output::Start]);
    // The killed process takes longer to die than the wait: its end comes after the new start.
    radio.exited(S(46), 1, "plugin was ended by signal 9");
    radio.started(S(46), 2);
    assert!(matches!(radio.state, State::Hello { .. }));
    let mut now = S(46);
    for _ in 0..5 {
        radio.exited(now, radio.starts, "exit code 1");
        let outputs = drain(&mut radio);
        let (reason, retry_in) = lost(&outputs).unwrap();
        assert_eq!(reason, "exit code 1");
        now += retry_in;
        radio.tick(now);
    }
}

#[test]
fn a_start_that_waits_for_a_process_that_does_not_end_is_given_up_and_tried_again() {
    let mut radio = ready_radio();
    radio.tick(S(40));
    assert!(lost(&drain(&mut radio)).is_some());
    let mut now = S(45);
    for run in 2..=4 {
        radio.tick(now);
        assert_eq!((drain(&mut radio), radio.starts), (vec![Output::Start], run));
        assert_eq!(radio.deadline(), Some(now + S(60)));
        radio.tick(now + S(59));
        assert_eq!(drain(&mut radio), []);
        radio.tick(now + S(60));
        let outputs = drain(&mut radio);
        let [Output::Kill, Output::Lost { cause: Cause::Silent, reason, retry_in }] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        assert!(reason.contains("the one before it does not end"), "{reason}");
        assert!(*retry_in >= S(1 << (run - 1)), "{retry_in:?}");
        // What was given up is no news any more.
        radio.started(now + S(60), run);
        radio.exited(now + S(60), 1, "plugin was ended by signal 9");
        assert_eq!((drain(&mut radio), radio.is_ready()), (vec![], false));
        now += S(60) + *retry_in;
    }
    radio.tick(now);
    radio.started(now + S(59), 5);
    assert!(matches!(radio.state, State::Hello { .. }));
}

#[test]
fn stop_is_said_and_not_followed_by_a_restart() {
    let mut radio = ready_radio();
    radio.stop();
    assert!(matches!(drain(&mut radio).as_slice(), [Output::Write(line)] if line.starts_with(r#"{"stop""#)));
    radio.exited(S(9), radio.starts, "exit code 0");
    assert_eq!((radio.deadline(), drain(&mut radio).len()), (None, 0));
}

#[test]
fn a_clock_that_jumps_is_named_and_one_that_drifts_is_not() {
    let rx = |at_us: u32| format!(r#"{{"rx":{{"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","data":"4004"}}}}"#);
    let jump = |radio: &mut Radio, now: Duration, at_us: u32| {
        say(radio, now, &rx(at_us)).into_iter().find_map(|output| match output {
            Output::ClockJumped(ms) => Some(ms),
            _ => None,
        })
    };
    let mut radio = ready_radio();
    assert_eq!(jump(&mut radio, S(10), 4_294_000_000), None, "the first stamp may be any");
    assert_eq!(jump(&mut radio, S(11), 32_704), None, "over the end of the turn");
    assert_eq!(jump(&mut radio, S(11), 2), None, "a little out of order");
    // A day later, 100 ppm fast; the clock has turned 20 times.
    let day = Duration::from_secs(86_400);
    let mut radio = ready_radio();
    jump(&mut radio, S(10), 0);
    let fast = (day.as_micros() as u64 + 8_640_000) as u32;
    assert_eq!(jump(&mut radio, S(10) + day, fast), None);
    assert_eq!(jump(&mut radio, S(11) + day, fast.wrapping_add(61_000_000)), Some(60_000));
    assert_eq!(jump(&mut radio, S(12) + day, fast.wrapping_sub(538_000_000)), Some(-600_000));
    assert_eq!(radio.clock_jumps, 2);
}

#[test]
fn a_sheet_that_cannot_be_true_is_refused() {
    for (from, to, word) in [
        ("14.0", "1000.0", "max_dbm_eirp 1000"),
        ("14.0", "-1e30", "max_dbm_eirp"),
        ("us32", "us64", "clock"),
        (
            "\"freq_hz\":868100000",
            "\"freq_ranges_hz\":[[863000000,868000000]],\"freq_hz\":868100000",
            "freq_hz 868100000",
        ),
    ] {
        let mut radio = radio();
        radio.started(S(0), radio.starts);
        say(&mut radio, S(1), HELLO);
        let outputs = say(&mut radio, S(2), &READY.replace(from, to));
        let lost = outputs.iter().find_map(|output| match output {
            Output::Lost { cause, reason, .. } => Some((*cause, reason.clone())),
            _ => None,
        });
        assert!(
            lost.is_some_and(|(cause, reason)| cause == Cause::Sheet && reason.contains(word)),
            "{to}: {outputs:?}"
        );
    }
}

fn fact(name: &str, value: &str) -> String {
    format!(r#"{{"fact":{{"name":"{name}","value":{value}}}}}"#)
}

#[test]
fn facts_are_news_when_they_change_and_what_cannot_be_ends_what_was() {
    let mut radio = ready_radio();
    assert_eq!(say(&mut radio, S(3), &fact("rat", "\"nb-iot\"")), [Output::Facts]);
    assert_eq!(say(&mut radio, S(4), &fact("rat", "\"nb-iot\"")), []);
    assert_eq!(radio.said.get(FactName::Rat), Some(&"nb-iot".into()));
    assert_eq!(say(&mut radio, S(5), &fact("weather", "\"fine\"")), []);
    assert_eq!((radio.unknown_facts, radio.bad_lines), (1, 0));
    assert_eq!(say(&mut radio, S(6), &fact("rat", "[\"nb-iot\"]")), [Output::Facts]);
    assert_eq!((radio.bad_lines, radio.said.is_empty()), (1, true));
    assert_eq!(say(&mut radio, S(7), &fact("rat", "null")), []);
    assert_eq!(radio.bad_lines, 1);
}

#[test]
fn facts_expire_while_the_plugin_lives_and_end_with_it() {
    let mut radio = ready_radio();
    say(&mut radio, S(3), &fact("roaming", "false"));
    for at in (10..=600).step_by(10) {
        assert_eq!(say(&mut radio, S(at), r#"{"status":{}}"#), []);
    }
    radio.tick(S(602));
    assert_eq!((drain(&mut radio), radio.deadline()), (vec![], Some(S(603))));
    radio.tick(S(603));
    assert_eq!((drain(&mut radio), radio.deadline()), (vec![Output::Facts], Some(S(630))));
    say(&mut radio, S(604), &fact("roaming", "false"));
    radio.exited(S(605), radio.starts, "killed");
    assert_eq!(drain(&mut radio)[0], Output::Facts);
    assert!(radio.said.is_empty());
}

#[test]
fn a_plugin_that_changes_its_mind_too_often_is_started_again() {
    let mut radio = ready_radio();
    let mut changes = 0;
    let outputs = loop {
        let outputs = say(&mut radio, S(3 + changes / 10), &fact("roaming", ["true", "false"][changes as usize % 2]));
        if outputs.len() != 1 {
            break outputs;
        }
        changes += 1;
    };
    assert_eq!(changes, 60);
    assert!(lost(&outputs).unwrap().0.contains("more often than 60 times a minute"), "{outputs:?}");
    assert!(radio.said.is_empty());
}
