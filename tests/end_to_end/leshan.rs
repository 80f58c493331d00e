//! Eclipse Leshan as the server: it reads what a node sent, is notified unasked, and writes what the node receives.

use crate::harness::Leshan;
use crate::site::{self, Site, endpoint, eui, uplink};
use serde_json::{Value, json};

fn read(leshan: &mut Leshan, path: &str, accept: Option<&str>) -> Value {
    let mut command = json!({ "cmd": "read", "ep": endpoint(0), "path": path });
    if let Some(accept) = accept {
        command["accept"] = accept.into();
    }
    leshan.ask(command)
}

#[test]
fn leshan_reads_observes_and_writes_a_node_that_joined_over_the_air() {
    let mut leshan = Leshan::start();
    let site = Site::new(1, "fport = 1");
    site.configure(1, &leshan.uri());
    let mut modem = site.modem(11);
    let mut gateway = site.gateway();
    modem.wait_event("joined");

    // Before the first uplink nothing is registered: presence follows the node.
    assert_eq!(leshan.ask(json!({ "cmd": "clients" }))["clients"], json!([]));
    uplink(&mut modem, &mut gateway, 0, "01670110026891");
    let registered = leshan.process.wait_event("registered");
    assert_eq!(registered["ep"], endpoint(0).as_str());
    assert_eq!(registered["lwm2m"], "1.1", "S-01");
    assert_eq!(registered["lt"], 2700, "three times expect_uplink_s");
    let links = registered["links"].to_string();
    for object in ["</3/0>", "</3303/1>", "</3304/2>", "</3306/0>", "</3412/0>"] {
        assert!(links.contains(object), "{object} in {links}");
    }
    assert!(!links.contains("</0"), "/0 is never listed");

    for (accept, format) in [
        (None, None),
        (Some("TLV"), Some("TLV")),
        (Some("TEXT"), Some("TEXT")),
        (Some("SENML_JSON"), None),
        (Some("SENML_CBOR"), None),
    ] {
        let answer = read(&mut leshan, "/3303/1/5700", accept);
        assert_eq!(
            (&answer["code"], &answer["values"]["/3303/1/5700"]),
            (&json!("2.05"), &json!(27.2)),
            "{accept:?}: {answer}"
        );
        if let Some(format) = format {
            assert_eq!(answer["format"], format);
        }
    }
    let instance = read(&mut leshan, "/3304/2", None);
    assert_eq!(instance["values"]["/3304/2/5700"], json!(72.5), "{instance}");
    let device = read(&mut leshan, "/3/0", Some("SENML_CBOR"));
    assert_eq!(device["values"]["/3/0/2"], eui(0).as_str(), "{device}");
    assert_eq!(read(&mut leshan, "/3412/0/6", None)["values"]["/3412/0/6"], eui(0).as_str());
    assert_eq!(read(&mut leshan, "/3306/0/5850", None)["code"], "4.04", "no value before the node sent one");
    assert_eq!(read(&mut leshan, "/9/0", None)["code"], "4.04");
    assert_eq!(leshan.ask(json!({ "cmd": "discover", "ep": endpoint(0), "path": "/3303" }))["code"], "2.05");

    // S-34: observed, then notified by the next uplink, unasked.
    let observing = leshan.ask(json!({ "cmd": "observe", "ep": endpoint(0), "path": "/3303/1/5700" }));
    assert_eq!((&observing["code"], &observing["ok"]), (&json!("2.05"), &json!(true)), "{observing}");
    uplink(&mut modem, &mut gateway, 0, "0167ffd7");
    let notify =
        leshan.process.wait("a notification of -4.1", |line| line["event"] == "notify" && line["value"] == json!(-4.1));
    assert_eq!(notify["path"], "/3303/1/5700");

    // S-33: a write is answered when it is in the mailbox and on disk, and reaches the node with its next uplink.
    let write = json!({ "cmd": "write", "ep": endpoint(0), "path": "/3306/0/5850", "value": true });
    assert_eq!(leshan.ask(write)["code"], "2.04");
    assert_eq!(read(&mut leshan, "/30412/0/1", None)["values"]["/30412/0/1"], json!(1), "one downlink waits");
    assert_eq!(read(&mut leshan, "/3306/0/5850", None)["code"], "4.04", "the node has not confirmed it yet");
    let refused = json!({ "cmd": "write", "ep": endpoint(0), "path": "/3303/1/5700", "value": 1.0 });
    assert_eq!(leshan.ask(refused)["code"], "4.05", "a sensor is not writable");
    let received = site::downlink(&mut modem, &mut gateway, 0, "000064ff");
    assert_eq!((&received["fport"], &received["confirmed"]), (&json!(99), &json!(true)), "{received}");
    uplink(&mut modem, &mut gateway, 0, "01670112");
    gateway.wait_event("downlink-acked");
    let confirmed = read(&mut leshan, "/3306/0/5850", None);
    assert_eq!(confirmed["values"]["/3306/0/5850"], json!(true), "{confirmed}");

    // R11: a clean stop says goodbye.
    assert_eq!(gateway.terminate(), Some(0));
    assert_eq!(leshan.process.wait_event("unregistered")["ep"], endpoint(0).as_str());
}
