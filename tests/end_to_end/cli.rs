//! The command line: errors that name file, line, key and a hint; exit codes; the policy's gate.

use crate::site::{Site, analysis, endpoint, eui, uplink};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn configuration_errors_name_file_line_key_and_hint_with_exit_code_78() {
    let site = Site::new(1, "");
    site.configure(1, "coap://127.0.0.1:5683");
    let good = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    for (from, to, words) in [
        (
            "profile = \"cayenne-lpp\"",
            "profile = \"cayene-lpp\"",
            vec!["lpwad.toml:12: node.profile:", "did you mean \"cayenne-lpp\""],
        ),
        ("rx1_delay_s = 2", "rx1_delay_s = 20", vec!["lpwad.toml:2: gateway.rx1_delay_s:", "1 to 15"]),
        ("rx1_delay_s", "rx1_dealy_s", vec!["lpwad.toml:2:", "did you mean `rx1_delay_s`"]),
        ("coap://127.0.0.1:5683", "http://x", vec!["lpwad.toml:9: server.uri:", "hint:"]),
        ("dev_eui = \"70b3d57ed0000000\"", "dev_eui = \"70b3\"", vec!["lpwad.toml:11: node.dev_eui:", "16 hex digits"]),
        ("plugin = \"lora-serial\"", "plugin = \"lora-seral\"", vec!["lpwad.toml:5: radio.plugin:", "searched:"]),
    ] {
        assert!(good.contains(from), "{from}");
        site.write("lpwad.toml", &good.replace(from, to));
        for command in ["check", "run"] {
            let output = site.lpwad(&[command]).output().unwrap();
            assert_eq!(output.status.code(), Some(78), "{to}: {}", stderr(&output));
            for word in &words {
                assert!(stderr(&output).contains(word), "{to}: {word} in {}", stderr(&output));
            }
        }
    }
    site.write("lpwad.toml", &good);
    let output = site.lpwad(&["check"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn s_36_an_endpoint_name_belongs_to_one_node() {
    let site = Site::new(2, "");
    site.configure(2, "coap://127.0.0.1:5683");
    std::fs::create_dir(site.path("conf.d")).unwrap();
    let named = |name: &str| format!("[[node]]\ndev_eui = \"{}\"\nendpoint = \"{name}\"\n", eui(1));
    site.write("conf.d/names.toml", &named("pump"));
    let output = site.lpwad(&["check"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    site.write("conf.d/names.toml", &named(&endpoint(0)));
    let output = site.lpwad(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = stderr(&output);
    assert!(said.contains("node.endpoint") && said.contains(&eui(0)) && said.contains(&eui(1)), "{said}");
}

#[test]
fn usage_and_a_gateway_that_is_not_there_have_their_exit_codes() {
    let site = Site::new(0, "");
    site.configure(0, "coap://127.0.0.1:5683");
    assert_eq!(site.lpwad(&["stauts"]).output().unwrap().status.code(), Some(64));
    let output = site.lpwad(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("hint:"), "{}", stderr(&output));
    for command in [&["status"][..], &["node", "list"], &["policy", "explain", "x"], &["policy", "verify", "nowhere"]] {
        let output = site.lpwad(&[command, &["--json"]].concat()).output().unwrap();
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(error["error"].is_string() && output.stdout.is_empty(), "{output:?}");
        assert_eq!(error["exit_code"].as_i64(), output.status.code().map(i64::from), "{error}");
    }
}

#[test]
fn check_says_in_one_line_that_others_could_write_an_analysis_and_its_hint_once() {
    let site = Site::new(1, "");
    site.configure(1, "coap://127.0.0.1:5683");
    let path = site.path("threat-analysis.d/test.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let output = site.lpwad(&["check"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.lines().find(|line| line.contains("an analysis is invalid")).unwrap();
    assert!(verdict.contains("has mode 0666: others could write it; and "), "{said}");
    assert_eq!(said.matches("hint: chmod go-w").count(), 1, "{said}");
}

#[test]
fn s_03_without_a_valid_analysis_no_datagram_leaves_and_the_reason_is_said() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let uri = format!("coap://{}", server.local_addr().unwrap());
    let site = Site::new(1, "");
    site.configure(1, &uri);
    site.write("threat-analysis.d/test.toml", &analysis(&uri, 20, 10));
    let mut modem = site.modem(41);
    let mut gateway = site.gateway();
    let refused = gateway.wait_event("policy-refused");
    assert!(refused["reason"].as_str().unwrap().contains("TEST: expired on"), "{refused}");
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    gateway.wait("the node's refusal", |line| line["event"] == "policy-refused" && line["node"] == eui(0).as_str());
    let node = site.ask(&["node", "show", &eui(0)]);
    assert_eq!((node["session"].as_str(), node["verdict"]["verdict"].as_str()), (Some("closed"), Some("refuse")));
    assert_eq!(node["values"]["/3303/1/5700"]["value"], 27.2, "the value is kept");
    assert_eq!(gateway.terminate(), Some(0));
    assert!(server.recv(&mut [0; 64]).is_err(), "a datagram left");
}

#[test]
fn what_dtls_would_fail_of_is_said_by_check() {
    let site = Site::new(2, "");
    site.write("server.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    site.configure_secure(2, 5684, "server_public_key = \"server.pem\"\n");
    site.add_keys(1, "rpk_key = \"\"\"\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n\"\"\"\n");
    let report = site.ask(&["check"]);
    let warnings: Vec<&str> = report["warnings"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
    let about = |n: usize, words: &str| warnings.iter().any(|w| w.contains(&eui(n)) && w.contains(words));
    assert!(about(0, "lpwad key new"), "{warnings:?}");
    assert!(about(1, "server_public_key"), "{warnings:?}");
    let verdicts: Vec<&str> =
        report["servers"].as_array().unwrap().iter().filter_map(|s| s["verdict"].as_str()).collect();
    assert!(verdicts.iter().any(|verdict| verdict.starts_with("dtls-rpk")), "{report}");
    assert!(verdicts.iter().any(|verdict| verdict.starts_with("no session")), "{report}");
    let version = site.lpwad(&["--version"]).output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("OpenSSL 3."), "{version:?}");
}
