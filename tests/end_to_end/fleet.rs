//! Many nodes with pre-shared keys at Leshan: all of them register over DTLS, and after a kill all of them go on with their
//! sessions and registrations. Frames come through the example plugin, made with foreign code.

use crate::harness::Leshan;
use crate::site::{Process, Site, endpoint, eui};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;

const PATH: &str = "/3303/1/5700";

/// Sixteen bytes of a node as hex digits: no two alike, and none that looks weak.
fn key(n: usize, of: u64) -> String {
    let mix = |seed: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (n as u64 + 1) << 8 | of;
    format!("{:016x}{:016x}", mix(seed), mix(seed ^ 0x5a5a_5a5a_5a5a))
}

/// The nodes and the air between them and the gateway.
pub struct Fleet {
    pub site: Site,
    fifo: File,
    counters: Vec<u32>,
}

impl Fleet {
    /// `nodes` nodes with fixed addresses; as many DTLS sessions may be live as `live` says.
    fn new(leshan: &mut Leshan, nodes: usize, live: usize) -> Fleet {
        let server = format!("secure_uri = \"coaps://127.0.0.1:{}\"\n", leshan.coaps_port.unwrap());
        Fleet::at(leshan, nodes, live, &server)
    }

    /// The same at a server with this section.
    pub fn at(leshan: &mut Leshan, nodes: usize, live: usize, server: &str) -> Fleet {
        let site = Site::new(0, "");
        let path = site.path("frames");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        let mut config = format!(
            "[gateway]\nrx1_delay_s = 1\ndtls_live_sessions = {live}\n[policy]\nfacts_dir = \"facts\"\n[[radio]]\nname = \"air\"\nplugin = \"example-python\"\n\
             settings = {{ file = \"{}\" }}\n[[server]]\nname = \"site\"\n{server}",
            path.display()
        );
        let mut keys = String::new();
        for n in 0..nodes {
            let (eui, identity) = (eui(n), format!("id-{n}"));
            config += &format!(
                "[[node]]\ndev_eui = \"{eui}\"\nprofile = \"cayenne-lpp\"\nactivation = \"abp\"\ndev_addr = \"0100{n:04x}\"\n"
            );
            keys += &format!(
                "[\"{eui}\"]\nnwk_s_key = \"{}\"\napp_s_key = \"{}\"\npsk_identity = \"{identity}\"\npsk = \"{}\"\n",
                key(n, 1),
                key(n, 2),
                key(n, 3)
            );
            leshan.permit_psk(&endpoint(n), &identity, &key(n, 3));
        }
        site.write("lpwad.toml", &config);
        site.write("keys.toml", &keys);
        // Read and write, as the plugin has it: neither end waits for the other.
        let fifo = File::options().read(true).write(true).open(path).unwrap();
        Fleet { site, fifo, counters: vec![0; nodes] }
    }

    /// Node `n` sends a temperature in tenths of a degree.
    pub fn uplink(&mut self, n: usize, tenths: u8, confirmed: bool) {
        let bytes = |digits: String| <[u8; 16]>::try_from(lpwad_link::hex::decode(&digits).unwrap()).unwrap();
        let mut creator = lorawan::creator::DataPayloadCreator::<_, lorawan::default_crypto::DefaultFactory>::new();
        creator.set_uplink(true).set_confirmed(confirmed).set_f_port(1).set_fcnt(self.counters[n]);
        creator.set_dev_addr([n as u8, (n >> 8) as u8, 0, 1]);
        let (network, application) = (bytes(key(n, 1)), bytes(key(n, 2)));
        let frame = creator.build(&[1, 0x67, 0, tenths], &[], &network.into(), &application.into()).unwrap().to_vec();
        self.counters[n] += 1;
        writeln!(self.fifo, "{}", lpwad_link::hex::encode(&frame)).unwrap();
    }

    /// All nodes speak, `ahead` more than were answered, until the gateway says `event` of each.
    pub fn speak(&mut self, gateway: &mut Process, tenths: u8, event: &str, ahead: usize) {
        let mark = gateway.mark();
        let nodes = self.counters.len();
        let mut spoken = 0;
        for n in 0..nodes {
            while spoken < nodes.min(n + ahead) {
                self.uplink(spoken, tenths, false);
                spoken += 1;
            }
            gateway.wait_since(mark, &format!("{event} of node {n}"), |line| is_of(line, event, n));
        }
    }

    /// Leshan has told of the registration of node `n`: from then on it can ask the node.
    fn wait_known(leshan: &mut Leshan, n: usize) {
        let is_it = |line: &Value| line["event"] == "registered" && line["ep"] == endpoint(n).as_str();
        leshan.process.wait("a registration", is_it);
    }

    fn gateway(&self) -> Process {
        let mut gateway = self.site.gateway();
        gateway.wait_event("radio-ready");
        gateway
    }
}

fn is_of(line: &Value, event: &str, n: usize) -> bool {
    line["event"] == event && line["node"] == eui(n).as_str()
}

fn leshan() -> Leshan {
    Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0", "--block-size", "256"])
}

/// What Leshan told of an event since `mark`, by a key of it.
fn told(leshan: &mut Leshan, mark: usize, event: &str, key: &str) -> Vec<Value> {
    leshan.process.seen()[mark..].iter().filter(|line| line["event"] == event).map(|line| line[key].clone()).collect()
}

#[test]
fn s_20_five_hundred_nodes_register_over_dtls_and_after_a_kill_all_are_resumed_and_none_registers_again() {
    const NODES: usize = 500;
    let mut leshan = leshan();
    let mut fleet = Fleet::new(&mut leshan, NODES, 1000);
    let mut gateway = fleet.gateway();
    // More than the 64 handshakes that may be under way at once.
    fleet.speak(&mut gateway, 0x70, "registered", 80);
    (0..NODES).for_each(|n| Fleet::wait_known(&mut leshan, n));
    assert_eq!(leshan.ask(json!({ "cmd": "clients" }))["clients"].as_array().unwrap().len(), NODES);
    assert_eq!(told(&mut leshan, 0, "handshake", "resumed"), vec![json!(false); NODES]);
    for n in 0..NODES {
        let command = if n % 10 == 0 { "observe" } else { "read" };
        let answer = leshan.ask(json!({ "cmd": command, "ep": endpoint(n), "path": PATH }));
        assert_eq!((&answer["code"], &answer["values"][PATH]), (&json!("2.05"), &json!(11.2)), "{n}: {answer}");
    }
    let status = fleet.site.ask(&["status"]);
    assert_eq!((&status["sessions"]["dtls_live"], &status["sessions"]["not_sent"]), (&json!(NODES), &json!(0)));

    // An uplink is acknowledged when all that was before it is on disk.
    let mark = gateway.mark();
    fleet.uplink(0, 0x70, true);
    gateway.wait_since(mark, "an acknowledgement", |line| line["event"] == "transmit");
    gateway.kill();
    let mark = leshan.process.mark();
    let mut gateway = fleet.gateway();
    fleet.speak(&mut gateway, 0x71, "updated", 80);
    for n in (0..NODES).step_by(10) {
        let is_it = |line: &Value| {
            line["event"] == "notify" && line["ep"] == endpoint(n).as_str() && line["value"] == json!(11.3)
        };
        leshan.process.wait_since(mark, &format!("the notification of node {n}"), is_it);
    }
    for n in 0..NODES {
        let is_it = |line: &Value| line["event"] == "updated" && line["ep"] == endpoint(n).as_str();
        leshan.process.wait_since(mark, "an Update", is_it);
    }
    assert_eq!(told(&mut leshan, mark, "handshake", "resumed"), vec![json!(true); NODES]);
    assert_eq!(told(&mut leshan, mark, "registered", "ep"), Vec::<Value>::new());
    assert_eq!(leshan.ask(json!({ "cmd": "clients" }))["clients"].as_array().unwrap().len(), NODES);
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn s_20_the_longest_idle_sessions_are_put_aside_and_resumed_when_their_nodes_speak() {
    const NODES: usize = 12;
    const LIVE: usize = 4;
    let mut leshan = leshan();
    let mut fleet = Fleet::new(&mut leshan, NODES, LIVE);
    let mut gateway = fleet.gateway();
    fleet.uplink(0, 0x70, false);
    gateway.wait("a registration", |line| is_of(line, "registered", 0));
    Fleet::wait_known(&mut leshan, 0);
    let observed = leshan.ask(json!({ "cmd": "observe", "ep": endpoint(0), "path": PATH }));
    assert_eq!(observed["code"], "2.05", "{observed}");
    for n in 1..NODES {
        fleet.uplink(n, 0x70, false);
        gateway.wait("a registration", |line| is_of(line, "registered", n));
    }
    // The session of the last one had no room before the first of the last four was put aside.
    let parked: Vec<Value> =
        gateway.seen().iter().filter(|line| line["event"] == "dtls-parked").map(|line| line["node"].clone()).collect();
    assert_eq!(parked, (0..NODES - LIVE).map(|n| json!(eui(n))).collect::<Vec<_>>(), "the longest idle, in order");
    assert_eq!(fleet.site.ask(&["status"])["sessions"]["dtls_live"], LIVE);
    let shown = fleet.site.ask(&["node", "show", &eui(0)]);
    assert_eq!(shown["session"], "closed", "{shown}");

    let mark = leshan.process.mark();
    fleet.uplink(0, 0x71, false);
    leshan
        .process
        .wait_since(mark, "the Update", |line| line["event"] == "updated" && line["ep"] == endpoint(0).as_str());
    leshan.process.wait_since(mark, "the value", |line| line["event"] == "notify" && line["value"] == json!(11.3));
    assert_eq!(told(&mut leshan, mark, "handshake", "resumed"), [json!(true)]);
    assert_eq!(told(&mut leshan, mark, "registered", "ep"), Vec::<Value>::new());
    // In its place the next one was put aside.
    gateway.wait("the next one", |line| is_of(line, "dtls-parked", NODES - LIVE));
    assert_eq!(gateway.terminate(), Some(0));
}
