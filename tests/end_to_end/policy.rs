//! The policy from the command line: what it says of a running gateway, and what anybody can check without one.

use crate::site::{Site, eui, small_server, uplink};
use serde_json::{Value, json};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A directory of facts with one file, written now.
fn write_fact(site: &Site) {
    for dir in ["facts", "conf.d"] {
        std::fs::DirBuilder::new().mode(0o755).create(site.path(dir)).unwrap();
    }
    site.write("conf.d/facts.toml", "[policy]\nfacts_dir = \"facts\"\n");
    #[expect(clippy::disallowed_methods, reason = "a fact is of today")]
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let fact = json!({ "probe": "wireguard", "peer": "peer", "interface": "wg0", "good": true, "age_s": 12 });
    let file = json!({ "schema": 1, "written_unix_s": unix.as_secs(), "facts": [fact] });
    site.write("facts/test.json", &file.to_string());
}

#[test]
fn s_04_explain_list_and_records_of_a_running_gateway_and_records_verified_elsewhere() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(1, "");
    site.configure(1, &uri);
    write_fact(&site);
    let mut modem = site.modem(61);
    let mut gateway = site.gateway();
    let verdict = gateway.wait_event("policy-verdict");
    assert_eq!((verdict["verdict"].as_str(), verdict["rule"].as_str()), (Some("nosec"), Some("TA10")), "{verdict}");
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    gateway.wait_event("registered");

    let explained = site.ask(&["policy", "explain", &eui(0)]);
    let table = explained["decision"]["analyses"][0]["table"].as_array().unwrap();
    let accepted = table.iter().filter(|cell| cell.get("accepted-by").is_some()).count();
    assert_eq!((table.len(), accepted, explained["facts"]["activation"].as_str()), (20, 4, Some("otaa")));
    assert_eq!(explained["decision"]["analyses"][0]["sha256"], verdict["sha256"]);
    let seen = explained["facts"]["seen"].as_array().unwrap();
    let port = |radio: Value| seen.iter().find(|fact| fact["probe"] == "tty-owner" && fact["peer"] == radio);
    let good = [json!("roof"), Value::Null].map(|radio| port(radio).is_some_and(|fact| fact["good"] == true));
    assert_eq!(good, [true, true], "only the plugin has the port open: {seen:?}");
    let fact = seen.iter().find(|fact| fact["probe"] == "wireguard");
    if nix::unistd::geteuid().is_root() {
        let fact = fact.expect("a fact of the directory");
        assert_eq!((fact["peer"].as_str(), fact["good"].as_bool()), (Some("peer"), Some(true)));
        assert_eq!(fact["interface"], "wg0");
        assert!((12..600).contains(&fact["age_s"].as_u64().unwrap()), "{fact}");
    } else {
        assert!(fact.is_none(), "not of root");
        assert_eq!(gateway.wait_event("fact-file-refused")["reason"], "does not belong to root");
    }
    let shown = text(&site.lpwad(&["policy", "explain", &eui(0)]).output().unwrap());
    assert!(shown.contains("discharged by lorawan-mac") && shown.contains("verdict: nosec (TA10)"), "{shown}");
    let list = site.ask(&["policy", "list"]);
    assert_eq!((list["nosec"][0]["dev_eui"].as_str(), list["nosec"].as_array().unwrap().len()), (Some(&*eui(0)), 1));
    let status = text(&site.lpwad(&["status"]).output().unwrap());
    assert!(
        status.contains("nosec: 1 nodes  WITHOUT DTLS")
            && status.contains("29 days left") | status.contains("30 days left"),
        "{status}"
    );

    // A file that cannot be read keeps what runs, is shouted, and gives a restart nothing.
    site.write("threat-analysis.d/test.toml", "schema = 1\nid = ");
    nix::sys::signal::kill(gateway.pid(), nix::sys::signal::Signal::SIGHUP).unwrap();
    gateway.wait_event("analysis-invalid");
    gateway.wait_event("reloaded");
    assert_eq!(site.ask(&["node", "show", &eui(0)])["session"], "nosec");

    let record = site.lpwad(&["policy", "record"]).output().unwrap().stdout;
    assert_eq!(gateway.terminate(), Some(0));
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("record");
    std::fs::write(&path, &record).unwrap();
    let verify = |json: bool| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lpwad"));
        command.args(["policy", "verify"]).arg(&path).args(json.then_some("--json")).output().unwrap()
    };
    let verified = verify(true);
    let first: Value = serde_json::from_slice(verified.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!((first["ok"].as_bool(), first["verdict"].as_str()), (Some(true), Some("nosec")), "{}", text(&verified));
    let at = record.windows(7).position(|window| window == b"\"nosec\"").unwrap();
    let mut changed = record.clone();
    changed[at + 1] = b'N';
    std::fs::write(&path, &changed).unwrap();
    let found = verify(false);
    assert_eq!(found.status.code(), Some(65), "{}", text(&found));
    assert!(text(&found).contains(":1: the record"), "{}", text(&found));

    let mut gateway = site.gateway();
    let refused = gateway.wait_event("policy-refused");
    assert!(refused["rule"].as_str().unwrap().starts_with("TA01"), "{refused}");
}

#[test]
fn files_are_written_and_checked_without_a_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    let lpwad =
        |arguments: &[&str]| std::process::Command::new(env!("CARGO_BIN_EXE_lpwad")).args(arguments).output().unwrap();
    let file = path.to_str().unwrap();
    let new = lpwad(&["policy", "new", "--id", "TA-7", "--by", "j.doe", "--out", file]);
    assert!(new.status.success(), "{}", text(&new));
    let again = lpwad(&["policy", "new", "--id", "TA-7", "--by", "j.doe", "--out", file]);
    assert_eq!(again.status.code(), Some(73), "it is not written over");
    let checked = lpwad(&["policy", "check", "--json", file]);
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((checked[0]["ok"].as_bool(), checked[0]["id"].as_str()), (Some(true), Some("TA-7")));
    assert!(checked[0]["signed_by"].is_null());
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.contains("#accept"), "nothing is accepted yet");
    // Signed by the real thing; then changed.
    let ssh_keygen = |arguments: &[&str]| {
        let done = std::process::Command::new("ssh-keygen").args(arguments).current_dir(dir.path()).output().unwrap();
        assert!(done.status.success(), "{}", text(&done));
    };
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key"]);
    ssh_keygen(&["-q", "-Y", "sign", "-n", "lpwad-threat-analysis", "-f", "key", "site.toml"]);
    let signers = dir.path().join("signers");
    let key = std::fs::read_to_string(dir.path().join("key.pub")).unwrap();
    std::fs::write(&signers, format!("j.doe@example.org {key}")).unwrap();
    let check = || lpwad(&["policy", "check", "--signers", signers.to_str().unwrap(), file]);
    assert!(text(&check()).contains("signed by j.doe@example.org"), "{}", text(&check()));
    std::fs::write(&path, format!("{written}\n")).unwrap();
    assert_eq!(check().status.code(), Some(78));
    assert!(text(&check()).contains("site.toml.sig: is not one over this file"), "{}", text(&check()));
    std::fs::remove_file(dir.path().join("site.toml.sig")).unwrap();
    std::fs::write(&path, written.replace("\"lorawan-app\"", "\"lorawan-ap\"")).unwrap();
    let checked = lpwad(&["policy", "check", file]);
    assert_eq!(checked.status.code(), Some(78));
    let said = text(&checked);
    assert!(said.contains("site.toml:20: kind: \"lorawan-ap\" is not known"), "{said}");
    assert!(said.contains("did you mean \"lorawan-app\"?"), "{said}");
}

#[test]
fn what_makes_a_file_without_mistakes_void_is_a_warning_of_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    let file = path.to_str().unwrap();
    let lpwad =
        |arguments: &[&str]| std::process::Command::new(env!("CARGO_BIN_EXE_lpwad")).args(arguments).output().unwrap();
    let new = |arguments: &[&str]| lpwad(&[&["policy", "new", "--id", "TA-7", "--by", "j.doe"], arguments].concat());
    assert!(new(&["--out", file]).status.success());
    let check = |words: &[&str]| {
        let (plain, json) = (lpwad(&["policy", "check", file]), lpwad(&["policy", "check", "--json", file]));
        assert_eq!((plain.status.code(), json.status.code()), (Some(0), Some(0)), "{}", text(&plain));
        let report: Value = serde_json::from_slice(&json.stdout).unwrap();
        let warnings = report[0]["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), words.len(), "{report}");
        for (warning, word) in warnings.iter().zip(words) {
            assert!(warning.as_str().unwrap().contains(word), "{word}: {report}");
            assert!(text(&plain).contains(word), "{word}: {}", text(&plain));
        }
        text(&plain).split_once(", TA-7").unwrap().0.to_string()
    };
    assert_eq!(check(&[]), format!("{file}: ok"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(check(&["mode 0666"]), format!("{file}: ok, with 1 warning"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let dated = |from: &str, to: &str| {
        let lines = written.lines().map(|line| match line.split_once(" = ") {
            Some(("reviewed", _)) => format!("reviewed = {from}"),
            Some(("expires", _)) => format!("expires = {to}"),
            _ => line.to_string(),
        });
        let accept = format!(
            "accept = [{{ segment = \"host\", property = \"all\", attacker = \"host-user\", why = \"x\", by = [\"j.doe\"], \
             expires = {to} }}]"
        );
        let text = lines.collect::<Vec<_>>().join("\n").replace("[scope]", &format!("{accept}\n[scope]"));
        std::fs::write(&path, text).unwrap();
    };
    dated("2020-01-01", "2020-06-01");
    let expired = ["it expired on 2020-06-01", "host-user on host does not count today: it expired on 2020-06-01"];
    assert_eq!(check(&expired), format!("{file}: ok, with 2 warnings"));
    dated("2090-01-01", "2090-06-01");
    check(&["permits nothing before 2090-01-01"]);

    let elsewhere = new(&["--server", "coap://10.0.0.1:5683"]);
    assert_eq!(elsewhere.status.code(), Some(64), "{}", text(&elsewhere));
    assert!(text(&elsewhere).contains("is not on this host") && text(&elsewhere).contains("hint:"));
    let nowhere = dir.path().join("threat-analysis.d/site.toml");
    let lost = new(&["--out", nowhere.to_str().unwrap()]);
    assert_eq!(lost.status.code(), Some(73), "{}", text(&lost));
    let hint = format!("hint: its directory is not there: install -d -m 755 {}", nowhere.parent().unwrap().display());
    assert!(text(&lost).contains(&hint), "{}", text(&lost));
}
