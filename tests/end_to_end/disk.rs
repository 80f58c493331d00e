//! A full disk, made by the limit of file sizes: what needs no disk goes on, what needs it is refused, and it recovers.

use crate::site::{Process, Site, confirmed_uplink, endpoint, eui, small_server, uplink};
use serde_json::Value;
use std::process::Command;

/// Size in bytes over which the process cannot write into files, `unlimited`, or 0 for nowhere.
fn limit_files(process: &Process, bytes: &str) {
    let pid = process.pid().to_string();
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit, of util-linux");
    assert!(done.success(), "prlimit {limit}: {done}");
}

#[test]
fn on_a_full_disk_values_are_served_and_writes_refused_until_there_is_room() {
    let (mut server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    let mut modem = site.modem(41);
    let mut gateway = site.gateway();
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    server.wait_event("registered");
    server.tell(&format!("observe {} /3303/1/5700", endpoint(0)));
    assert_eq!(server.wait_event("observed")["code"], "2.05");
    confirmed_uplink(&mut modem, 0, "01670111");

    limit_files(&gateway, "0");
    let (since, answers) = (gateway.mark(), server.mark());
    uplink(&mut modem, &mut gateway, 0, "01670115");
    gateway.wait_since(since, "the failure", |line| line["event"] == "store-failed");
    let notified = |line: &Value| line["event"] == "notify" && line.to_string().contains("27.7");
    server.wait_since(answers, "the value notified", notified);
    let write = |server: &mut Process| {
        let mark = server.mark();
        server.tell(&format!("write {} /3306/0/5850 true", endpoint(0)));
        server.wait_since(mark, "the fate of a write", |line| line["event"] == "written")["code"].clone()
    };
    assert_eq!(write(&mut server), "5.03");
    let mark = modem.mark();
    modem.tell(&format!("uplink {} 1 01670116 confirmed", eui(0)));
    let fate = |line: &Value| ["acked", "no_ack"].iter().any(|event| line["event"] == *event);
    assert_eq!(modem.wait_since(mark, "its fate", fate)["event"], "no_ack", "what is not on disk is not acknowledged");
    assert_eq!(site.ask(&["status"])["store"]["failing"], true);

    limit_files(&gateway, "unlimited");
    gateway.wait_since(since, "the recovery", |line| line["event"] == "store-recovered");
    assert_eq!(write(&mut server), "2.04");
    confirmed_uplink(&mut modem, 0, "01670117");
    assert_eq!(site.ask(&["status"])["store"]["failing"], false);
    assert_eq!(gateway.seen().iter().filter(|line| line["event"] == "store-failed").count(), 1);
    assert_eq!(gateway.terminate(), Some(0));
}
