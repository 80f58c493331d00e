//! The real process under traffic, killed again and again: what was acknowledged arrives, nothing is used twice.
//!
//! 20 kills are part of the tests; `cargo xtask kill --times 1000` does more of them.

use crate::air_trace::{NODES, nothing_twice};
use crate::site::{Process, Site, confirmed_uplink, endpoint, eui, small_server, uplink};
use lpwad_sim::rng::Rng;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const PATH: &str = "/3306/0/5850";

/// A write to a node: its value, from where its arrival counts, and whether the server has 2.04.
#[derive(Clone, Copy)]
struct Write {
    value: bool,
    since: usize,
    asked_since: usize,
    accepted: bool,
}

struct Traffic {
    rng: Rng,
    /// The value of the last write to each node: the next one differs, so that a late arrival is not taken for it.
    last: [bool; NODES],
    modem: Process,
    server: Process,
    writes: [Option<Write>; NODES],
    acknowledged: u64,
    delivered: u64,
    forgotten: [usize; NODES],
    /// Node and DevNonce of each join that was answered.
    dev_nonces: BTreeSet<(String, String)>,
}

impl Traffic {
    /// Each node sends something, mostly confirmed; a server writes to those to which nothing is owed.
    fn go(&mut self) {
        for n in 0..NODES {
            if self.rng.below(3) == 0 {
                let confirmed = if self.rng.below(4) > 0 { " confirmed" } else { "" };
                self.modem.tell(&format!("uplink {} 1 016701{:02x}{confirmed}", eui(n), self.rng.below(256)));
            }
            self.settle(n);
            if self.writes[n].is_none() && self.rng.below(4) == 0 {
                self.write(n);
            }
        }
    }

    /// A node loses its session; gives from where its join counts.
    fn forget(&mut self) -> (usize, usize) {
        let n = self.rng.below(NODES as u64) as usize;
        self.forgotten[n] += 1;
        let mark = self.modem.mark();
        self.modem.tell(&format!("forget {}", eui(n)));
        (n, mark)
    }

    /// What a gateway said of joins before it died.
    fn note_joins(&mut self, gateway: &mut Process) {
        for line in gateway.seen().iter().filter(|line| line["event"] == "node-joining") {
            let text = |name: &str| line[name].as_str().unwrap().to_string();
            assert!(self.dev_nonces.insert((text("node"), text("dev_nonce"))), "a DevNonce is answered twice: {line}");
        }
    }

    /// The counter of the last acknowledged uplink of a node in its present session.
    fn acknowledged_counter(&mut self, n: usize) -> Option<u64> {
        let eui = eui(n);
        let of_node = self.modem.seen().iter().rev().filter(|line| line["dev_eui"] == eui.as_str());
        let session = of_node.take_while(|line| line["event"] != "joined");
        session.into_iter().find(|line| line["event"] == "acked")?["fcnt"].as_u64()
    }

    /// What the gateway may show as a node's temperature, in 0.1 °C: that of its last acknowledged uplink or of one sent since;
    /// empty if none was acknowledged.
    fn temperatures_since_acknowledged(&mut self, n: usize) -> Vec<i64> {
        let eui = eui(n);
        let of_node = self.modem.seen().iter().filter(|line| line["dev_eui"] == eui.as_str());
        let mut sent: Vec<(&Value, i64)> = Vec::new();
        let mut acknowledged = false;
        for line in of_node {
            let payload = line["payload"].as_str().and_then(|payload| payload.strip_prefix("0167"));
            if let Some(tenths) = payload.filter(|_| line["event"] == "uplink") {
                sent.push((&line["fcnt"], i64::from_str_radix(tenths, 16).unwrap()));
            } else if line["event"] == "acked"
                && let Some(it) = sent.iter().rposition(|(fcnt, _)| **fcnt == line["fcnt"])
            {
                sent.drain(..it);
                acknowledged = true;
            }
        }
        sent.into_iter().filter(|_| acknowledged).map(|(_, tenths)| tenths).collect()
    }

    /// Fails if the gateway shows an older temperature than that of the node's last acknowledged uplink.
    fn assert_temperature(&mut self, site: &Site, n: usize) {
        let possible = self.temperatures_since_acknowledged(n);
        let shown = site.ask(&["node", "show", &eui(n)])["values"]["/3303/1/5700"]["value"].as_f64();
        let shown = shown.map(|value| (value * 10.0).round() as i64);
        let lost = !possible.is_empty() && shown.is_none_or(|shown| !possible.contains(&shown));
        assert!(!lost, "node {n}: {possible:?} were sent, the first of them was acknowledged, {shown:?} is known");
    }

    fn write(&mut self, n: usize) {
        let value = !self.last[n];
        self.last[n] = value;
        let (since, asked_since) = (self.modem.mark(), self.server.mark());
        self.server.tell(&format!("write {} {PATH} {value}", endpoint(n)));
        self.writes[n] = Some(Write { value, since, asked_since, accepted: false });
    }

    /// Looks what became of the write to a node.
    fn settle(&mut self, n: usize) {
        let Some(mut write) = self.writes[n] else { return };
        let ep = endpoint(n);
        let answer = self.server.seen()[write.asked_since..]
            .iter()
            .find(|line| line["event"] == "written" && line["ep"] == ep.as_str() || is_unknown(line, &ep));
        match answer.map(|line| line["code"] == "2.04") {
            Some(true) if !write.accepted => {
                write.accepted = true;
                self.acknowledged += 1;
            }
            // Nobody promised anything.
            Some(false) => return self.writes[n] = None,
            _ => {}
        }
        let payload = if write.value { "000064ff" } else { "000000ff" };
        let arrived = self.modem.seen()[write.since..].iter().any(|line| {
            line["event"] == "received" && line["dev_eui"] == eui(n).as_str() && line["payload"] == payload
        });
        if write.accepted && arrived {
            self.delivered += 1;
        }
        self.writes[n] = (!(write.accepted && arrived)).then_some(write);
    }
}

fn is_unknown(line: &Value, ep: &str) -> bool {
    line["event"] == "error" && line["detail"].as_str().is_some_and(|detail| detail.contains(ep))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long the real process lives is what the test varies; it waits for nothing by this"
)]
fn kills_under_traffic_lose_nothing_and_repeat_nothing() {
    let (times, seed) = (number("LPWAD_KILLS", 20), number("LPWAD_SEED", 1));
    let (server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(NODES, "");
    site.configure(NODES, &uri);
    let modem = site.modem(seed);
    // What it says is kept as lines; its log would drown the progress, but its last words are worth having.
    let log = site.path("log");
    let start_gateway = || {
        let log = std::fs::File::create(&log).unwrap();
        Process::start("gateway", site.lpwad(&["run", "--json"]).stderr(log))
    };
    let mut gateway = start_gateway();
    let mut traffic = Traffic {
        rng: Rng::new(seed, 20),
        last: [false; NODES],
        modem,
        server,
        writes: [None; NODES],
        acknowledged: 0,
        delivered: 0,
        forgotten: [0; NODES],
        dev_nonces: BTreeSet::new(),
    };
    for n in 0..NODES {
        traffic.modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(n).as_str());
        uplink(&mut traffic.modem, &mut gateway, n, "01670110");
        traffic.server.wait("the proxy", |line| line["event"] == "registered" && line["ep"] == endpoint(n).as_str());
    }
    // Before the first kill something is owed to every node, for certain.
    for n in 0..NODES {
        traffic.write(n);
        let asked = |line: &Value| line["event"] == "written" && line["ep"] == endpoint(n).as_str();
        assert_eq!(traffic.server.wait("the answer to a write", asked)["code"], "2.04");
        traffic.settle(n);
    }
    let mut joins = None;
    let start = Instant::now();
    for kill in 1..=times {
        // A node that lost its session while the gateway was dying joins in this life.
        if let Some((n, mark)) = joins.take() {
            traffic.modem.wait_since(mark, "the join", |l| l["event"] == "joined" && l["dev_eui"] == eui(n).as_str());
        }
        // Mostly in the middle of a start; every third one has a radio, and time for an exchange or a join.
        let life_ms = if traffic.rng.below(3) == 0 {
            gateway.wait_event("radio-ready");
            if traffic.rng.below(10) == 0 {
                joins = Some(traffic.forget());
            }
            500 + traffic.rng.below(if joins.is_some() { 8000 } else { 4500 })
        } else {
            20 + traffic.rng.below(400)
        };
        let until = Instant::now() + Duration::from_millis(life_ms);
        traffic.go();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(Duration::from_millis(200)));
            if traffic.rng.below(4) == 0 {
                traffic.go();
            }
        }
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(gateway.is_running(), "the gateway ended by itself before kill {kill}: {}", log());
        gateway.kill();
        traffic.note_joins(&mut gateway);
        gateway = start_gateway();
        if kill % 50 == 0 {
            eprintln!("{kill} kills in {} s", start.elapsed().as_secs());
        }
    }
    if let Some((n, mark)) = joins {
        traffic.modem.wait_since(mark, "the join", |l| l["event"] == "joined" && l["dev_eui"] == eui(n).as_str());
    }
    // Left alone, it knows what it acknowledged, and delivers it.
    gateway.wait_event("radio-ready");
    for n in 0..NODES {
        let known = site.ask(&["node", "show", &eui(n)])["lorawan"]["fcnt_up"].as_u64();
        if let Some(acknowledged) = traffic.acknowledged_counter(n) {
            assert!(
                known >= Some(acknowledged),
                "node {n}: uplink {acknowledged} was acknowledged, {known:?} is known"
            );
        }
        traffic.assert_temperature(&site, n);
        for round in 0..12 {
            confirmed_uplink(&mut traffic.modem, n, &format!("0167013{round:x}"));
            traffic.settle(n);
            if traffic.writes[n].is_none_or(|write| !write.accepted) {
                break;
            }
        }
        let owed = traffic.writes[n].filter(|write| write.accepted).map(|write| write.value);
        assert_eq!(owed, None, "node {n}: acknowledged and never delivered");
        let joins = traffic.modem.seen().iter().filter(|l| l["event"] == "joined" && l["dev_eui"] == eui(n).as_str());
        let (joins, forgotten) = (joins.count(), traffic.forgotten[n]);
        assert!(joins <= 1 + forgotten, "node {n}: {joins} joins, {forgotten} sessions forgotten");
    }
    // What was acknowledged last survives the last kill, too.
    gateway.kill();
    traffic.note_joins(&mut gateway);
    gateway = start_gateway();
    gateway.wait_event("radio-ready");
    (0..NODES).for_each(|n| traffic.assert_temperature(&site, n));
    traffic.note_joins(&mut gateway);
    gateway.terminate();
    let (accepts, frames) = nothing_twice(&mut traffic.modem);
    let summary = serde_json::json!({
        "kills": times,
        "seconds": start.elapsed().as_secs(),
        "sessions_forgotten": traffic.forgotten.iter().sum::<usize>(),
        "join_accepts": accepts,
        "frames_down": frames,
        "writes_acknowledged": traffic.acknowledged,
        "writes_delivered": traffic.delivered,
    });
    eprintln!("{summary}");
    assert_eq!(traffic.acknowledged, traffic.delivered, "{summary}");
    let enough = frames as u64 > times / 5 && traffic.delivered >= (NODES as u64).max(times / 50);
    assert!(enough, "too little traffic to mean anything: {summary}");
}
