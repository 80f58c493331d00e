//! SIGHUP: a good configuration holds at once, a bad one is named and changes nothing.

use crate::site::{Process, Site, eui, uplink};
use nix::sys::signal::{Signal, kill};

/// Sends SIGHUP and gives the event of this name that follows.
fn reload(gateway: &mut Process, event: &str) -> serde_json::Value {
    let mark = gateway.mark();
    kill(gateway.pid(), Signal::SIGHUP).unwrap();
    gateway.wait_since(mark, event, |line| line["event"] == event)
}

#[test]
fn a_new_node_comes_without_a_restart_and_a_mistake_is_named_by_file_and_line() {
    let site = Site::new(2, "");
    // Nobody listens there; the nodes join all the same.
    site.configure(1, "coap://127.0.0.1:9");
    let mut modem = site.modem(51);
    let mut gateway = site.gateway();
    modem.wait("a join", |line| line["event"] == "joined" && line["dev_eui"] == eui(0).as_str());

    let good = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    site.write("lpwad.toml", &format!("{good}[[node]]\nprofil = 1\n"));
    let line = good.lines().count() + 1;
    let failed = reload(&mut gateway, "reload-failed");
    let reason = failed["reason"].as_str().unwrap();
    assert!(
        reason.contains(&format!("lpwad.toml:{}", line + 1)) || reason.contains(&format!("lpwad.toml:{line}")),
        "{reason}"
    );
    uplink(&mut modem, &mut gateway, 0, "01670110");

    site.configure(2, "coap://127.0.0.1:9");
    let done = reload(&mut gateway, "reloaded");
    assert_eq!(
        (&done["added"], &done["removed"], &done["after_restart"]),
        (&"1".into(), &"0".into(), &serde_json::Value::Null)
    );
    modem.wait("the other join", |line| line["event"] == "joined" && line["dev_eui"] == eui(1).as_str());
    uplink(&mut modem, &mut gateway, 1, "01670111");
    assert_eq!(site.ask(&["status"])["nodes"]["configured"], 2);
    assert_eq!(gateway.terminate(), Some(0));
}
