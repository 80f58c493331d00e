//! NoSec through a real WireGuard tunnel, as `wireguard-go` has it: permitted by a handshake that root has seen, until that is
//! too old.

use crate::bearer::{analysis, is_dtls};
use crate::capture::{Capture, Datagram};
use crate::fleet::Fleet;
use crate::harness::Leshan;
use crate::namespace::Namespace;
use crate::site::{Process, eui};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::process::{Child, Command, Stdio};

/// Where WireGuard listens on both hosts.
const PORT: u16 = 51_820;
/// A handshake that is older does not count. A tunnel that lives has one every 120 s; the test does not wait so long.
const MAX_AGE_S: u32 = 20;

/// One end of the tunnel.
struct End<'a> {
    host: &'a Namespace,
    name: String,
    public_key: String,
    process: Child,
}

impl<'a> End<'a> {
    /// An interface with a key of its own. Its name must be free on this machine: by it, `wg` finds its process.
    fn new(host: &'a Namespace, side: &str, address: &str) -> End<'a> {
        let name = format!("lp{}{side}", std::process::id());
        let mut command = host.command("wireguard-go");
        let process = command.args(["--foreground", &name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.expect("wireguard-go: apt-get install wireguard-go wireguard-tools");
        let mut end = End { host, name, public_key: String::new(), process };
        assert!((0..2000).any(|_| end.wg(&["show", &end.name]).is_some()), "wireguard-go does not come up");
        let private_key = end.wg(&["genkey"]).unwrap();
        let mut set = host.command("wg");
        set.args(["set", &end.name, "listen-port", &PORT.to_string(), "private-key", "/dev/stdin"]);
        let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
        set.stdin.take().unwrap().write_all(private_key.as_bytes()).unwrap();
        assert!(set.wait().unwrap().success());
        host.ip(&format!("addr add {address} dev {}", end.name));
        host.ip(&format!("link set {} mtu 1280 up", end.name));
        end.public_key = end.wg(&["show", &end.name, "public-key"]).unwrap();
        end
    }

    /// What `wg` prints; `None`: it fails.
    fn wg(&self, arguments: &[&str]) -> Option<String> {
        let output = self.host.command("wg").args(arguments).stderr(Stdio::null()).output().expect("wg");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_string())
    }

    fn peer(&self, key: &str, address: &str) {
        let endpoint = format!("{address}:{PORT}");
        let peer = ["set", &self.name, "peer", key, "allowed-ips", "10.9.0.0/24", "endpoint", &endpoint];
        assert!(self.wg(&[&peer[..], &["persistent-keepalive", "1"]].concat()).is_some());
    }

    fn has_shaken_hands(&self) -> bool {
        let said = self.wg(&["show", &self.name, "latest-handshakes"]).unwrap();
        said.split_whitespace().last().is_some_and(|at| at != "0")
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        // It takes its interface and its socket with it.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

#[test]
fn s_05_nosec_through_a_wireguard_tunnel_holds_while_its_handshake_is_fresh_and_what_is_on_the_wire_is_never_clear() {
    const NODES: usize = 2;
    let (here, there) = Namespace::pair();
    here.connect(("wan0", "192.0.2.1/24"), &there, ("wan1", "192.0.2.2/24"));
    here.ip("route add default via 192.0.2.2");
    let (near, far) = (End::new(&here, "a", "10.9.0.1/24"), End::new(&there, "b", "10.9.0.10/24"));
    near.peer(&far.public_key, "192.0.2.2");
    far.peer(&near.public_key, "192.0.2.1");
    let coap = "0.0.0.0:0";
    let mut leshan =
        Leshan::within(&there, &["--coap", coap, "--coaps", coap, "--clear-too", "true", "--block-size", "256"]);
    let (clear, secure) = (leshan.port, leshan.coaps_port.unwrap());
    let uri = format!("coap://10.9.0.10:{clear}");
    let server = format!("uri = \"{uri}\"\nsecure_uri = \"coaps://192.0.2.2:{secure}\"\n");
    let mut fleet = Fleet::at(&mut leshan, NODES, 1000, &server);
    let live =
        format!("type = \"live\", probe = \"wireguard\", peer = \"{}\", max_age_s = {MAX_AGE_S}", far.public_key);
    fleet.site.write("threat-analysis.d/tunnel.toml", &analysis(&uri, &near.name, "wireguard", &live));
    let facts = fleet.site.path("facts");
    std::fs::DirBuilder::new().mode(0o755).create(&facts).unwrap();
    let wan = Capture::within(&there, "wan1", "192.0.2.1/9");

    assert!((0..2000).any(|_| near.has_shaken_hands()), "no handshake");
    // As the timer does it.
    let mut look = Command::new(env!("CARGO_BIN_EXE_lpwad"));
    look.args(["facts", "wireguard", "--dir"]).arg(&facts);
    assert!(here.wrap(&look).status().unwrap().success());
    let run = here.wrap(&fleet.site.lpwad(&["run", "--json"]));
    let mut gateway = Process::start("gateway", &mut { run });
    let verdict = gateway.wait_event("policy-verdict");
    assert_eq!((verdict["verdict"].as_str(), verdict["rule"].as_str()), (Some("nosec"), Some("TA10")), "{verdict}");
    gateway.wait_event("radio-ready");
    let all = |gateway: &mut Process, mark: usize, event: &str| {
        for n in 0..NODES {
            let is_it = |line: &Value| line["event"] == event && line["node"] == eui(n).as_str();
            gateway.wait_since(mark, event, is_it);
        }
    };
    (0..NODES).for_each(|n| fleet.uplink(n, 0x11, false));
    all(&mut gateway, 0, "registered");
    assert_eq!(fleet.site.ask(&["node", "show", &eui(0)])["session"], "nosec");
    let explained = fleet.site.ask(&["policy", "explain", &eui(0)]);
    assert_eq!(explained["facts"]["bearer"], near.name.as_str(), "{explained}");

    // Nobody looks any more: what root has seen grows old.
    let mark = gateway.mark();
    let latched = gateway.wait_since(mark, "policy-latched", |line| line["event"] == "policy-latched");
    assert_eq!(latched["rule"], "TA06", "{latched}");
    all(&mut gateway, mark, "registered");
    let shown = fleet.site.ask(&["node", "show", &eui(1)]);
    assert_eq!(shown["session"], "dtls-psk", "{shown}");
    for n in 0..NODES {
        let answer = leshan.ask(json!({ "cmd": "read", "ep": crate::site::endpoint(n), "path": "/3303/1/5700" }));
        assert_eq!(answer["code"], "2.05", "{answer}");
    }

    let wan = wan.stop().all();
    let is_wireguard = |datagram: &Datagram| datagram.from_port == PORT && datagram.to_port == PORT;
    let others: Vec<&Datagram> =
        wan.iter().filter(|datagram| !is_wireguard(datagram) && !is_dtls(datagram, secure)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(wan.iter().filter(|datagram| is_wireguard(datagram)).count() > 2 * NODES);
}
