//! What a server misses: kept, delivered in order with its times, bounded.

use super::*;
use crate::config::Backlog;
use lpwad_lwm2m::coap::message::{Code, Kind as MessageKind, Message, option};

/// How long an uplink is apart from the next.
const QUARTER: Duration = Duration::from_secs(900);

/// Longer than a node waits after a failed registration.
const HOURS: Duration = Duration::from_secs(2 * 3600);

/// A server that takes part when it is asked to.
#[derive(Default)]
struct ServerModel {
    /// Temperatures that Send brought, with their times.
    sends: Vec<(f64, Option<f64>)>,
    /// Temperatures that notifications brought.
    notified: Vec<f64>,
    /// Answer to Send, if not 2.04.
    refuses: Option<Code>,
    /// Code of the answer to the next Update, if not 2.04.
    forgot: bool,
    registrations: usize,
    /// When each Send came.
    sent_at: Vec<Duration>,
}

impl ServerModel {
    /// Answers everything that was sent so far, and what comes of that.
    fn serve(&mut self, rig: &mut Rig) {
        loop {
            let datagrams = take_sent(rig);
            if datagrams.is_empty() {
                return;
            }
            for bytes in datagrams {
                if let Some(answer) = self.answer(rig.now, &Message::decode(&bytes).unwrap()) {
                    rig.input(Input::Datagram(NODE, answer.encode()));
                }
            }
        }
    }

    /// Answers for so long, at every deadline of the gateway.
    fn serve_for(&mut self, rig: &mut Rig, time: Duration) {
        let until = rig.now + time;
        while rig.now < until {
            self.serve(rig);
            let next = rig.gateway.deadline().unwrap_or(until).clamp(rig.now + Duration::from_millis(1), until);
            rig.run_to(next);
        }
        self.serve(rig);
    }

    fn answer(&mut self, now: Duration, request: &Message) -> Option<Message> {
        let reply = |code| Message::new(MessageKind::Acknowledgement, code, request.message_id, request.token);
        let path = request.texts(option::URI_PATH).unwrap_or_default();
        match (request.code, path.as_slice()) {
            (Code::POST, ["rd"]) => {
                self.registrations += 1;
                self.forgot = false;
                let mut created = reply(Code::CREATED);
                created.add(option::LOCATION_PATH, b"rd");
                created.add(option::LOCATION_PATH, b"a");
                Some(created)
            }
            (Code::POST, ["rd", _]) if self.forgot => Some(reply(Code::NOT_FOUND)),
            (Code::POST, ["rd", _]) => Some(reply(Code::CHANGED)),
            (Code::POST, ["dp"]) if self.forgot => Some(reply(Code::NOT_FOUND)),
            (Code::POST, ["dp"]) if request.uint(option::CONTENT_FORMAT) == Some(112) => {
                Some(reply(Code::UNSUPPORTED_FORMAT))
            }
            (Code::POST, ["dp"]) => {
                self.sent_at.push(now);
                if let Some(code) = self.refuses {
                    return Some(reply(code));
                }
                let pack: serde_json::Value = serde_json::from_slice(&request.payload).unwrap();
                let records = pack.as_array().unwrap().iter().filter(|record| record["n"] == "/3303/1/5700");
                self.sends.extend(records.map(|record| (record["v"].as_f64().unwrap(), record["t"].as_f64())));
                Some(reply(Code::CHANGED))
            }
            (code, _) if code.is_response() && self.forgot => {
                Some(Message::empty(MessageKind::Reset, request.message_id))
            }
            (code, _) if code.is_response() && request.kind == MessageKind::Confirmable => {
                if request.has(option::OBSERVE) {
                    let text = String::from_utf8(request.payload.clone()).unwrap();
                    self.notified.push(text.parse().unwrap());
                }
                Some(Message::empty(MessageKind::Acknowledgement, request.message_id))
            }
            _ => None,
        }
    }
}

/// Datagrams that were sent since the last call.
fn take_sent(rig: &mut Rig) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    rig.outputs.retain(|output| match output {
        Output::Send(_, bytes) => {
            sent.push(bytes.clone());
            false
        }
        _ => true,
    });
    sent
}

/// Only the disk is left; the clocks go on.
fn power_cut(rig: Rig) -> Rig {
    let mut after = Rig::of(rig.time(), &config(true), analyses("2027-06-01"), rig.disk);
    after.fcnt = rig.fcnt;
    after
}

/// The n-th uplink: a temperature of n tenths of a degree.
fn speak(rig: &mut Rig, n: u32) {
    rig.uplink(&format!("0167{n:04x}"), false);
}

fn status(rig: &Rig) -> serde_json::Value {
    rig.gateway.answer_request(rig.time(), &control::Request::Status)["backlog"].clone()
}

fn tenths(values: impl Iterator<Item = u32>) -> Vec<f64> {
    values.map(|n| f64::from(n) / 10.0).collect()
}

/// Registered, with an observation of the temperature in text.
fn observed() -> (Rig, ServerModel) {
    let mut rig = Rig::new();
    let mut server = ServerModel::default();
    speak(&mut rig, 0);
    server.serve(&mut rig);
    let observe =
        [&[0x41, 0x01, 0x78, 9, 9, 0x60, 0x54][..], b"3303", &[0x01], b"1", &[0x04], b"5700", &[0x60]].concat();
    rig.input(Input::Datagram(NODE, observe));
    server.serve(&mut rig);
    assert_eq!((server.registrations, status(&rig)["uplinks"].as_u64()), (1, Some(0)));
    (rig, server)
}

#[test]
fn an_observation_is_answered_when_it_is_on_disk() {
    for works in [true, false] {
        let mut rig = Rig::registered();
        rig.store = Store::Held;
        let observe =
            [&[0x41, 0x01, 0x78, 9, 9, 0x60, 0x54][..], b"3303", &[0x01], b"1", &[0x04], b"5700", &[0x60]].concat();
        for _ in 0..3 {
            rig.input(Input::Datagram(NODE, observe.clone()));
            assert!(rig.sent().is_empty(), "a power cut now would take it, also if it is asked for again");
        }
        let ticket = rig.outputs.iter().rev().find_map(|output| match output {
            Output::Commit(batch) => Some(batch.ticket),
            _ => None,
        });
        let ended = if works { Input::Committed } else { |ticket| Input::CommitFailed(ticket, "disk full".into()) };
        rig.input(ended(ticket.unwrap()));
        assert_eq!(rig.last_code(), 0x45, "2.05, from memory where the disk fails");
    }
}

#[test]
fn what_is_acknowledged_at_once_leaves_no_backlog_and_no_send() {
    let (mut rig, mut server) = observed();
    for n in 1..=20 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
        assert_eq!(status(&rig)["uplinks"], 1, "kept until the server has acknowledged the notification");
        server.serve(&mut rig);
        assert_eq!(status(&rig)["uplinks"], 0);
    }
    assert_eq!(server.notified, tenths(1..=20));
    assert!(server.sends.is_empty());
    rig.run_to(rig.now + S(61));
    assert!(rig.disk.backlog.is_empty(), "and from the disk, at the latest after a minute");
}

#[test]
fn what_a_server_that_has_forgotten_everything_refuses_to_hear_goes_by_send_when_it_knows_the_node_again() {
    let (mut rig, mut server) = observed();
    server.forgot = true;
    rig.run_to(rig.now + QUARTER);
    speak(&mut rig, 1);
    // The notification is answered by a reset, before an Update tells that the registration is gone.
    let notification = take_sent(&mut rig).into_iter().map(|bytes| Message::decode(&bytes).unwrap());
    for message in notification.filter(|message| message.code.is_response()) {
        let reset = server.answer(rig.now, &message).unwrap();
        rig.input(Input::Datagram(NODE, reset.encode()));
    }
    server.serve(&mut rig);
    rig.run_to(rig.now + QUARTER);
    speak(&mut rig, 2);
    server.serve_for(&mut rig, HOURS);
    assert_eq!(server.registrations, 2);
    let told: Vec<f64> = server.sends.iter().map(|(value, _)| *value).collect();
    assert!(told.contains(&0.1), "{told:?}");
    assert_eq!(status(&rig)["uplinks"], 0);
}

#[test]
fn a_server_away_for_72_hours_gets_every_reading_in_order_with_its_time_and_paced() {
    let (mut rig, mut server) = observed();
    let mut times = Vec::new();
    for n in 1..=287 {
        rig.run_to(rig.now + QUARTER);
        times.push((START_UNIX_MS as f64 / 1000.0) + rig.now.as_secs_f64());
        speak(&mut rig, n);
    }
    assert_eq!(status(&rig)["uplinks"], 287);
    take_sent(&mut rig);
    server.forgot = true;
    rig.run_to(rig.now + QUARTER);
    speak(&mut rig, 288);
    times.push((START_UNIX_MS as f64 / 1000.0) + rig.now.as_secs_f64());
    server.serve_for(&mut rig, HOURS);
    let values: Vec<f64> = server.sends.iter().map(|(value, _)| *value).collect();
    assert_eq!(values, tenths(1..=288));
    let told: Vec<f64> = server.sends.iter().map(|(_, at)| at.unwrap()).collect();
    assert_eq!(told, times);
    assert_eq!(rig.said(Kind::BacklogDelivered), 1);
    assert_eq!((status(&rig)["uplinks"].as_u64(), status(&rig)["uplinks_dropped"].as_u64()), (Some(0), Some(0)));
    let in_a_second =
        |from: &Duration| server.sent_at.iter().filter(|at| (*from..*from + S(1)).contains(at)).count() as u32;
    let most = server.sent_at.iter().map(in_a_second).max().unwrap();
    assert!((2..=2 * SENDS_PER_S).contains(&most), "{most} Sends in one second, after a burst of as many");
    rig.run_to(rig.now + S(61));
    assert!(rig.disk.backlog.is_empty());
}

#[test]
fn beyond_72_hours_and_beyond_the_bytes_the_oldest_go_and_are_counted() {
    let (mut rig, mut server) = observed();
    for n in 1..=300 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
    }
    let (kept, dropped) = (status(&rig)["uplinks"].as_u64().unwrap(), status(&rig)["uplinks_dropped"].as_u64());
    assert_eq!((kept, dropped), (289, Some(11)), "72 h and the newest");
    assert_eq!(rig.said(Kind::BacklogFull), 1, "said once");
    rig.run_to(rig.now + HOURS);
    take_sent(&mut rig);
    speak(&mut rig, 301);
    server.serve_for(&mut rig, HOURS);
    assert_eq!(server.sends.iter().map(|(value, _)| *value).collect::<Vec<_>>(), tenths(20..=301));

    let small = Config { backlog: Backlog { max_bytes: 2000, ..Backlog::default() }, ..config(true) };
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS) };
    let mut rig = Rig::of(now, &small, analyses("2027-06-01"), Loaded::default());
    for n in 0..100 {
        rig.run_to(rig.now + S(10));
        speak(&mut rig, n);
        assert!(status(&rig)["bytes"].as_u64().unwrap() <= 2000);
        let on_disk: usize = rig.disk.backlog.values().map(Vec::len).sum();
        assert!(on_disk <= 4000, "{on_disk} B: what goes is removed with the next batch");
    }
    let (kept, dropped) =
        (status(&rig)["uplinks"].as_u64().unwrap(), status(&rig)["uplinks_dropped"].as_u64().unwrap());
    assert!(kept >= 8 && kept + dropped == 100, "{kept} kept, {dropped} dropped");
}

#[test]
fn a_power_cut_at_any_uplink_loses_nothing_and_keeps_the_order() {
    for cut in 1..=12 {
        let (mut rig, mut server) = observed();
        for n in 1..=12 {
            rig.run_to(rig.now + QUARTER);
            speak(&mut rig, n);
            if n == cut {
                rig = power_cut(rig);
            }
        }
        assert_eq!(status(&rig)["uplinks"], 12);
        rig.run_to(rig.now + HOURS);
        take_sent(&mut rig);
        speak(&mut rig, 13);
        server.serve_for(&mut rig, HOURS);
        let values: Vec<f64> = server.sends.iter().map(|(value, _)| *value).collect();
        let newest = if values.last() == Some(&1.3) { 13 } else { 12 };
        assert_eq!(values, tenths(1..=newest), "cut after uplink {cut}");
        assert!(newest == 13 || server.notified.last() == Some(&1.3), "the newest by Send or by notification");
    }
}

#[test]
fn a_power_cut_while_it_is_delivered_tells_twice_rather_than_never() {
    let (mut rig, mut server) = observed();
    for n in 1..=100 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
    }
    rig.run_to(rig.now + HOURS);
    take_sent(&mut rig);
    speak(&mut rig, 101);
    server.serve(&mut rig);
    let before = server.sends.len();
    assert!((20..100).contains(&before), "in the middle: {before}");
    let mut rig = power_cut(rig);
    rig.run_to(rig.now + HOURS);
    take_sent(&mut rig);
    speak(&mut rig, 102);
    server.serve_for(&mut rig, HOURS);
    let all: std::collections::BTreeSet<u32> =
        server.sends.iter().map(|(value, _)| (value * 10.0).round() as u32).collect();
    assert!((1..=101).all(|n| all.contains(&n)), "{all:?}");
    let again: Vec<f64> = server.sends.iter().skip(before).map(|(value, _)| *value).collect();
    assert!(again.windows(2).all(|pair| pair[0] < pair[1]), "in order: {again:?}");
}

/// A server that was away, refuses Send, and is told of an uplink each quarter of an hour for some hours.
fn refused_for_hours(code: Code) -> (Rig, ServerModel) {
    let (mut rig, mut server) = observed();
    for n in 1..=5 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
    }
    server.refuses = Some(code);
    take_sent(&mut rig);
    for n in 6..=69 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
        server.serve(&mut rig);
    }
    (rig, server)
}

#[test]
fn a_server_that_refuses_a_send_is_asked_again_less_and_less_often() {
    for code in [Code::METHOD_NOT_ALLOWED, Code::NOT_FOUND, Code::BAD_REQUEST] {
        let (mut rig, mut server) = refused_for_hours(code);
        // At once, after an hour, two, four, eight: the 16 hours have no more.
        assert!((3..=5).contains(&server.sent_at.len()), "{code:?}: {:?}", server.sent_at);
        assert_eq!(rig.said(Kind::BacklogRefused), 1, "said once");
        assert!(rig.said(Kind::Updated) < 40, "{code:?}: {} Updates for 64 uplinks", rig.said(Kind::Updated));
        assert!(status(&rig)["uplinks"].as_u64().unwrap() >= 5, "kept");
        server.refuses = None;
        let registrations = server.registrations;
        for n in 70..=140 {
            rig.run_to(rig.now + QUARTER);
            speak(&mut rig, n);
            server.serve(&mut rig);
        }
        assert_eq!((server.registrations, rig.said(Kind::BacklogDelivered)), (registrations, 1), "an Update is enough");
        assert_eq!(server.sends[0].0, 0.1);
    }
}

#[test]
fn readings_that_the_profile_does_not_have_any_more_are_counted_and_the_others_are_told() {
    let (mut rig, mut server) = observed();
    for n in 1..=3 {
        rig.run_to(rig.now + QUARTER);
        rig.uplink(&format!("0167{n:04x}016891"), false);
    }
    take_sent(&mut rig);
    let mut loaded = std::mem::take(&mut rig.disk);
    for (key, bytes) in &mut loaded.backlog {
        let mut record = BacklogRecord::from_bytes(bytes).unwrap();
        for reading in record.readings.iter_mut().filter(|reading| reading.path.object == 3304) {
            reading.path.object = 9999;
        }
        *bytes = record.to_bytes();
        assert_eq!(key.dev_eui, DEV_EUI);
    }
    rig.disk = loaded;
    let mut rig = power_cut(rig);
    server.forgot = true;
    speak(&mut rig, 4);
    server.serve_for(&mut rig, HOURS);
    assert_eq!(status(&rig)["readings_unsendable"], 3);
    assert_eq!(rig.said(Kind::BacklogUnsendable), 3);
    let told: Vec<f64> = server.sends.iter().map(|(value, _)| *value).collect();
    assert_eq!(told[..3], tenths(1..=3)[..]);
}

#[test]
fn times_that_were_not_known_are_derived_when_the_clock_is_set() {
    let mut rig = Rig::new();
    rig.unix = false;
    // Without a trusted clock no session opens, and no time is known.
    speak(&mut rig, 1);
    rig.run_to(rig.now + QUARTER);
    speak(&mut rig, 2);
    let heard = rig.now;
    rig.run_to(rig.now + QUARTER);
    rig.unix = true;
    rig.input(Input::Request(1, control::Request::PolicyRearm));
    speak(&mut rig, 3);
    let mut server = ServerModel::default();
    server.serve_for(&mut rig, HOURS);
    assert_eq!(server.sends.iter().map(|(value, _)| *value).collect::<Vec<_>>(), tenths(1..=3));
    assert_eq!(server.sends[1].1, Some(START_UNIX_MS as f64 / 1000.0 + heard.as_secs_f64()));
}

#[test]
fn with_the_disk_failing_what_is_missed_is_kept_in_memory_and_written_when_it_works() {
    let (mut rig, mut server) = observed();
    rig.store = Store::Fails;
    for n in 1..=3 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
    }
    assert!(rig.disk.backlog.is_empty());
    assert_eq!(status(&rig)["uplinks"], 3);
    rig.store = Store::Works;
    rig.run_to(rig.now + S(40));
    assert_eq!(rig.disk.backlog.len(), 3);
    rig.run_to(rig.now + HOURS);
    take_sent(&mut rig);
    speak(&mut rig, 4);
    server.serve_for(&mut rig, HOURS);
    assert_eq!(server.sends.iter().map(|(value, _)| *value).take(3).collect::<Vec<_>>(), tenths(1..=3));
}

#[test]
fn a_damaged_entry_is_named_and_costs_only_itself() {
    let (mut rig, _) = observed();
    for n in 1..=3 {
        rig.run_to(rig.now + QUARTER);
        speak(&mut rig, n);
    }
    *rig.disk.backlog.values_mut().nth(1).unwrap() = b"{\"v\":1,".to_vec();
    let mut rig = power_cut(rig);
    assert_eq!(rig.said(Kind::RecordDamaged), 1);
    assert_eq!(status(&rig)["uplinks"], 2);
    rig.run_to(rig.now + S(61));
    assert_eq!(rig.disk.backlog.len(), 2);
}
