//! The wall clock of the host is wrong, or jumps: the daemon runs in another time (libfaketime, preloaded into it alone), and
//! Leshan and the capture see what it still dares. Monotonic time stays true.

use crate::capture::Capture;
use crate::harness::Leshan;
use crate::pki::Pki;
use crate::site::{Process, Site, endpoint, eui, unix_ms, uplink};
use lpwad::policy::date::Day;
use lpwad::policy::draft::Draft;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

const DAY_S: u64 = 86_400;
/// An hour after midnight.
const IN_1970_S: u64 = 3600;
const IN_2031_S: u64 = 1_924_992_000;

/// Node with a certificate; the ones before it have pre-shared keys.
const CERTIFIED: usize = 2;
const TEMPERATURE: &str = "/3303/1/5700";

fn now_s() -> u64 {
    unix_ms() / 1000
}

/// What the daemon takes for the time.
struct FakeClock {
    file: PathBuf,
}

impl FakeClock {
    fn at(site: &Site, unix_s: u64) -> FakeClock {
        let clock = FakeClock { file: site.path("time") };
        clock.set(unix_s);
        clock
    }

    /// From now on it is this time.
    fn set(&self, unix_s: u64) {
        // Renamed: the daemon reads it again and again, and finds the one or the other.
        let new = self.file.with_extension("new");
        let offset_s = unix_s as i64 - now_s() as i64;
        std::fs::write(&new, format!("{offset_s:+}\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// The daemon in that time.
    fn gateway(&self, site: &Site) -> Process {
        // The program knows where its library is.
        let output = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
        let library = String::from_utf8(output.expect("faketime: apt-get install faketime").stdout).unwrap();
        assert!(library.contains("libfaketime"), "{library}");
        let mut command = site.lpwad(&["run", "--json"]);
        command.env("LD_PRELOAD", library.trim()).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
        let mut gateway = Process::start("gateway", &mut command);
        gateway.wait_event("radio-ready");
        gateway
    }
}

/// Three nodes at a server that is reached both ways: two with a PSK, one with a certificate.
fn site() -> (Site, Leshan) {
    let site = Site::new(3, "");
    let pki = Pki::new(site.dir.path());
    pki.certify("server", "server", "DNS:localhost,IP:127.0.0.1", "30");
    pki.certify("node", &endpoint(CERTIFIED), "", "30");
    let [key, certificate, trust] = ["server.key", "server.pem", "ca.pem"].map(|name| pki.path(name));
    let ports = ["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0", "--clear-too", "true", "--block-size", "256"];
    let mut leshan =
        Leshan::with(&[&ports[..], &["--key", &key, "--cert", &certificate, "--trust", &trust][..]].concat());
    let more = format!("uri = \"{}\"\ntrust_anchors = \"ca.pem\"\n", leshan.uri());
    site.configure_secure(3, leshan.coaps_port.unwrap(), &more);
    for n in 0..CERTIFIED {
        site.add_keys(n, &format!("psk_identity = \"{}\"\npsk = \"{}\"\n", identity(n), psk(n)));
    }
    site.add_keys(CERTIFIED, "x509_certificate = \"node.pem\"\nx509_key = \"node.key\"\n");
    let add = json!({ "cmd": "security-add", "ep": endpoint(CERTIFIED), "mode": "x509" });
    assert_eq!(leshan.ask(add)["ok"], true);
    (0..CERTIFIED).for_each(|n| leshan.permit_psk(&endpoint(n), &identity(n), &psk(n)));
    (site, leshan)
}

fn identity(n: usize) -> String {
    format!("a-{n}")
}

fn psk(n: usize) -> String {
    format!("6e8d1f0b47c2a93550de7b1c98f4e2{n:02x}")
}

/// An analysis for one node with the server on loopback.
fn analysis(id: &str, leshan: &Leshan, n: usize, reviewed: Day, expires: Day) -> String {
    Draft {
        id,
        title: "Test",
        server: &leshan.uri(),
        endpoints: &[&endpoint(n)],
        reviewed,
        expires,
        by: "the tests",
        clock: Some("the tests set it"),
        abp: None,
        accept: Some("no other users on this host"),
        needs_reserve: true,
    }
    .text()
}

fn joined(modem: &mut Process) {
    for n in 0..=CERTIFIED {
        modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(n).as_str());
    }
}

fn registered(leshan: &mut Leshan, mark: usize, n: usize) -> Value {
    let is_it = |line: &Value| line["event"] == "registered" && line["ep"] == endpoint(n).as_str();
    leshan.process.wait_since(mark, "a registration", is_it)
}

/// Waits until the n-th node has registered by a DTLS session of its PSK.
fn registered_by_psk(leshan: &mut Leshan, mark: usize, n: usize) {
    let port = registered(leshan, mark, n)["port"].clone();
    let of_it = |line: &Value| line["event"] == "handshake" && line["identity"] == identity(n).as_str();
    assert_eq!(leshan.process.wait_since(mark, "a handshake", of_it)["port"], port);
}

fn handshakes_by_certificate(leshan: &mut Leshan, mark: usize) -> usize {
    leshan.process.seen()[mark..].iter().filter(|line| line["event"] == "handshake" && line["mode"] == "x509").count()
}

fn temperature(leshan: &mut Leshan, n: usize) -> Value {
    let read = leshan.ask(json!({ "cmd": "read", "ep": endpoint(n), "path": TEMPERATURE }));
    assert_eq!(read["code"], "2.05", "{read}");
    read["values"][TEMPERATURE].clone()
}

/// How the n-th node's datagrams pass.
fn session_of(site: &Site, n: usize) -> String {
    site.ask(&["node", "show", &eui(n)])["session"].as_str().unwrap().to_string()
}

/// Waits for an event that has this text under a key.
fn told(gateway: &mut Process, mark: usize, event: &str, key: &str, text: &str) -> Value {
    let is_it = |line: &Value| line["event"] == event && line[key].as_str().is_some_and(|told| told.contains(text));
    gateway.wait_since(mark, &format!("{event} with {text}"), is_it)
}

#[test]
fn s_03_s_41_in_1970_no_nosec_and_no_certificate_a_psk_works_and_the_right_time_brings_the_certificate() {
    let (site, mut leshan) = site();
    let today = Day::of_unix_ms(unix_ms());
    site.write("threat-analysis.d/test.toml", &analysis("TEST", &leshan, 0, today, today.plus(30)));
    let capture = Capture::with_others(leshan.coaps_port.unwrap(), &[leshan.port]);
    let clock = FakeClock::at(&site, IN_1970_S);
    let mut modem = site.modem(71);
    let mut gateway = clock.gateway(&site);
    assert_eq!(told(&mut gateway, 0, "policy-verdict", "analysis", "TEST")["rule"], "TA02,TA12");
    assert_eq!(told(&mut gateway, 0, "policy-refused", "reason", "certificates")["rule"], "TA03,TA12");
    joined(&mut modem);
    for n in 0..=CERTIFIED {
        uplink(&mut modem, &mut gateway, n, &format!("0167007{n}"));
    }
    for n in 0..CERTIFIED {
        registered_by_psk(&mut leshan, 0, n);
        assert_eq!(temperature(&mut leshan, n), json!((112 + n) as f64 / 10.0));
    }
    let refused = told(&mut gateway, 0, "policy-refused", "node", &eui(CERTIFIED));
    assert!(refused["reason"].as_str().unwrap().contains("certificates have dates"), "{refused}");
    assert_eq!(session_of(&site, CERTIFIED), "closed");
    assert_eq!(handshakes_by_certificate(&mut leshan, 0), 0);

    // As when the network time comes: the node with the certificate does not have to speak again.
    clock.set(now_s());
    registered(&mut leshan, 0, CERTIFIED);
    assert_eq!((temperature(&mut leshan, CERTIFIED), handshakes_by_certificate(&mut leshan, 0)), (json!(11.4), 1));
    assert_eq!(session_of(&site, 0), "dtls-psk", "what runs with DTLS goes on with it");
    assert_eq!(gateway.terminate(), Some(0));
    let trace = capture.stop();
    assert_eq!(trace.datagrams(leshan.port), 0, "not one in clear");
    assert!(!trace.records().is_empty());
}

#[test]
fn s_03_s_42_an_analysis_that_expires_a_jump_to_2031_and_a_clock_set_back_leave_nobody_dark_and_nothing_in_clear() {
    let (site, mut leshan) = site();
    let today = Day::of_unix_ms(unix_ms());
    let last = today.plus(1);
    let midnight_s = u64::from(last.0 + 1) * DAY_S;
    site.write("threat-analysis.d/ends.toml", &analysis("ENDS", &leshan, 0, today, last));
    site.write("threat-analysis.d/stays.toml", &analysis("STAYS", &leshan, 1, today, today.plus(300)));
    let mut capture = Capture::with_others(leshan.coaps_port.unwrap(), &[leshan.port]);
    let clock = FakeClock::at(&site, midnight_s - DAY_S / 2);
    let mut modem = site.modem(72);
    let mut gateway = clock.gateway(&site);
    joined(&mut modem);
    for n in 0..=CERTIFIED {
        uplink(&mut modem, &mut gateway, n, &format!("0167007{n}"));
        registered(&mut leshan, 0, n);
        assert_eq!(session_of(&site, n), if n == CERTIFIED { "dtls-x509" } else { "nosec" });
    }

    // The last day of an analysis ends while its node has a clear session.
    capture.mark("lpwad: before midnight");
    let (mark, at) = (gateway.mark(), leshan.process.mark());
    clock.set(midnight_s - 2);
    let latched = told(&mut gateway, mark, "policy-latched", "analysis", "ENDS");
    assert_eq!((latched["rule"].as_str(), latched["server"].as_str()), (Some("TA02"), Some("site")), "{latched}");
    registered_by_psk(&mut leshan, at, 0);
    assert_eq!(temperature(&mut leshan, 0), json!(11.2), "what it had is there");
    uplink(&mut modem, &mut gateway, 0, "01670080");
    assert_eq!(temperature(&mut leshan, 0), json!(12.8));
    assert_eq!(session_of(&site, 1), "nosec", "the other analysis holds");
    let record = site.lpwad(&["policy", "record"]).output().unwrap().stdout;
    site.write("record", std::str::from_utf8(&record).unwrap());
    let last_record: Value =
        serde_json::from_slice(record.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(last_record["outcome"]["rules"], json!(["TA02", "TA12"]), "{last_record}");
    assert_eq!(last_record["inputs"]["nodes"], 1);
    assert!(last_record["outcome"]["reason"].as_str().unwrap().contains(&format!("ENDS: expired on {last}")));

    // Ahead, everything has expired: the other analysis, and the certificates.
    let (mark, at) = (gateway.mark(), leshan.process.mark());
    clock.set(IN_2031_S);
    told(&mut gateway, mark, "policy-latched", "analysis", "STAYS");
    registered_by_psk(&mut leshan, at, 1);
    assert_eq!(temperature(&mut leshan, 1), json!(11.3));
    told(&mut gateway, mark, "dtls-ended", "reason", "certificate has expired");
    uplink(&mut modem, &mut gateway, CERTIFIED, "01670081");
    told(&mut gateway, mark, "dtls-certificate-expired", "node", &eui(CERTIFIED));
    assert_eq!(handshakes_by_certificate(&mut leshan, at), 0);

    // Set back, and over a restart: the day was seen, and this one is not believed.
    let mark = gateway.mark();
    clock.set(now_s());
    told(&mut gateway, mark, "policy-refused", "rule", "TA12");
    assert_eq!(gateway.terminate(), Some(0));
    let at = leshan.process.mark();
    gateway = clock.gateway(&site);
    told(&mut gateway, 0, "policy-refused", "rule", "TA12");
    for n in 0..=CERTIFIED {
        uplink(&mut modem, &mut gateway, n, &format!("0167009{n}"));
    }
    for n in 0..CERTIFIED {
        registered(&mut leshan, at, n);
        assert_eq!(
            (temperature(&mut leshan, n), session_of(&site, n)),
            (json!((144 + n) as f64 / 10.0), "dtls-psk".to_string())
        );
    }
    told(&mut gateway, 0, "policy-refused", "node", &eui(CERTIFIED));
    assert_eq!((session_of(&site, CERTIFIED), handshakes_by_certificate(&mut leshan, at)), ("closed".to_string(), 0));
    let trace = capture.stop();
    assert!(trace.datagrams(leshan.port) > 0, "the two were in clear");
    assert_eq!(trace.datagrams_after("lpwad: before midnight", leshan.port), 0, "and then not once more");

    // Somebody looks at the clock, and says that it is right.
    site.ask(&["policy", "rearm"]);
    registered(&mut leshan, at, CERTIFIED);
    assert_eq!(temperature(&mut leshan, CERTIFIED), json!(14.6));
    gateway.terminate();
    let verified =
        Command::new(env!("CARGO_BIN_EXE_lpwad")).args(["policy", "verify"]).arg(site.path("record")).output();
    assert!(verified.unwrap().status.success());
}
