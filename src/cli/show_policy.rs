//! Answers about the policy as text for people.

use super::show::{joined, list as entries, text};
use serde_json::Value;

/// `lpwad policy explain`
pub(super) fn explain(answer: &Value) -> String {
    let decision = &answer["decision"];
    let mut out = format!("{} to server {}\n", text(&answer["endpoint"]), text(&answer["server"]));
    out += &format!("  verdict: {} ({})\n", text(&decision["verdict"]), joined(&decision["rules"]));
    out += &format!("  because: {}\n", text(&decision["reason"]));
    for warning in entries(&decision["warnings"]) {
        out += &format!("  warning: {}\n", text(warning));
    }
    let objections = entries(&decision["objections"]);
    if objections.len() > 1 {
        out += "  all that stands in the way of NoSec:\n";
        for one in objections {
            out += &format!("    {} {}\n", text(&one["rule"]), text(&one["why"]));
        }
    }
    out += &format!("  credential: {}, uri {}, ", text(&answer["credential"]), text(&answer["uri"]));
    out += &format!("secure_uri {}\n", text(&answer["secure_uri"]));
    out += &super::show::cost(&answer["dtls_cost"]);
    let facts = answer["facts"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, fact)| !fact.is_null() && fact.as_array().is_none_or(|seen| !seen.is_empty()));
    let facts: Vec<String> = facts.map(|(name, fact)| format!("{name} {}", text(fact))).collect();
    out += &format!("  facts: {}\n", facts.join(", "));
    for analysis in entries(&decision["analyses"]) {
        out += &format!(
            "analysis {}, reviewed {}, expires {}, sha256 {}\n",
            text(&analysis["id"]),
            text(&analysis["reviewed"]),
            text(&analysis["expires"]),
            text(&analysis["sha256"])
        );
        if let Some(by) = answer["signed_by"].get(text(&analysis["id"])) {
            out += &format!("  signed by {}\n", text(by));
        }
        out += &format!("  {:<12} {:<16} {:<16} {}\n", "SEGMENT", "ATTACKER", "PROPERTY", "OUTCOME");
        for cell in entries(&analysis["table"]) {
            out += &format!(
                "  {:<12} {:<16} {:<16} {}\n",
                text(&cell["segment"]),
                text(&cell["attacker"]),
                text(&cell["property"]),
                outcome(cell)
            );
        }
    }
    out
}

fn outcome(cell: &Value) -> String {
    if let Some(by) = cell.get("discharged-by") {
        let unseen = if by["attested_not_observed"] == true { ", attested, not observed" } else { "" };
        return format!("discharged by {}{unseen}", text(&by["kind"]));
    }
    if let Some(by) = cell.get("accepted-by") {
        return format!("accepted by {}: {}", joined(&by["by"]), text(&by["why"]));
    }
    format!("OPEN ({}): {}", text(&cell["open"]["rule"]), text(&cell["open"]["why"]))
}

/// `lpwad policy list`
pub(super) fn list(answer: &Value) -> String {
    let granted = entries(&answer["nosec"]);
    let mut out = format!("{} nodes may run without DTLS\n", granted.len());
    for node in granted {
        out += &format!(
            "  {} to {}: by {}, until {}, approved by {}\n",
            text(&node["endpoint"]),
            text(&node["server"]),
            joined(&node["analyses"]),
            text(&node["until"]),
            joined(&node["approved_by"])
        );
    }
    out + &policy(&answer["policy"])
}

/// Analyses and latches.
pub(super) fn policy(policy: &Value) -> String {
    let mut out = String::new();
    for analysis in entries(&policy["analyses"]) {
        let (id, left) = (text(&analysis["id"]), text(&analysis["days_left"]));
        let signed = analysis["signed_by"].as_str().map_or_else(String::new, |by| format!(", signed by {by}"));
        out += &format!("analysis {id}: expires {}, {left} days left{signed}\n", text(&analysis["expires"]));
    }
    for invalid in entries(&policy["invalid"]) {
        out += &format!("analysis INVALID: {}\n", text(invalid));
    }
    for latch in entries(&policy["latches"]) {
        let (what, why) = (text(&latch["what"]), text(&latch["why"]));
        out += &format!("latched: {what}: {why}; `lpwad policy rearm` lifts it\n");
    }
    out
}

/// `lpwad policy record`
pub(super) fn records(answer: &Value) -> String {
    entries(&answer["records"]).iter().map(|line| text(line) + "\n").collect()
}

/// `lpwad policy rearm`
pub(super) fn rearmed(answer: &Value) -> String {
    format!("rearmed; {} latches are lifted\n", text(&answer["latches"]))
}
