//! The server is away, the gateway is killed meanwhile, and Leshan learns afterwards what every node said, in order, with
//! the times.

use crate::harness::Leshan;
use crate::site::{Process, Site, confirmed_uplink, endpoint, eui, uplink};
use serde_json::{Value, json};
use std::net::UdpSocket;

const PATH: &str = "/3303/1/5700";

/// Temperatures that a node sent, with the milliseconds since 1970 between which each was heard.
#[derive(Default)]
struct Said(Vec<(f64, u64, u64)>);

impl Said {
    /// The node sends `tenths` of a degree until it is acknowledged: then it is on disk.
    fn say(&mut self, modem: &mut Process, gateway: &mut Process, tenths: u16) {
        let is_uplink = |line: &Value| line["event"] == "uplink" && line["node"] == eui(0).as_str();
        let before = self.0.last().map_or(0, |(_, _, until)| *until);
        let mark = gateway.mark();
        confirmed_uplink(modem, 0, &format!("0167{tenths:04x}"));
        let heard = gateway.wait_since(mark, "the uplink", is_uplink);
        self.0.push((f64::from(tenths) / 10.0, before, heard["unix_ms"].as_u64().unwrap()));
    }

    /// Whether `readings` are all of it: each value, in order, with a time at which it was heard. A node that got no
    /// acknowledgement has said the same again.
    fn is_told_by(&self, readings: &[(f64, f64)]) {
        let mut first = readings.to_vec();
        first.dedup_by_key(|(value, _)| *value);
        let told: Vec<f64> = first.iter().map(|(value, _)| *value).collect();
        let said: Vec<f64> = self.0.iter().map(|(value, ..)| *value).collect();
        assert_eq!(told, said, "{readings:?}");
        for ((value, at_s), (_, from, until)) in first.iter().zip(&self.0) {
            let at_ms = at_s * 1000.0;
            assert!(*from as f64 <= at_ms && at_ms <= *until as f64, "{value} at {at_ms}, heard in {from} to {until}");
        }
        assert!(readings.is_sorted_by_key(|(_, at_s)| *at_s), "{readings:?}");
    }
}

/// Temperatures of a `send` line, with their times in seconds since 1970.
fn readings(line: &Value) -> Vec<(f64, f64)> {
    let parts = line["stamped"].as_array().cloned().unwrap_or_else(|| vec![line.clone()]);
    let reading = |part: &Value| Some((part["values"][PATH].as_f64()?, part["ts"].as_f64().expect("a time")));
    parts.iter().filter_map(reading).collect()
}

/// Waits until Send has brought a value; gives all that Send brought since `mark`.
fn sent_until(leshan: &mut Leshan, mark: usize, value: f64) -> Vec<(f64, f64)> {
    let is_send = |line: &&Value| line["event"] == "send";
    leshan.process.wait_since(mark, "the last reading", |line| {
        is_send(&line) && readings(line).last().is_some_and(|(last, _)| *last == value)
    });
    leshan.process.seen()[mark..].iter().filter(is_send).flat_map(readings).collect()
}

/// A port that the kernel gives to nobody who asks for any: it is still free when the server comes back.
fn lasting_port() -> u16 {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    (start..32_000).find(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[test]
fn what_leshan_missed_comes_by_send_in_order_with_its_times() {
    let address = format!("127.0.0.1:{}", lasting_port());
    let mut leshan = Leshan::with(&["--coap", &address]);
    let site = Site::new(1, "");
    site.configure(1, &leshan.uri());
    let mut modem = site.modem(41);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670064");
    leshan.process.wait_event("registered");
    assert_eq!(leshan.ask(json!({ "cmd": "observe", "ep": endpoint(0), "path": PATH }))["code"], "2.05");
    uplink(&mut modem, &mut gateway, 0, "01670065");
    leshan.process.wait("a notification", |line| line["event"] == "notify" && line["value"] == json!(10.1));
    assert!(leshan.process.seen().iter().all(|line| line["event"] != "send"), "nothing was missed yet");

    // The server dies; so does the gateway, in the middle of what the node says.
    leshan.process.kill();
    let mut said = Said::default();
    for tenths in [201, 202] {
        said.say(&mut modem, &mut gateway, tenths);
    }
    gateway.kill();
    gateway = site.gateway();
    gateway.wait_event("radio-ready");
    for tenths in [203, 204] {
        said.say(&mut modem, &mut gateway, tenths);
    }
    assert!(site.ask(&["status"])["backlog"]["uplinks"].as_u64() >= Some(4));

    // It comes back and knows nobody. The gateway's next try brings everything.
    let mut leshan = Leshan::with(&["--coap", &address]);
    leshan.process.wait_event("registered");
    let mut told = sent_until(&mut leshan, 0, 20.4);
    // What the server had heard shortly before may come once more (docs/decisions/0012-backlog.md).
    told.retain(|(value, _)| *value != 10.1);
    said.is_told_by(&told);
    gateway.wait_event("backlog-delivered");
    assert_eq!(site.ask(&["status"])["backlog"]["uplinks"], 0);

    // Now it is deaf and dumb for a while, and remembers the node: the newest comes by a notification, the rest by Send.
    assert_eq!(leshan.ask(json!({ "cmd": "observe", "ep": endpoint(0), "path": PATH }))["code"], "2.05");
    leshan.ask(json!({ "cmd": "lose", "in": -1, "out": -1 }));
    let mark = leshan.process.mark();
    for tenths in [301, 302] {
        said.say(&mut modem, &mut gateway, tenths);
    }
    assert!(leshan.process.seen()[mark..].iter().all(|line| line["event"].is_null()), "it hears nothing");
    leshan.ask(json!({ "cmd": "lose" }));
    for value in [30.1, 30.2] {
        leshan.process.wait_since(mark, "a reading", |line| {
            line["event"] == "notify" && line["value"] == json!(value)
                || line["event"] == "send" && readings(line).iter().any(|(reading, _)| *reading == value)
        });
    }
    assert_eq!(gateway.terminate(), Some(0));
}
