//! Answers of the control socket as text for people.

use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn ago(seconds: &Value) -> String {
    match seconds.as_u64() {
        None => "not yet".into(),
        Some(s) if s < 120 => format!("{s} s ago"),
        Some(s) if s < 7200 => format!("{} min ago", s / 60),
        Some(s) => format!("{} h ago", s / 3600),
    }
}

pub(super) fn joined(texts: &Value) -> String {
    list(texts).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn verdict(verdict: &Value) -> String {
    match verdict["verdict"].as_str() {
        Some("nosec") => format!("NoSec by analysis {}", joined(&verdict["analyses"])),
        Some("refuse") | None => format!("no session: {}", text(&verdict["reason"])),
        Some(dtls) => format!("{dtls}: {}", text(&verdict["reason"])),
    }
}

/// `lpwad status`
pub(super) fn status(answer: &Value) -> String {
    let nodes = &answer["nodes"];
    let mut out = format!("lpwad {}, up {} s\n", text(&answer["version"]), text(&answer["uptime_s"]));
    if answer["clock_trusted"] == false {
        out += "clock: not trusted yet; no NoSec session opens\n";
    }
    out += &format!(
        "nodes: {} configured, {} joined, {} registered\n",
        text(&nodes["configured"]),
        text(&nodes["joined"]),
        text(&nodes["registered"])
    );
    for radio in list(&answer["radios"]) {
        out += &format!(
            "radio {}: {}, {} frames heard, {} sent, {} bad lines, started {} times\n",
            text(&radio["name"]),
            text(&radio["state"]),
            text(&radio["rx_frames"]),
            text(&radio["tx_frames"]),
            text(&radio["bad_lines"]),
            text(&radio["starts"])
        );
        if !radio["fault"].is_null() {
            out += &format!("  fault: {}\n", text(&radio["fault"]));
        }
    }
    for server in list(&answer["servers"]) {
        let addresses = [&server["uri"], &server["secure_uri"]].map(text).join(", ");
        out += &format!("server {}: {addresses}\n", text(&server["name"]));
        for (verdict, nodes) in server["verdicts"].as_object().into_iter().flatten() {
            let banner = if verdict == "nosec" { "  WITHOUT DTLS, by the threat analysis" } else { "" };
            out += &format!("  {verdict}: {nodes} nodes{banner}\n");
        }
        if server["verdicts"]["nosec"].is_null() && !server["reason"].is_null() {
            out += &format!("  {}\n", text(&server["reason"]));
        }
    }
    out += &super::show_policy::policy(&answer["policy"]);
    let failing = if answer["store"]["failing"] == true { ", FAILING" } else { "" };
    out += &format!("store: {} commits{failing}\n", text(&answer["store"]["commits"]));
    for counters in [&answer["network"], &answer["counts"], &answer["sessions"]] {
        for (name, count) in counters.as_object().into_iter().flatten().filter(|(_, count)| **count != 0) {
            out += &format!("  {name} {count}\n");
        }
    }
    for (name, count) in answer["clients"].as_object().into_iter().flatten().filter(|(_, count)| **count != 0) {
        if ["_dropped", "_refused", "_forgotten", "malformed"].iter().any(|end| name.ends_with(end)) {
            out += &format!("  {name} {count}\n");
        }
    }
    out
}

/// What DTLS cost a node, if it did.
pub(super) fn cost(cost: &Value) -> String {
    if cost.is_null() {
        return String::new();
    }
    let sum = |keys: [&str; 2]| keys.iter().filter_map(|key| cost[*key].as_u64()).sum::<u64>();
    let exact = format!(
        "  DTLS since the start: {} bytes more than CoAP: {} handshakes of {} bytes, {} bytes of records for {} bytes of CoAP\n",
        text(&cost["overhead_bytes"]),
        text(&cost["handshakes"]),
        sum(["handshake_bytes_out", "handshake_bytes_in"]),
        sum(["bytes_out", "bytes_in"]),
        sum(["coap_bytes_out", "coap_bytes_in"])
    );
    list(&cost["what_if"]["at"]).iter().map(what_if).fold(exact, |text, line| text + &line)
}

/// What it would have cost on the air, at one data rate.
fn what_if(at: &Value) -> String {
    let way = |way: &Value| format!("{} frames and {} ms", text(&way["more_frames"]), text(&way["more_airtime_ms"]));
    let energy = match &at["energy_mj"] {
        Value::Null => String::new(),
        energy => format!(", and {} mJ", text(energy)),
    };
    format!(
        "  model: from the node over its own link at {} ({}), DTLS adds {} on the air up ({} s at 1 % duty cycle), {} down{energy}\n",
        text(&at["dr"]),
        text(&at["dr_is"]),
        way(&at["up"]),
        text(&at["up"]["at_1_percent_s"]),
        way(&at["down"])
    )
}

/// `lpwad node list`
pub(super) fn nodes(answer: &Value) -> String {
    let mut out = format!(
        "{:<16}  {:<6}  {:<12}  {:<13}  {:<7}  {}\n",
        "DEVEUI", "JOINED", "REGISTRATION", "LAST HEARD", "UPLINKS", "ENDPOINT"
    );
    for node in list(answer) {
        out += &format!(
            "{:<16}  {:<6}  {:<12}  {:<13}  {:<7}  {}\n",
            text(&node["dev_eui"]),
            if node["joined"] == true { "yes" } else { "no" },
            text(&node["registration"]["state"]),
            ago(&node["last_heard_s_ago"]),
            text(&node["uplinks"]),
            text(&node["endpoint"])
        );
    }
    out
}

/// `lpwad node show`
pub(super) fn node(answer: &Value) -> String {
    let mut out = format!("{} ({})\n", text(&answer["endpoint"]), text(&answer["dev_eui"]));
    out += &format!("  profile {}, server {}\n", text(&answer["profile"]), text(&answer["server"]));
    out += &format!("  policy: {} ({})\n", verdict(&answer["verdict"]), joined(&answer["verdict"]["rules"]));
    for warning in list(&answer["verdict"]["warnings"]) {
        out += &format!("  warning: {}\n", text(warning));
    }
    let registration = &answer["registration"];
    out += &format!("  registration: {}", text(&registration["state"]));
    if !registration["location"].is_null() {
        out +=
            &format!(" at {}, {} observations", text(&registration["location"]), text(&registration["observations"]));
    }
    out += &format!("\n  session: {}, local port {}", text(&answer["session"]), text(&answer["local_port"]));
    let dtls = &answer["dtls"];
    if !dtls.is_null() {
        let resumed = if dtls["resumed"] == true { "resumed" } else { "new keys" };
        out += &format!(", {}, {resumed}, up to {} B", text(&dtls["suite"]), text(&dtls["max_datagram_bytes"]));
    }
    let fault = &answer["session_fault"];
    if !fault.is_null() {
        let (reason, detail) = (text(&fault["reason"]), text(&fault["detail"]));
        out += &format!("\n    last fault: {reason}: {detail}\n    hint: {}", text(&fault["hint"]));
    }
    out.push('\n');
    out += &cost(&answer["dtls_cost"]);
    let lorawan = &answer["lorawan"];
    out += &format!(
        "  LoRaWAN: {}, DevAddr {}, up {}, down {}, kept to one channel: {}\n",
        text(&lorawan["activation"]),
        text(&lorawan["dev_addr"]),
        text(&lorawan["fcnt_up"]),
        text(&lorawan["fcnt_down"]),
        text(&lorawan["single_channel"])
    );
    let link = &answer["link"];
    if link.is_null() {
        out += "  not heard since the start\n";
    } else {
        out += &format!(
            "  heard {}: {}, RSSI {} dBm, SNR {} dB\n",
            ago(&answer["last_heard_s_ago"]),
            text(&link["dr"]),
            text(&link["rssi_dbm"]),
            text(&link["snr_db"])
        );
    }
    for (path, entry) in answer["values"].as_object().into_iter().flatten() {
        out += &format!("  {path:<20} {}\n", text(&entry["value"]));
    }
    for item in list(&answer["downlinks"]) {
        out += &format!(
            "  downlink {}: {} = {}{}, {} s left\n",
            text(&item["id"]),
            text(&item["path"]),
            text(&item["value"]),
            if item["on_air"] == true { ", on air, not acknowledged yet" } else { "" },
            text(&item["expires_in_s"])
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_06_what_is_counted_and_what_is_a_model_are_told_apart() {
        let way =
            |frames, ms, s| serde_json::json!({ "more_frames": frames, "more_airtime_ms": ms, "at_1_percent_s": s });
        let mut told = serde_json::json!({
            "handshakes": 1, "handshake_bytes_out": 250, "handshake_bytes_in": 200, "bytes_out": 490, "bytes_in": 0,
            "coap_bytes_out": 200, "coap_bytes_in": 0, "overhead_bytes": 740,
            "what_if": { "model": true, "at": [
                { "dr": "SF7BW125", "dr_is": "of its last uplink", "up": way(2, 912, 92), "down": way(2, 380, 38), "energy_mj": 146.4 },
            ] },
        });
        let counted = "  DTLS since the start: 740 bytes more than CoAP: 1 handshakes of 450 bytes, 490 bytes of records for 200 \
                       bytes of CoAP\n";
        let model = "  model: from the node over its own link at SF7BW125 (of its last uplink), DTLS adds 2 frames and 912 ms on \
                     the air up (92 s at 1 % duty cycle), 2 frames and 380 ms down, and 146.4 mJ\n";
        assert_eq!(cost(&told), format!("{counted}{model}"));
        if let Some(told) = told.as_object_mut() {
            told.remove("what_if");
        }
        assert_eq!(cost(&told), counted);
    }
}
