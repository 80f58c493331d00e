//! The README's first command: it ends by itself, and everything was seen.

use std::process::Command;

#[test]
fn demo_runs_to_its_end_and_says_what_was_seen() {
    crate::site::executable("lpwad-sim");
    let output = Command::new(env!("CARGO_BIN_EXE_lpwad"))
        .args(["demo", "--nodes", "3", "--seed", "5", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().expect("a summary")).unwrap();
    assert!(output.status.success(), "{summary}\n{}", String::from_utf8_lossy(&output.stderr));
    for (name, least) in [("joined", 3), ("registered", 3), ("observed", 3), ("notified", 3), ("writes_delivered", 1)] {
        assert!(summary[name].as_u64().unwrap() >= least, "{name}: {summary}");
    }
    assert_eq!(summary["errors"], 0, "{summary}");
}
