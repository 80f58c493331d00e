//! The real process under traffic, killed again and again: what was acknowledged arrives, nothing is used twice.
//!
//! 20 kills are part of the tests; `cargo xtask kill --times 1000` does more of them.

use crate::restart::{NODES, nothing_twice};
use crate::site::{Process, Site, confirmed_uplink, endpoint, eui, small_server, uplink};
use lpwad_sim::rng::Rng;
use serde_json::Value;
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
    modem: Process,
    server: Process,
    writes: [Option<Write>; NODES],
    acknowledged: u64,
    delivered: u64,
    forgotten: usize,
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
        if self.rng.below(25) == 0 {
            self.forgotten += 1;
            let n = self.rng.below(NODES as u64) as usize;
            self.modem.tell(&format!("forget {}", eui(n)));
        }
    }

    fn write(&mut self, n: usize) {
        let value = self.rng.below(2) == 0;
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
#[expect(clippy::disallowed_methods, reason = "the process that is killed runs in real time")]
fn kills_under_traffic_lose_nothing_and_repeat_nothing() {
    let (times, seed) = (number("LPWAD_KILLS", 20), number("LPWAD_SEED", 1));
    let (server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(NODES, "");
    site.configure(NODES, &uri);
    let modem = site.modem(seed);
    let mut gateway = site.gateway();
    let mut traffic = Traffic {
        rng: Rng::new(seed, 20),
        modem,
        server,
        writes: [None; NODES],
        acknowledged: 0,
        delivered: 0,
        forgotten: 0,
    };
    for n in 0..NODES {
        traffic.modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(n).as_str());
        uplink(&mut traffic.modem, &mut gateway, n, "01670110");
        traffic.server.wait("the proxy", |line| line["event"] == "registered" && line["ep"] == endpoint(n).as_str());
    }
    let start = Instant::now();
    for kill in 1..=times {
        // Mostly in the middle of a start; now and then long enough for traffic.
        let life_ms =
            if traffic.rng.below(4) == 0 { 1500 + traffic.rng.below(2500) } else { 20 + traffic.rng.below(400) };
        let until = Instant::now() + Duration::from_millis(life_ms);
        traffic.go();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(Duration::from_millis(200)));
            if traffic.rng.below(8) == 0 {
                traffic.go();
            }
        }
        assert!(gateway.is_running(), "the gateway ended by itself before kill {kill}");
        gateway.kill();
        gateway = site.gateway();
        if kill % 50 == 0 {
            eprintln!("{kill} kills in {} s", start.elapsed().as_secs());
        }
    }
    // Left alone, it delivers what was acknowledged.
    gateway.wait_event("radio-ready");
    for n in 0..NODES {
        for round in 0..12 {
            confirmed_uplink(&mut traffic.modem, n, &format!("0167013{round:x}"));
            traffic.settle(n);
            if traffic.writes[n].is_none_or(|write| !write.accepted) {
                break;
            }
        }
        let owed = traffic.writes[n].filter(|write| write.accepted).map(|write| write.value);
        assert_eq!(owed, None, "node {n}: acknowledged and never delivered");
        let status = site.ask(&["node", "show", &eui(n)]);
        let sent = traffic.modem.seen().iter().rev().find(|l| l["event"] == "acked" && l["dev_eui"] == eui(n).as_str());
        assert_eq!(status["lorawan"]["fcnt_up"], sent.unwrap()["fcnt"], "node {n}");
    }
    gateway.terminate();
    let joins = traffic.modem.seen().iter().filter(|line| line["event"] == "joined").count();
    assert!(joins <= NODES + traffic.forgotten, "{joins} joins, {} sessions forgotten", traffic.forgotten);
    let (accepts, frames) = nothing_twice(&mut traffic.modem);
    let summary = serde_json::json!({
        "kills": times, "seconds": start.elapsed().as_secs(), "joins": joins, "join_accepts": accepts, "frames_down": frames,
        "writes_acknowledged": traffic.acknowledged, "writes_delivered": traffic.delivered,
    });
    eprintln!("{summary}");
    assert!(frames as u64 > times / 10, "too little traffic to mean anything: {summary}");
}
