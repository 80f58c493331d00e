//! The gateway over a week of faults; and mistakes on purpose, to see that the harness finds them.

use lpwad_week::{Outcome, Planted, Rule, Settings, Weather, run};
use std::process::Command;
use std::time::Duration;

fn days(seed: u64, nodes: usize, days: u64) -> Settings {
    Settings { nodes, length: Duration::from_secs(days * 86_400), ..Settings::week(seed) }
}

/// A run in which what is missed crosses a power cut, and one for the other mistakes.
const SEEDS: [u64; 2] = [5, 3];

fn planted(mistake: Planted) -> Outcome {
    let seed = if mistake == Planted::MissedNotStored { SEEDS[0] } else { SEEDS[1] };
    run(Settings { planted: Some(mistake), ..days(seed, 60, 3) })
}

/// A mistake that shows on a small site within half a day, with nothing else out of order.
fn small(mistake: Planted) -> Outcome {
    let settings = |planted| Settings {
        nodes: 8,
        length: Duration::from_secs(12 * 3600),
        weather: Weather::Calm,
        planted,
        ..Settings::week(2)
    };
    assert_eq!(run(settings(None)).violations, []);
    run(settings(Some(mistake)))
}

fn has(outcome: &Outcome, rule: Rule) -> bool {
    outcome.violations.iter().any(|violation| violation.rule == rule)
}

#[test]
fn one_week_of_500_nodes_with_all_faults_breaks_no_rule() {
    let outcome = run(Settings::week(1));
    assert_eq!(outcome.violations, []);
    let [acknowledged, arrived] = ["writes_acknowledged", "writes_arrived"].map(|name| outcome.counts[name]);
    // What is missing was overtaken by a newer one, or ran out of time.
    assert!(arrived * 100 >= acknowledged * 95, "{arrived} of {acknowledged} writes arrived");
    // Enough has happened for that to mean something.
    for (what, least) in [
        ("uplink", 50_000),
        ("node-joining", 500),
        ("uplinks_acknowledged", 10_000),
        ("writes_acknowledged", 300),
        ("server_notified", 10_000),
        ("server_sent", 1_000),
        ("readings_owed", 2_000),
        ("boots", 40),
        ("store-failed", 10),
        ("radio-lost", 50),
        ("reloaded", 50),
        ("policy-verdict", 50),
        ("latches", 20),
        ("server_expired", 500),
        ("frame-dropped", 1_000),
    ] {
        let count = outcome.counts.get(what).copied().unwrap_or(0);
        assert!(count >= least, "{what}: {count}");
    }
}

#[test]
fn what_a_small_backlog_drops_is_counted_and_the_rest_arrives() {
    let outcome = run(Settings { backlog_bytes: 8 * 1024, ..days(SEEDS[0], 60, 3) });
    assert_eq!(outcome.violations, []);
    let (dropped, owed) = (outcome.counts["uplinks_dropped"], outcome.counts["readings_owed"]);
    assert!(dropped > 50 && owed > 100, "{dropped} uplinks dropped, {owed} readings owed");
}

#[test]
fn the_same_seed_in_two_processes_gives_the_same_hash_and_another_seed_another() {
    let hash = |seed: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_lpwad-week"))
            .args(["--seed", seed, "--nodes", "50", "--days", "1"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_string()
    };
    assert_eq!(hash("7"), hash("7"));
    assert_eq!(hash("7"), run(days(7, 50, 1)).hash);
    assert_ne!(hash("7"), hash("8"));
}

#[test]
fn the_runs_of_the_planted_mistakes_are_clean_without_them() {
    for seed in SEEDS {
        assert_eq!(run(days(seed, 60, 3)).violations, []);
    }
}

#[test]
fn a_counter_that_is_not_reserved_is_found() {
    assert!(has(&planted(Planted::CounterNotReserved), Rule::UsedTwice));
}

#[test]
fn a_queue_without_bound_is_found() {
    assert!(has(&planted(Planted::QueueUnbounded), Rule::Memory));
}

#[test]
fn an_acknowledged_write_that_is_not_stored_is_found() {
    assert!(has(&planted(Planted::AcknowledgedNotStored), Rule::Lost));
}

#[test]
fn a_backlog_that_is_not_stored_is_found() {
    assert!(has(&planted(Planted::MissedNotStored), Rule::Lost));
}

#[test]
fn an_acknowledged_value_that_is_not_stored_is_found() {
    assert!(has(&small(Planted::ValueNotStored), Rule::Lost));
}

#[test]
fn a_wake_up_that_comes_a_turn_late_is_found() {
    assert!(has(&small(Planted::WokenLate), Rule::Deadline));
}

#[test]
fn an_order_that_leaves_the_radio_no_time_is_found() {
    assert!(has(&small(Planted::OrderLate), Rule::Deadline));
}

#[test]
fn a_registration_that_is_not_renewed_is_found() {
    assert!(has(&small(Planted::RegistrationNotRenewed), Rule::Deadline));
}

#[test]
fn a_payload_in_an_event_is_found() {
    assert!(has(&small(Planted::PayloadSaid), Rule::Private));
}

#[test]
fn a_clear_datagram_without_a_verdict_is_found() {
    assert!(has(&planted(Planted::ClearDatagram), Rule::Clear));
}
