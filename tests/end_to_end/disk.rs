//! A full disk, made by the limit of file sizes, and one that is read-only: what needs no disk goes on, what needs it is
//! refused, and it recovers.

use crate::air_trace::nothing_twice;
use crate::namespace::Namespace;
use crate::site::{Process, Site, confirmed_uplink, endpoint, eui, small_server, uplink};
use serde_json::Value;
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;

/// Size in bytes over which the process cannot write into files, `unlimited`, or 0 for nowhere.
fn limit_files(process: &Process, bytes: &str) {
    let pid = process.pid().to_string();
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit, of util-linux");
    assert!(done.success(), "prlimit {limit}: {done}");
}

/// The answer to a server's write.
fn write(server: &mut Process) -> Value {
    let mark = server.mark();
    server.tell(&format!("write {} /3306/0/5850 true", endpoint(0)));
    server.wait_since(mark, "the fate of a write", |line| line["event"] == "written")["code"].clone()
}

/// What becomes of a confirmed uplink.
fn fate(modem: &mut Process, payload: &str) -> Value {
    let mark = modem.mark();
    modem.tell(&format!("uplink {} 1 {payload} confirmed", eui(0)));
    let fate = |line: &Value| ["acked", "no_ack"].iter().any(|event| line["event"] == *event);
    modem.wait_since(mark, "its fate", fate)["event"].clone()
}

/// The node joins, its server observes the temperature, and all is well.
fn observe(modem: &mut Process, gateway: &mut Process, server: &mut Process) {
    modem.wait_event("joined");
    uplink(modem, gateway, 0, "01670110");
    server.wait_event("registered");
    server.tell(&format!("observe {} /3303/1/5700", endpoint(0)));
    assert_eq!(server.wait_event("observed")["code"], "2.05");
    confirmed_uplink(modem, 0, "01670111");
}

#[test]
fn on_a_full_disk_values_are_served_and_writes_refused_until_there_is_room() {
    let (mut server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    let mut modem = site.modem(41);
    let mut gateway = site.gateway();
    observe(&mut modem, &mut gateway, &mut server);

    limit_files(&gateway, "0");
    let (since, answers) = (gateway.mark(), server.mark());
    uplink(&mut modem, &mut gateway, 0, "01670115");
    gateway.wait_since(since, "the failure", |line| line["event"] == "store-failed");
    let notified = |line: &Value| line["event"] == "notify" && line.to_string().contains("27.7");
    server.wait_since(answers, "the value notified", notified);
    assert_eq!(write(&mut server), "5.03");
    assert_eq!(fate(&mut modem, "01670116"), "no_ack", "what is not on disk is not acknowledged");
    assert_eq!(site.ask(&["status"])["store"]["failing"], true);

    limit_files(&gateway, "unlimited");
    gateway.wait_since(since, "the recovery", |line| line["event"] == "store-recovered");
    assert_eq!(write(&mut server), "2.04");
    confirmed_uplink(&mut modem, 0, "01670117");
    assert_eq!(site.ask(&["status"])["store"]["failing"], false);
    assert_eq!(gateway.seen().iter().filter(|line| line["event"] == "store-failed").count(), 1);
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn on_a_disk_that_becomes_read_only_values_are_served_nothing_is_used_twice_and_it_recovers_by_itself() {
    let (mut server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    let state = site.path("state");
    std::fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    let mounts = Namespace::of_mounts();
    assert!(mounts.mount(&["--bind", state.to_str().unwrap()], &state));
    let run = || mounts.wrap(&site.lpwad(&["run", "--json"]));
    let mut modem = site.modem(42);
    let mut gateway = Process::start("gateway", &mut run());
    observe(&mut modem, &mut gateway, &mut server);

    // The kernel lets a mount become read-only when nobody has a file of it open for writing. After a failed write the store
    // does not.
    let since = gateway.mark();
    limit_files(&gateway, "0");
    uplink(&mut modem, &mut gateway, 0, "01670112");
    gateway.wait_since(since, "the failure", |line| line["event"] == "store-failed");
    let read_only = (0..1000).any(|_| mounts.mount(&["-o", "remount,bind,ro"], &state));
    assert!(read_only, "the store stays open for writing");
    // From here on it is the mount that fails, and nothing else.
    limit_files(&gateway, "unlimited");

    for round in 0..2 {
        let answers = server.mark();
        uplink(&mut modem, &mut gateway, 0, &format!("0167012{round}"));
        let value = format!("{}", f64::from(0x120 + round) / 10.0);
        let notified = |line: &Value| line["event"] == "notify" && line.to_string().contains(&value);
        server.wait_since(answers, "the value notified", notified);
        server.tell(&format!("read {} /3303/1/5700", endpoint(0)));
        let read = server.wait_since(answers, "the value read", |line| line["event"] == "read");
        assert!(read["code"] == "2.05" && read.to_string().contains(&value), "{read}");
        assert_eq!(write(&mut server), "5.03");
        assert_eq!(fate(&mut modem, "0167011a"), "no_ack", "what is not on disk is not acknowledged");
    }
    // A join would take a nonce.
    let mark = modem.mark();
    modem.tell(&format!("forget {}", eui(0)));
    modem.wait_since(mark, "a join that fails", |line| line["event"] == "join_failed");
    assert!(modem.seen()[mark..].iter().all(|line| line["event"] != "joined"), "a nonce that is not on disk was used");
    assert_eq!(site.ask(&["status"])["store"]["failing"], true);
    assert!(gateway.seen()[since..].iter().all(|line| line["event"] != "store-recovered"));

    assert!(mounts.mount(&["-o", "remount,bind,rw"], &state));
    gateway.wait_since(since, "the recovery", |line| line["event"] == "store-recovered");
    modem.wait_since(mark, "the join", |line| line["event"] == "joined");
    confirmed_uplink(&mut modem, 0, "01670130");
    assert_eq!(write(&mut server), "2.04");
    assert_eq!(site.ask(&["status"])["store"]["failing"], false);
    assert_eq!(gateway.seen().iter().filter(|line| line["event"] == "store-failed").count(), 1);
    assert_eq!(site.ask(&["node", "show", &eui(0)])["values"]["/3303/1/5700"]["value"], 30.4);

    // What it wrote then is what the next one goes on from.
    gateway.kill();
    let mut gateway = Process::start("gateway", &mut run());
    gateway.wait_event("radio-ready");
    assert_eq!(site.ask(&["node", "show", &eui(0)])["values"]["/3303/1/5700"]["value"], 30.4);
    confirmed_uplink(&mut modem, 0, "01670131");
    assert_eq!(gateway.terminate(), Some(0));
    let (accepts, frames) = nothing_twice(&mut modem);
    assert!(accepts >= 2 && frames >= 3, "{accepts} join accepts, {frames} frames");
}

#[test]
fn a_gateway_that_finds_its_disk_read_only_says_so() {
    let site = Site::new(1, "");
    site.configure(1, "coap://127.0.0.1:5683");
    let state = site.path("state");
    std::fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    let mounts = Namespace::of_mounts();
    assert!(mounts.mount(&["--bind", state.to_str().unwrap()], &state));
    assert!(mounts.mount(&["-o", "remount,bind,ro"], &state));
    let output = mounts.wrap(&site.lpwad(&["run", "--json"])).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Read-only file system") && said.contains(state.to_str().unwrap()), "{said}");
    assert_eq!(output.status.code(), Some(74), "{said}");
}
