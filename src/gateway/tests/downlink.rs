//! The way of a write to the node: disk, network, radio, acknowledgement.

use super::*;
use std::collections::BTreeSet;

#[test]
fn an_acknowledged_write_is_on_disk_and_survives_a_restart() {
    let mut rig = Rig::registered();
    rig.write(1);
    assert_eq!(rig.last_code(), 0x44, "2.04");
    // Power cut: only the disk is left.
    let mut rig = Rig::with(analyses("2027-06-01"), rig.disk.clone(), true);
    rig.fcnt = 1;
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(5));
    assert_eq!(rig.said(Kind::DownlinkSent), 1, "the write leaves after the restart");
    rig.uplink("01670112", true);
    assert_eq!(rig.said(Kind::DownlinkAcked), 1);
    let node = rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() });
    assert_eq!(node["values"]["/3306/0/5850"]["value"], true, "read back when the node has it");
    assert_eq!(node["downlinks"], serde_json::json!([]));
}

#[test]
fn a_write_that_the_disk_does_not_take_is_not_acknowledged_and_not_sent() {
    let mut rig = Rig::registered();
    rig.store = Store::Fails;
    rig.write(1);
    assert_eq!(rig.last_code(), 0xa3, "5.03");
    assert_eq!(rig.said(Kind::StoreFailed), 1);
    rig.uplink("01670111", false);
    rig.outputs.clear();
    rig.run_to(rig.now + S(4));
    assert_eq!(rig.take_transmitted().len(), 0);
    rig.run_to(rig.now + S(600));
    assert_eq!(rig.said(Kind::StoreFailed), 0, "said once, not with every retry");
    rig.store = Store::Works;
    rig.run_to(rig.now + S(40));
    assert_eq!(rig.said(Kind::StoreRecovered), 1);
    assert!(rig.disk.get(Table::Device, DEV_EUI).is_some(), "what failed was written again");
}

#[test]
fn a_disk_that_hangs_is_said_and_holds_nobody_up() {
    let mut rig = Rig::registered();
    rig.store = Store::Held;
    rig.uplink("01670111", false);
    let batch =
        rig.outputs.iter().find_map(|output| if let Output::Commit(batch) = output { Some(batch) } else { None });
    let hung = batch.unwrap().clone();
    rig.write(1);
    rig.outputs.clear();
    rig.run_to(rig.now + S(29));
    let answered = rig.sent().iter().any(|datagram| datagram[1] != 0);
    assert!(rig.said(Kind::StoreFailed) == 0 && !answered, "the server knows no more than that its message is here");
    rig.run_to(rig.now + S(2));
    assert_eq!((rig.said(Kind::StoreFailed), rig.last_code()), (1, 0xa3), "5.03 for who waits");
    rig.outputs.clear();
    rig.write(2);
    assert_eq!(rig.last_code(), 0xa3, "5.03 at once");
    rig.run_to(rig.now + S(600));
    assert_eq!(rig.said(Kind::StoreFailed), 0, "said once");
    rig.store = Store::Works;
    rig.disk.apply(&hung);
    rig.input(Input::Committed(hung.ticket));
    assert_eq!(rig.said(Kind::StoreRecovered), 1);
    let (_, pending) = mailbox_from_bytes(rig.disk.get(Table::Mailbox, DEV_EUI).unwrap()).unwrap();
    assert_eq!(pending.len(), 0, "what was refused is not on disk");
    rig.write(3);
    assert_eq!(rig.last_code(), 0x44);
}

#[test]
fn a_later_write_that_the_disk_does_not_take_leaves_the_acknowledged_one() {
    let mut rig = Rig::registered();
    rig.write(1);
    assert_eq!(rig.last_code(), 0x44);
    rig.store = Store::Fails;
    rig.write(2);
    assert_eq!(rig.last_code(), 0xa3);
    rig.store = Store::Works;
    rig.run_to(rig.now + S(40));
    let node = rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() });
    assert_eq!(node["downlinks"].as_array().unwrap().len(), 1);
    let (_, pending) = mailbox_from_bytes(rig.disk.get(Table::Mailbox, DEV_EUI).unwrap()).unwrap();
    assert_eq!(pending.len(), 1, "on disk as well");
}

#[test]
fn an_unconfirmed_write_leaves_once_and_the_value_waits_for_the_nodes_report() {
    let mut rig = Rig::with(analyses("2027-06-01"), Loaded::default(), false);
    rig.uplink("01670110", false);
    rig.accept();
    rig.write(1);
    rig.write(1);
    assert_eq!(rig.said(Kind::WriteAccepted), 1, "the same message again is the same write");
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(5));
    assert_eq!(rig.said(Kind::DownlinkSent), 1);
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(5));
    assert_eq!(rig.said(Kind::DownlinkSent), 1, "once");
    let node = rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() });
    assert!(node["values"]["/3306/0/5850"].is_null());
}

#[test]
fn a_write_that_finds_no_window_is_given_up_after_its_time_and_counted() {
    let mut rig = Rig::registered();
    rig.write(1);
    rig.run_to(rig.now + S(86_401));
    assert_eq!(rig.said(Kind::DownlinkDropped), 1);
    let node = rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() });
    assert_eq!((&node["downlinks_dropped"], &node["downlinks"]), (&serde_json::json!(1), &serde_json::json!([])));
}

/// A node with two actuators, registered.
fn two_actuators() -> Rig {
    let text = include_str!("../../../profiles/cayenne-lpp.toml")
        .replace("\"/3306/0\"]", "\"/3306/0\", \"/3306/1\"]")
        .replace("channel = 0", "channel = 0\n[[actuator]]\npath = \"/3306/1/5850\"\nchannel = 1");
    let mut config = config(true);
    config.nodes[0].profile = Arc::new(crate::config::Profile::parse(std::path::Path::new("p"), &text).unwrap());
    let now = Now { mono: S(1), unix_ms: Some(START_UNIX_MS + 1000) };
    let mut rig = Rig::of(now, &config, analyses("2027-06-01"), Loaded::default());
    rig.uplink("01670110", false);
    rig.accept();
    rig.run_to(rig.now + S(5));
    rig.outputs.clear();
    rig
}

/// A confirmable PUT of "1" to `/3306/<actuator>/5850` with this message id.
fn write(rig: &mut Rig, id: u8, actuator: u8) {
    let instance = [b'0' + actuator];
    let put =
        [&[0x41, 0x03, 0x77, id, id, 0xb4][..], b"3306", &[0x01], &instance, &[0x04], b"5850", &[0xff], b"1"].concat();
    rig.input(Input::Datagram(NODE, put));
}

/// Lets time pass in which the radio says nothing of what it was given.
fn wait(rig: &mut Rig, ms: u64) {
    rig.now += Duration::from_millis(ms);
    rig.input(Input::Tick);
}

/// What the radio was given since it was last asked, and what it says of that.
fn transmitted(rig: &mut Rig, status: &str) -> usize {
    let frames = rig.take_transmitted();
    for (id, _) in &frames {
        rig.line(&format!(r#"{{"txdone":{{"id":{id},"status":"{status}"}}}}"#));
    }
    frames.len()
}

fn ticket_of(output: &Output) -> Option<u64> {
    match output {
        Output::Commit(batch) => Some(batch.ticket),
        _ => None,
    }
}

/// What the node is owed.
fn mailbox_ids(rig: &Rig) -> Vec<u64> {
    rig.gateway.fleet.get(NODE).unwrap().mailbox.items().iter().map(|item| item.id).collect()
}

fn downlinks(rig: &Rig) -> usize {
    let node = rig.gateway.answer_request(rig.time(), &control::Request::NodeShow { node: DEV_EUI.to_string() });
    node["downlinks"].as_array().unwrap().len()
}

#[test]
fn a_write_that_the_radio_missed_is_not_lost_by_a_second_one_that_came_meanwhile() {
    let mut rig = two_actuators();
    write(&mut rig, 1, 0);
    rig.uplink("01670111", false);
    wait(&mut rig, 800);
    // The radio has the first one.
    write(&mut rig, 2, 1);
    assert_eq!(transmitted(&mut rig, "late"), 1);
    wait(&mut rig, 800);
    assert_eq!(transmitted(&mut rig, "late"), 1, "RX2");
    assert_eq!((rig.said(Kind::WriteAccepted), rig.said(Kind::DownlinkDropped), downlinks(&rig)), (2, 0, 2));
    for ack in [false, true, true] {
        rig.uplink("01670112", ack);
        rig.run_to(rig.now + S(5));
    }
    assert_eq!((rig.said(Kind::DownlinkAcked), downlinks(&rig)), (2, 0));
}

#[test]
fn a_write_waits_for_its_own_commit_though_the_one_before_is_done() {
    let mut rig = two_actuators();
    write(&mut rig, 1, 0);
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(5));
    assert_eq!(rig.said(Kind::DownlinkSent), 1);
    rig.store = Store::Held;
    write(&mut rig, 2, 1);
    let ticket = rig.outputs.iter().rev().find_map(ticket_of);
    rig.uplink("01670112", true);
    assert_eq!(rig.said(Kind::DownlinkAcked), 1);
    rig.run_to(rig.now + S(5));
    assert_eq!(rig.said(Kind::DownlinkSent), 1, "the second one is on no disk yet");
    rig.store = Store::Works;
    rig.input(Input::CommitFailed(ticket.unwrap(), "disk full".into()));
    assert_eq!(rig.last_code(), 0xa3, "5.03");
    rig.run_to(rig.now + S(60));
    rig.uplink("01670113", false);
    rig.run_to(rig.now + S(5));
    assert_eq!((rig.said(Kind::DownlinkSent), downlinks(&rig)), (1, 0), "what was refused never leaves");
}

#[test]
fn a_confirmed_write_that_is_out_of_time_is_not_repeated() {
    let mut rig = two_actuators();
    rig.run_to(rig.now + S(600));
    write(&mut rig, 1, 0);
    rig.run_to(rig.now + S(86_000));
    rig.uplink("01670111", false);
    rig.run_to(rig.now + S(5));
    assert_eq!(rig.said(Kind::DownlinkSent), 1);
    // The node hears nothing of it; the write's time is over before its next word.
    rig.run_to(rig.now + S(600));
    assert_eq!(rig.said(Kind::DownlinkDropped), 1);
    rig.uplink("01670112", false);
    wait(&mut rig, 800);
    assert_eq!(transmitted(&mut rig, "sent"), 0);
}

#[test]
fn writes_that_fall_into_failing_commits_leave_the_acknowledged_one_as_it_was() {
    for one_batch in [true, false] {
        let mut rig = two_actuators();
        write(&mut rig, 1, 0);
        assert_eq!(rig.last_code(), 0x44, "2.04");
        let acknowledged = mailbox_ids(&rig);
        rig.store = Store::Held;
        rig.outputs.clear();
        if one_batch {
            // Something else is on its way to the disk.
            rig.uplink("01670111", false);
        }
        let value = |id: u8| {
            [&[0x41, 0x03, 0x77, id, id, 0xb4][..], b"3306", &[0x01], b"0", &[0x04], b"5850", &[0xff], b"0"].concat()
        };
        rig.input(Input::Datagram(NODE, value(2)));
        rig.input(Input::Datagram(NODE, value(3)));
        assert_eq!(mailbox_ids(&rig), acknowledged, "nothing changes before the disk has it");
        rig.store = Store::Fails;
        let ticket = rig.outputs.iter().rev().find_map(ticket_of).unwrap();
        rig.input(Input::CommitFailed(ticket, "disk full".into()));
        rig.run_to(rig.now + S(60));
        // What comes late goes one by one, and waits for an acknowledgement.
        let codes: BTreeSet<u8> = rig.sent().iter().map(|sent| sent[1]).filter(|code| *code != 0).collect();
        assert_eq!(codes, [0xa3].into(), "5.03 and nothing else");
        assert_eq!(mailbox_ids(&rig), acknowledged, "one batch: {one_batch}");
        rig.store = Store::Works;
        rig.run_to(rig.now + S(60));
        let (_, pending) = mailbox_from_bytes(rig.disk.get(Table::Mailbox, DEV_EUI).unwrap()).unwrap();
        let values: Vec<_> = pending.into_iter().filter_map(|write| write.value).collect();
        assert_eq!(values, [lpwad_lwm2m::Value::Boolean(true)], "on disk as well");
    }
}

#[test]
fn a_write_that_a_reload_overtakes_is_refused_and_never_leaves() {
    let mut rig = two_actuators();
    rig.store = Store::Held;
    write(&mut rig, 1, 0);
    // Its profile has one actuator again.
    rig.input(Input::Reload(Box::new(config(true)), analyses("2027-06-01")));
    assert_eq!((rig.last_code(), rig.said(Kind::WriteRefused)), (0xa3, 1), "5.03");
    rig.store = Store::Works;
    let ticket = rig.outputs.iter().rev().find_map(ticket_of).unwrap();
    rig.input(Input::Committed(ticket));
    rig.run_to(rig.now + S(60));
    rig.uplink("01670112", false);
    rig.run_to(rig.now + S(5));
    assert_eq!((rig.said(Kind::DownlinkSent), downlinks(&rig)), (0, 0));
    let (_, pending) = mailbox_from_bytes(rig.disk.get(Table::Mailbox, DEV_EUI).unwrap()).unwrap();
    assert_eq!(pending, []);
}
