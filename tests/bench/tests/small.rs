//! Small runs: every figure is a line with its fields, and what must be so is so at any size.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails the test that uses it")]
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Figures by metric.
fn figures(arguments: &[&str]) -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_lpwad-bench")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut figures = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["floor", "metric", "n", "unit", "value"]);
        assert!(line["value"].is_number() && line["n"].as_u64() > Some(0), "{line}");
        assert_eq!(figures.insert(line["metric"].as_str().unwrap().to_string(), line), None);
    }
    figures
}

#[test]
fn dtls_has_a_floor_where_openssl_alone_does_the_same_and_bytes_are_those_of_the_protocol() {
    let figures = figures(&["dtls", "--n", "10"]);
    for metric in ["full_handshakes_per_cpu_s", "resumed_handshakes_per_cpu_s", "seal_cpu", "open_cpu"] {
        assert!(figures[metric]["floor"].as_f64() > Some(0.0), "{metric}");
    }
    // Header 13, explicit nonce 8, tag 8 (RFC 6347 §4.1, RFC 6655 §3).
    assert_eq!(figures["record_overhead"]["value"], 29.0);
    assert_eq!(figures["full_handshake_datagrams"]["value"], 6.0);
    assert_eq!(figures["resumed_handshake_datagrams"]["value"], 5.0);
    let exported = figures["exported_session_bytes"]["value"].as_f64().unwrap();
    let live = figures["live_session_heap"]["value"].as_f64().unwrap();
    assert!(exported < 300.0 && live < 65_536.0, "{exported} B exported, {live} B live");
}

#[test]
fn floods_of_all_kinds_lead_to_words_only() {
    let figures = figures(&["flood", "--n", "1000"]);
    let outputs: Vec<&Value> =
        figures.iter().filter(|(metric, _)| metric.ends_with("outputs_besides_events")).map(|(_, line)| line).collect();
    assert!(outputs.len() == 4 && outputs.iter().all(|line| line["value"] == 0.0), "{outputs:?}");
    assert!(figures.values().all(|line| line["unit"] != "1/s" || line["value"].as_f64() > Some(1_000.0)));
}
