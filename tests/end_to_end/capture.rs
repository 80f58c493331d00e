//! What is really on the wire: dumpcap captures the loopback, tshark reads it.

use crate::namespace::Namespace;
use crate::record::Record;
use serde_json::Value;
use std::io::Read;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Tries of a probe, and how long each may take to show up.
const PROBES: u32 = 100;
const PROBE_WAIT: Duration = Duration::from_millis(200);

/// Name of a capture in its directory.
const FILE: &str = "trace.pcapng";

/// What dumpcap wrote so far, and whether it has ended.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    ended: bool,
}

/// A capture under way.
pub struct Capture<'a> {
    dumpcap: Child,
    written: Arc<(Mutex<Written>, Condvar)>,
    probe: Probe<'a>,
    port: u16,
}

/// How a datagram is sent that shows up in the capture.
enum Probe<'a> {
    /// To ourselves.
    Loopback(UdpSocket),
    /// From a namespace to an address and port.
    From(&'a Namespace, String),
}

impl Probe<'_> {
    fn send(&self, text: &str) {
        match self {
            Probe::Loopback(socket) => assert_eq!(socket.send(text.as_bytes()).unwrap(), text.len()),
            Probe::From(namespace, to) => namespace.send(to, text),
        }
    }
}

/// A captured datagram.
#[derive(Debug)]
pub struct Datagram {
    pub from_port: u16,
    pub to_port: u16,
    pub payload: Vec<u8>,
}

impl Capture<'static> {
    /// Captures what goes to and from a UDP port on the loopback; when this returns, it does.
    pub fn start(port: u16) -> Capture<'static> {
        Capture::with_others(port, &[])
    }

    /// The same, with what goes to and from other ports as well; [`Trace::datagrams`] counts it.
    pub fn with_others(port: u16, others: &[u16]) -> Capture<'static> {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.connect(probe.local_addr().unwrap()).unwrap();
        let mut filter = format!("udp port {port} or udp port {}", probe.local_addr().unwrap().port());
        others.iter().for_each(|other| filter += &format!(" or udp port {other}"));
        Capture::run(&mut Command::new("dumpcap"), "lo", &filter, Probe::Loopback(probe), port)
    }
}

impl<'a> Capture<'a> {
    /// Captures all UDP on an interface of a namespace that leads to `to`, an address and port as `ADDRESS/PORT` where
    /// nobody listens.
    pub fn within(namespace: &'a Namespace, interface: &str, to: &str) -> Capture<'a> {
        let probe = Probe::From(namespace, to.into());
        Capture::run(&mut namespace.command("dumpcap"), interface, "udp", probe, 0)
    }

    fn run(dumpcap: &mut Command, interface: &str, filter: &str, probe: Probe<'a>, port: u16) -> Capture<'a> {
        // Into a pipe it writes at once, into a file twice a second.
        let mut dumpcap = dumpcap
            .args(["-q", "-i", interface, "-f", filter, "-w", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dumpcap: apt-get install tshark");
        let written = Arc::new((Mutex::new(Written::default()), Condvar::new()));
        let (mut stdout, shared) = (dumpcap.stdout.take().unwrap(), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut chunk = [0; 65_536];
            loop {
                let length = stdout.read(&mut chunk).unwrap_or(0);
                let mut written = shared.0.lock().unwrap();
                written.bytes.extend(&chunk[..length]);
                written.ended = length == 0;
                shared.1.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        let mut capture = Capture { dumpcap, written, probe, port };
        capture.probe("lpwad: the capture begins");
        capture
    }

    /// A mark: what was sent before this call lies before it in the trace.
    pub fn mark(&mut self, name: &str) {
        self.probe(name);
    }

    /// What was sent before this call is in the trace.
    pub fn stop(mut self) -> Trace {
        self.probe("lpwad: the capture ends");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), &self.written.0.lock().unwrap().bytes).unwrap();
        Trace { dir, port: self.port }
    }

    /// Sends a datagram to ourselves until it shows up: packets are captured in order.
    fn probe(&mut self, text: &str) {
        for _ in 0..PROBES {
            self.probe.send(text);
            let text = text.as_bytes();
            let absent = |written: &mut Written| !written.ended && !contains(&written.bytes, text);
            let guard = self.written.0.lock().unwrap();
            let (written, _) = self.written.1.wait_timeout_while(guard, PROBE_WAIT, absent).unwrap();
            if contains(&written.bytes, text) {
                return;
            }
            if written.ended {
                break;
            }
        }
        let _ = self.dumpcap.kill();
        let mut said = String::new();
        let _ = self.dumpcap.stderr.take().unwrap().read_to_string(&mut said);
        panic!("dumpcap captures nothing (it needs root, or the group wireshark): {said}");
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        let _ = self.dumpcap.kill();
        let _ = self.dumpcap.wait();
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A finished capture.
pub struct Trace {
    dir: tempfile::TempDir,
    port: u16,
}

impl Trace {
    /// DTLS records in their order; what is encrypted stays so.
    pub fn records(&self) -> Vec<Record> {
        self.read(&[])
    }

    /// The same, decrypted as far as sessions began in the capture with this pre-shared key (hex digits).
    pub fn records_with_psk(&self, key: &str) -> Vec<Record> {
        self.read(&["-o", &format!("dtls.psk:{key}")])
    }

    /// How many datagrams went to or from a port.
    pub fn datagrams(&self, port: u16) -> usize {
        self.frames(&format!("udp.port=={port}")).len()
    }

    /// How many of them went after a mark.
    pub fn datagrams_after(&self, mark: &str, port: u16) -> usize {
        let mark = self.frames(&format!("udp.payload contains \"{mark}\"")).first().copied().expect("the mark");
        self.frames(&format!("udp.port=={port}")).into_iter().filter(|frame| *frame > mark).count()
    }

    /// Numbers of the frames that a filter lets through.
    fn frames(&self, filter: &str) -> Vec<u64> {
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(self.dir.path().join(FILE)).args(["-Y", filter]);
        let output = tshark.args(["-T", "fields", "-e", "frame.number"]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
    }

    /// All datagrams but the probes.
    pub fn all(&self) -> Vec<Datagram> {
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(self.dir.path().join(FILE)).args(["-Y", "udp", "-T", "fields"]);
        let fields = tshark.args(["-e", "udp.srcport", "-e", "udp.dstport", "-e", "udp.payload"]);
        let output = fields.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let datagrams = text.lines().map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            Datagram {
                from_port: fields[0].parse().unwrap(),
                to_port: fields[1].parse().unwrap(),
                payload: lpwad_link::hex::decode(fields[2]).unwrap(),
            }
        });
        datagrams.filter(|datagram| !datagram.payload.starts_with(b"lpwad: the capture")).collect()
    }

    fn read(&self, more: &[&str]) -> Vec<Record> {
        let port = self.port;
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(self.dir.path().join(FILE)).args(["-d", &format!("udp.port=={port},dtls")]);
        tshark.args(["-d", &format!("dtls.port=={port},coap")]).args(more);
        tshark.args([
            "-Y",
            &format!("udp.port=={port}"),
            "-T",
            "json",
            "--no-duplicate-keys",
            "-J",
            "frame udp dtls coap",
        ]);
        let output = tshark.stdin(Stdio::null()).output().expect("tshark: apt-get install tshark");
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        let frames: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON from tshark");
        frames.iter().flat_map(|frame| Record::of_datagram(&frame["_source"]["layers"], port)).collect()
    }
}
