//! Frames of somebody who has no key, at the core of the gateway, in simulated time: what one costs, that none is answered,
//! and that memory does not grow.

use crate::Failure;
use crate::measure::{Cpu, Memory};
use crate::report::figure;
use crate::site::{self, Setup, Site};
use lpwad::config::Config;
use lpwad::gateway::Gateway;
use lpwad::gateway::control::Request;
use lpwad::gateway::input::{Input, Now, RadioIndex};
use lpwad::gateway::output::Output;
use lpwad::policy::analyses::Analyses;
use lpwad::policy::facts::HostFacts;
use lpwad::store::Loaded;
use lpwad_link::message::FromPlugin;
use std::time::Duration;

/// Half of them have a fixed address, half of them join.
const NODES: usize = 500;
const RADIO: RadioIndex = RadioIndex(0);
/// Below the bound of 500 lines a second, and more than a radio can hear.
const GAP: Duration = Duration::from_millis(3);
/// 2027-01-15.
const START_UNIX_MS: u64 = 1_800_000_000_000;

/// A gateway with its time.
struct Core {
    gateway: Gateway,
    now: Duration,
    /// Outputs that would have left: frames, datagrams, sessions, batches.
    effects: u64,
    events: u64,
    /// Counters of the network, as `lpwad status` shows them.
    network: serde_json::Value,
}

impl Core {
    fn new() -> Result<Core, Failure> {
        let site = Site::new()?;
        site.configure(&Setup { nodes: NODES, joining: NODES / 2, port: 5684, settings: "{}", live: 1000 })?;
        let config = Config::read(&site.path("lpwad.toml"))?;
        let now = Duration::from_secs(1);
        let gateway = Gateway::new(at(now), &config, Analyses::default(), HostFacts::default(), &Loaded::default(), 7);
        let mut core = Core { gateway, now, effects: 0, events: 0, network: serde_json::Value::Null };
        core.input(Input::PluginStarted(RADIO, 1));
        core.line(r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0","plugin":"x","kind":"lora-phy"}}"#.into());
        let ready = r#"{"ready":{"max_dbm_eirp":14.0,"clock":"us32","channels":8,"timed_tx":true,"inverted_iq":true,"min_lead_ms":50}}"#;
        core.line(ready.into());
        (core.effects, core.events) = (0, 0);
        Ok(core)
    }

    fn line(&mut self, line: Vec<u8>) {
        self.input(Input::PluginLine(RADIO, 1, Ok(line)));
    }

    fn input(&mut self, input: Input) {
        self.gateway.handle(at(self.now), input);
        while let Some(output) = self.gateway.poll() {
            match output {
                Output::Event(_) => self.events += 1,
                Output::Reply(_, status) => self.network = status["network"].clone(),
                _ => self.effects += 1,
            }
        }
    }

    fn step(&mut self, line: Vec<u8>) {
        self.line(line);
        if self.gateway.deadline().is_some_and(|due| due <= self.now) {
            self.input(Input::Tick);
        }
    }
}

fn at(mono: Duration) -> Now {
    Now { mono, unix_ms: Some(START_UNIX_MS + mono.as_millis() as u64) }
}

fn line(now: Duration, frame: &[u8]) -> Vec<u8> {
    let (at_us, data) = (now.as_micros() as u32, lpwad_link::hex::encode(frame));
    let line = format!(
        r#"{{"rx":{{"at_us":{at_us},"freq_hz":868100000,"dr":"SF7BW125","rssi_dbm":-97,"snr_db":5.5,"data":"{data}"}}}}"#
    );
    line.into_bytes()
}

/// A join request; its MIC is wrong.
fn join(number: u32, dev_eui: [u8; 8]) -> Vec<u8> {
    let mut frame = vec![0; 9];
    frame.extend(dev_eui.iter().rev());
    frame.extend([number as u8, (number >> 8) as u8]);
    frame.extend(number.to_le_bytes());
    frame
}

/// A data frame of an address with counter and MIC of its number.
fn data(number: u32, address: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = address;
    let [e, f, g, h] = number.to_le_bytes();
    vec![0x40, d, c, b, a, 0, e, f, 1, 0xaa, e, f, g, h]
}

/// Each flood by itself.
pub fn run(n: u32) -> Result<(), Failure> {
    type Make = fn(u32) -> Vec<u8>;
    let floods: [(&str, &str, Make); 4] = [
        ("join_of_stranger", "drop_unknown_device", |number| {
            join(number, (0x0102_0304_0000_0000 | u64::from(number)).to_be_bytes())
        }),
        ("join_of_known_bad_mic", "drop_bad_mic", |number| join(number, known(number))),
        ("data_of_stranger", "drop_unknown_device", |number| {
            data(number, (0xfe00_0000 | number & 0xff_ffff).to_be_bytes())
        }),
        ("data_of_known_bad_mic", "drop_bad_mic", |number| data(number, site::dev_addr(number as usize % (NODES / 2)))),
    ];
    for (name, counter, make) in floods {
        let mut core = Core::new()?;
        let (mut cpu, mut parse) = (Cpu::default(), Cpu::default());
        let mut before = Memory::now();
        for number in 0..n {
            // What grows with the first frames, and then no more, is not of the flood.
            if number == n / 10 {
                before = Memory::now();
            }
            core.now += GAP;
            let line = line(core.now, &make(number));
            parse.spend(|| FromPlugin::parse(&line).is_ok());
            cpu.spend(|| core.step(line));
        }
        let after = Memory::now();
        let (frames, least) = (u64::from(n), parse.per_second(u64::from(n)));
        figure(&format!("flood_{name}_frames_per_cpu_s"), cpu.per_second(frames), "1/s", frames, Some(least));
        figure(&format!("flood_{name}_heap_growth"), after.heap as f64 - before.heap as f64, "B", frames, None);
        figure(&format!("flood_{name}_outputs_besides_events"), core.effects as f64, "1", frames, Some(0.0));
        figure(&format!("flood_{name}_events"), core.events as f64, "1", frames, None);
        core.input(Input::Request(1, Request::Status));
        if core.network[counter] != n {
            return Err(format!("{name}: not all {n} frames are in {counter}: {}", core.network).into());
        }
        if core.effects > 0 {
            return Err(format!("{name}: {} outputs that are not words", core.effects).into());
        }
    }
    Ok(())
}

/// DevEUI of a configured node that joins.
fn known(number: u32) -> [u8; 8] {
    let n = NODES / 2 + number as usize % (NODES / 2);
    let eui = lpwad_link::hex::decode(&site::eui(n)).unwrap_or_default();
    eui.try_into().unwrap_or_default()
}
