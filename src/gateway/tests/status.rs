//! Status says what was lost.

use super::*;
use serde_json::Value as Json;
use std::collections::BTreeSet;

fn keys(json: &Json, found: &mut BTreeSet<String>) {
    match json {
        Json::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Json::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// Names in the column "counted" of a page's tables.
fn counted(page: &str) -> BTreeSet<String> {
    let mut column = None;
    let mut names = BTreeSet::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.strip_prefix("| ").map(|row| row.split(" | ").collect()).unwrap_or_default();
        if let Some(at) = cells.iter().position(|cell| *cell == "counted") {
            column = Some(at);
        } else if let Some(cell) = column.and_then(|at| cells.get(at)) {
            names.extend(cell.split('`').skip(1).step_by(2).map(str::to_string));
        }
    }
    names
}

#[test]
fn every_counter_that_the_page_of_limits_names_is_in_status_from_the_start() {
    let rig = Rig::new();
    let mut shown = BTreeSet::new();
    keys(&rig.gateway.answer_request(rig.time(), &control::Request::Status), &mut shown);
    // The shell adds what only it knows.
    let shell = include_str!("../../io/run.rs");
    shown.extend(shell.split("answer.insert(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_string())));
    let named = counted(include_str!("../../../docs/limits.md"));
    assert!(named.len() > 10, "{named:?}");
    assert!(named.is_subset(&shown), "not in status: {:?}", named.difference(&shown).collect::<Vec<_>>());
}

#[test]
fn what_clients_refuse_and_writes_that_found_no_room_are_in_status() {
    let mut rig = Rig::registered();
    let status = |rig: &Rig| rig.gateway.answer_request(rig.time(), &control::Request::Status);
    let before = status(&rig)["clients"]["malformed"].as_u64().unwrap();
    rig.input(Input::Datagram(NODE, vec![0xff]));
    assert_eq!(status(&rig)["clients"]["malformed"], before + 1);
    assert_eq!(status(&rig)["counts"]["writes_refused_full"], 0);
    rig.gateway.fleet.get_mut(NODE).unwrap().profile = {
        let mut profile = crate::config::Profile::clone(&rig.gateway.fleet.get(NODE).unwrap().profile);
        profile.downlink.max_pending = 0;
        Arc::new(profile)
    };
    rig.write(1);
    assert_eq!(rig.last_code(), 0xa3, "5.03");
    let status = status(&rig);
    assert_eq!((&status["counts"]["writes_refused_full"], &status["counts"]["writes_refused"]), (&1.into(), &1.into()));
    assert_eq!(status["clients"]["errors_answered"], 1);
}
