//! NoSec through a bearer that goes down under load, on hosts of the test's own: what the kernel is seen to send, on every
//! interface.

use crate::capture::{Capture, Datagram};
use crate::fleet::Fleet;
use crate::harness::Leshan;
use crate::namespace::Namespace;
use crate::site::{Process, endpoint, eui, today, unix_ms};
use serde_json::{Value, json};

const NODES: usize = 10;
const PATH: &str = "/3303/1/5700";
/// Within this time all proxies are back (ms).
const BACK_MS: u64 = 5000;

/// Nodes with fixed keys, and a path north by a bearer that this kind of protection covers as far as the server.
pub fn analysis(server: &str, bearer: &str, kind: &str, evidence: &str) -> String {
    let (reviewed, expires) = (today(), today().plus(30));
    format!(
        r#"
schema = 1
id = "BEARER"
title = "Through a bearer"
method = "STRIDE"
reviewed = {reviewed}
expires = {expires}
approved_by = ["the tests"]
fallback = "required"
segments = [
  {{ id = "air", from = "node", to = "modem", medium = "radio", attackers = ["radio-passive", "radio-active"] }},
  {{ id = "cable", from = "modem", to = "agent", medium = "serial", attackers = ["physical", "host-user"] }},
  {{ id = "north", from = "agent", to = "server", medium = "ip", attackers = ["lan", "internet"] }},
]
protections = [
  {{ kind = "lorawan-mac", from = "node", to = "agent", claims = ["integrity", "replay", "authentication"], evidence = ["lorawan", "counters"] }},
  {{ kind = "lorawan-app", from = "node", to = "agent", claims = ["confidentiality"], evidence = ["lorawan", "counters"] }},
  {{ kind = "{kind}", from = "agent", to = "server", claims = ["all"], evidence = ["north"] }},
]
[scope]
endpoints = ["urn:dev:mac:*"]
server = "{server}"
bearer = "{bearer}"
activation = ["abp"]
[needs]
identity_binding = "source-port"
clock = "attested"
clock_evidence = "clock"
[evidence]
lorawan = {{ type = "live", probe = "lorawan" }}
counters = {{ type = "test-report", ref = "the tests count", date = {reviewed}, expires = {expires} }}
north = {{ {evidence} }}
clock = {{ type = "config", ref = "the tests run now", date = {reviewed}, expires = {expires} }}
"#
    )
}

/// The gateway's host, the server's, and what stands on them.
struct World {
    here: Namespace,
    gateway: Process,
    leshan: Leshan,
    fleet: Fleet,
}

impl World {
    fn set_bearer(&self, state: &str) {
        self.here.ip(&format!("link set bearer0 {state}"));
    }

    /// Every node sends a few temperatures; the server observes them.
    fn load(&mut self, tenths: u8) {
        for round in 0..8 {
            (0..NODES).for_each(|n| self.fleet.uplink(n, tenths + round, false));
        }
    }

    /// Waits until the gateway says this of every node; gives when it said it last.
    fn wait_all(&mut self, mark: usize, event: &str) -> u64 {
        let said = (0..NODES).map(|n| {
            let is_it = |line: &Value| line["event"] == event && line["node"] == eui(n).as_str();
            self.gateway.wait_since(mark, &format!("{event} of node {n}"), is_it)["unix_ms"].as_u64().unwrap()
        });
        said.max().unwrap()
    }

    fn observe_all(&mut self) {
        for n in 0..NODES {
            let is_it = |line: &Value| line["event"] == "registered" && line["ep"] == endpoint(n).as_str();
            self.leshan.process.wait("a registration", is_it);
            let answer = self.leshan.ask(json!({ "cmd": "observe", "ep": endpoint(n), "path": PATH }));
            assert_eq!(answer["code"], "2.05", "{answer}");
        }
    }

    /// Sockets of this host that are connected to the server's clear port, with what `ss` says of each.
    fn clear_sockets(&self) -> Vec<String> {
        let peer = format!("10.9.0.10:{}", self.leshan.port);
        let output = self.here.command("ss").args(["-H", "-u", "-n", "-a"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.contains(&peer)).map(String::from).collect()
    }

    fn explain(&self) -> Value {
        self.fleet.site.ask(&["policy", "explain", &eui(0)])
    }

    fn count(&mut self, event: &str) -> usize {
        self.gateway.seen().iter().filter(|line| line["event"] == event).count()
    }
}

/// A DTLS record of the server's secure port, by its first byte (RFC 6347 §4.1, RFC 7983 §7).
pub fn is_dtls(datagram: &Datagram, port: u16) -> bool {
    [datagram.from_port, datagram.to_port].contains(&port) && (20..=63).contains(&datagram.payload[0])
}

#[test]
fn s_05_nothing_clear_leaves_by_another_interface_when_the_bearer_goes_down_under_load() {
    let (here, there) = Namespace::pair();
    here.connect(("bearer0", "10.9.0.1/24"), &there, ("bearer1", "10.9.0.10/24"));
    here.connect(("wan0", "192.0.2.1/24"), &there, ("wan1", "192.0.2.2/24"));
    // What has no route by the bearer goes this way: that is the danger.
    here.ip("route add default via 192.0.2.2");
    let coap = "0.0.0.0:0";
    let mut leshan =
        Leshan::within(&there, &["--coap", coap, "--coaps", coap, "--clear-too", "true", "--block-size", "256"]);
    let (clear, secure) = (leshan.port, leshan.coaps_port.unwrap());
    let uri = format!("coap://10.9.0.10:{clear}");
    let server = format!("uri = \"{uri}\"\nsecure_uri = \"coaps://192.0.2.2:{secure}\"\n");
    let fleet = Fleet::at(&mut leshan, NODES, 1000, &server);
    let letter = format!(
        "type = \"operator-letter\", ref = \"the tests say so\", date = {}, expires = {}",
        today(),
        today().plus(30)
    );
    fleet.site.write("threat-analysis.d/bearer.toml", &analysis(&uri, "bearer0", "ipsec", &letter));
    let run = here.wrap(&fleet.site.lpwad(&["run", "--json"]));
    let mut gateway = Process::start("gateway", &mut { run });
    let verdict = gateway.wait_event("policy-verdict");
    assert_eq!((verdict["verdict"].as_str(), verdict["rule"].as_str()), (Some("nosec"), Some("TA10")), "{verdict}");
    gateway.wait_event("radio-ready");
    let bearer = Capture::within(&there, "bearer1", "10.9.0.1/9");
    let wan = Capture::within(&there, "wan1", "192.0.2.1/9");
    let mut world = World { here, gateway, leshan, fleet };

    // A handshake each by the other way, as a rehearsal; then all are registered and observed in clear.
    world.load(0x10);
    world.wait_all(0, "registered");
    world.observe_all();
    let explained = world.explain();
    assert_eq!(explained["facts"]["bearer"], "bearer0", "{explained}");
    let mark = world.gateway.mark();
    world.load(0x20);
    world.wait_all(mark, "notified");
    // The gateway is faster than the tests can see; what holds also if it were not is that the kernel is bound to this.
    let sockets = world.clear_sockets();
    assert_eq!(sockets.iter().filter(|line| line.contains("%bearer0:")).count(), NODES, "{sockets:?}");
    assert_eq!(sockets.len(), NODES, "{sockets:?}");

    let mark = world.gateway.mark();
    world.load(0x30);
    let down = unix_ms();
    world.set_bearer("down");
    world.load(0x40);
    world.gateway.wait_since(mark, "policy-latched", |line| line["event"] == "policy-latched");
    let back = world.wait_all(mark, "registered");
    let took_ms = back.saturating_sub(down);
    assert!(took_ms <= BACK_MS, "back under DTLS after {took_ms} ms");
    assert_eq!(world.clear_sockets(), Vec::<String>::new());
    // A program that does not bind its socket shows what would have happened, and that the capture would have seen it.
    world.here.send(&format!("10.9.0.10/{clear}"), "in clear");

    // Nine more flaps; the verdict stays what it is.
    world.set_bearer("up");
    for _ in 0..9 {
        world.set_bearer("down");
        world.set_bearer("up");
    }
    let is_up = (0..200).any(|_| world.explain()["facts"]["bearer"] == "bearer0");
    assert!(is_up, "the gateway does not see that the bearer is up");
    let mark = world.gateway.mark();
    world.load(0x50);
    world.wait_all(mark, "uplink");
    let explained = world.explain();
    let decision = &explained["decision"];
    assert_eq!((&decision["verdict"], &decision["rules"][0]), (&json!("dtls-psk"), &json!("TA15")), "{explained}");
    assert_eq!((world.count("policy-latched"), world.count("policy-verdict")), (1, 2), "one change of the verdict");
    for n in 0..NODES {
        let answer = world.leshan.ask(json!({ "cmd": "read", "ep": endpoint(n), "path": PATH }));
        assert_eq!(answer["code"], "2.05", "nobody is dark: {answer}");
    }

    let (bearer, wan) = (bearer.stop().all(), wan.stop().all());
    assert!(bearer.iter().all(|datagram| [datagram.from_port, datagram.to_port].contains(&clear)), "{bearer:?}");
    assert!(bearer.len() >= 4 * NODES, "{}", bearer.len());
    let not_dtls: Vec<&Datagram> = wan.iter().filter(|datagram| !is_dtls(datagram, secure)).collect();
    assert!(
        matches!(not_dtls[..], [one] if one.payload == b"in clear"),
        "only what another program sent: {not_dtls:?}"
    );

    // Somebody has looked: the proxies go back to the bearer when their nodes speak.
    let output = world.fleet.site.ask(&["policy", "rearm"]);
    assert_eq!(output["latches"], 1, "{output}");
    let mark = world.gateway.mark();
    world.load(0x60);
    world.wait_all(mark, "registered");
    assert_eq!(world.fleet.site.ask(&["node", "show", &eui(0)])["session"], "nosec");
}
