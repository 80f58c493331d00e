//! `lpwad key`, as an operator uses it: what is made is private, what is shown is what the server needs, and nothing that
//! would not load is written.

use crate::site::{Site, app_key, eui};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn site() -> Site {
    let site = Site::new(2, "");
    site.configure(2, "coap://127.0.0.1:5683");
    site
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn key_file(site: &Site) -> String {
    std::fs::read_to_string(site.path("keys.toml")).unwrap()
}

#[test]
fn p_01_a_new_key_is_written_beside_the_others_and_its_line_is_printed_once() {
    let site = site();
    let before = format!("# By hand.\n{}", key_file(&site));
    site.write("keys.toml", &before);
    let made = json(&site.lpwad(&["key", "new", &eui(0), "--json"]).output().unwrap());
    let (identity, psk) = (made["identity"].as_str().unwrap(), made["psk"].as_str().unwrap());
    assert_eq!((made["endpoint"].as_str(), psk.len(), identity.len()), (Some("urn:dev:mac:70b3d57ed0000000"), 32, 16));
    let added = format!("psk_identity = \"{identity}\"\npsk = \"{psk}\"\n");
    let first = format!("app_key = \"{}\"\n", app_key(0));
    assert_eq!(key_file(&site), before.replace(&first, &format!("{first}{added}")));
    assert_eq!(mode(&site.path("keys.toml")), 0o600);

    let again = site.lpwad(&["key", "new", &eui(0)]).output().unwrap();
    assert_eq!(again.status.code(), Some(78));
    assert!(stderr(&again).contains("lpwad key rotate") && !stderr(&again).contains(psk), "{}", stderr(&again));
    let other =
        json(&site.lpwad(&["key", "new", "urn:dev:mac:70b3d57ed0000001", "--json", "--bytes", "64"]).output().unwrap());
    assert_eq!(other["psk"].as_str().map(str::len), Some(128));
    assert_ne!(other["identity"], made["identity"]);
    let check = site.lpwad(&["check"]).output().unwrap();
    assert!(check.status.success(), "{}", stderr(&check));
    let shown = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(!shown.contains(psk), "{shown}");
}

#[test]
fn s_11_import_takes_keys_from_standard_input_and_never_repeats_them() {
    let site = site();
    let psk = "603deb1015ca71be2b73aef0857d7781";
    let import = |node: usize, more: &[&str], input: &str| {
        let output = with_input(site.lpwad(&["key", "import", &eui(node)]).args(more), input);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(!said.contains(input.trim()) || input.trim().len() < 8, "{said}");
        (output.status.code(), said)
    };
    let (code, said) = import(0, &[], psk);
    assert!(code == Some(64) && said.contains("--identity"), "{said}");
    let (code, said) = import(0, &["--identity", "seven"], &format!("{psk}\n"));
    assert_eq!(code, Some(0), "{said}");
    assert!(key_file(&site).contains(&format!("psk_identity = \"seven\"\npsk = \"{psk}\"\n")));
    let kept = key_file(&site);
    for (node, more, input, wanted, word) in [
        (0, &["--identity", "eight"][..], "1f352c073b6108d72d9810a30914dff4", 78, "--replace"),
        (1, &["--identity", "eight"], psk, 78, "is also the psk of 70b3d57ed0000000"),
        (1, &["--identity", "eight"], "70617373776f726470617373776f7264", 78, "weak key"),
        (1, &["--identity", "eight"], "1f352c073b6108d72d9810a30914df", 78, "has 15 bytes"),
        (1, &["--identity", ""], psk, 64, "empty identity"),
        (1, &["--app-key"], "1f352c073b6108d72d9810a30914dff4", 78, "--replace"),
        (1, &[], "", 65, "empty"),
        (1, &[], "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 65, "one private key"),
    ] {
        let (code, said) = import(node, more, input);
        assert!(code == Some(wanted) && said.contains(word), "{more:?}: {code:?} {said}");
        assert_eq!(key_file(&site), kept, "what is refused changes nothing");
    }
    let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";
    let (code, said) = import(0, &["--replace"], pem);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        key_file(&site).contains(&format!("rpk_key = \"\"\"\n{pem}\"\"\"")) && !key_file(&site).contains("psk"),
        "{}",
        key_file(&site)
    );
    assert_eq!(
        site.lpwad(&["key", "import", &eui(0), psk]).output().unwrap().status.code(),
        Some(64),
        "no key in argv"
    );
}

#[test]
fn s_21_keys_of_the_store_lie_sealed_and_are_rotated_there() {
    let site = site();
    let config = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    site.write("lpwad.toml", &format!("{config}keys = \"store\"\n"));
    let nothing = site.lpwad(&["key", "new", &eui(1)]).output().unwrap();
    assert!(stderr(&nothing).contains("no state directory yet"), "{}", stderr(&nothing));
    std::fs::create_dir(site.path("state")).unwrap();
    std::fs::set_permissions(site.path("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let key = app_key(7);
    let imported = with_input(&mut site.lpwad(&["key", "import", &eui(1), "--app-key", "--json"]), &key);
    assert!(json(&imported)["written_to"].as_str().unwrap().ends_with("keys.sealed"));
    let made = json(&site.lpwad(&["key", "new", &eui(1), "--json"]).output().unwrap());
    let rotated = json(&site.lpwad(&["key", "rotate", &eui(1), "--json"]).output().unwrap());
    assert_eq!(made["identity"], rotated["identity"]);
    assert_ne!(made["psk"], rotated["psk"]);
    let renamed =
        json(&site.lpwad(&["key", "rotate", &eui(1), "--new-identity", "--hide", "--json"]).output().unwrap());
    assert!(renamed["psk"].is_null() && renamed["identity"] != rotated["identity"]);
    let exported = site.lpwad(&["key", "export", "--for-server", "--yes-i-understand", &eui(1)]).output().unwrap();
    let exported = json(&exported);
    assert!(exported["psk"] != rotated["psk"] && exported["identity"] == renamed["identity"]);
    for file in std::fs::read_dir(site.path("state")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in [key.as_str(), exported["psk"].as_str().unwrap()] {
            assert!(!bytes.windows(32).any(|window| window == secret.as_bytes()), "{}", path.display());
        }
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let check = site.lpwad(&["check"]).output().unwrap();
    assert!(check.status.success(), "{}", stderr(&check));
}

#[test]
fn a_running_gateway_takes_imported_keys_over_at_sighup() {
    let site = site();
    site.configure(1, "coap://127.0.0.1:9");
    let mut gateway = site.gateway();
    gateway.wait_event("started");
    // The store is open in the other process, and stays so.
    let imported = with_input(&mut site.lpwad(&["key", "import", &eui(7), "--app-key"]), &app_key(7));
    assert!(stderr(&imported).contains("is no [[node]]"), "{}", stderr(&imported));
    let config = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    let node = format!("[[node]]\ndev_eui = \"{}\"\nprofile = \"cayenne-lpp\"\nkeys = \"store\"\n", eui(7));
    site.write("lpwad.toml", &format!("{config}{node}"));
    let imported = with_input(&mut site.lpwad(&["key", "import", &eui(7), "--app-key"]), &app_key(8));
    assert!(imported.status.success(), "{}", stderr(&imported));
    kill(gateway.pid(), Signal::SIGHUP).unwrap();
    assert_eq!(gateway.wait_event("reloaded")["added"], "1");
    assert_eq!(gateway.terminate(), Some(0));
    assert!(site.path("state/keys.sealed").is_file() && site.path("state/lpwad.redb").is_file());
}

#[test]
fn export_asks_before_it_gives_keys_out_and_writes_a_private_file() {
    let site = site();
    let empty = site.lpwad(&["key", "export", "--for-server", "--yes-i-understand"]).output().unwrap();
    assert_eq!(empty.status.code(), Some(65), "{}", stderr(&empty));
    let made = json(&site.lpwad(&["key", "new", &eui(1), "--json", "--identity", "a,b"]).output().unwrap());
    let psk = made["psk"].as_str().unwrap();
    for arguments in [&["key", "export"][..], &["key", "export", "--for-server"]] {
        let refused = with_input(&mut site.lpwad(arguments), "yes\n1\n");
        assert_eq!(refused.status.code(), Some(64), "{}", stderr(&refused));
        assert!(refused.stdout.is_empty());
    }
    let out = site.path("server.csv");
    let output = format!("--output={}", out.display());
    let all = ["key", "export", "--for-server", "--yes-i-understand", "--format", "csv", &output];
    let export = || site.lpwad(&all).output().unwrap();
    let done = export();
    assert!(
        done.status.success() && done.stdout.is_empty() && stderr(&done).contains("left out: 1;"),
        "{}",
        stderr(&done)
    );
    let wanted = format!("endpoint,identity,psk\nurn:dev:mac:70b3d57ed0000001,\"a,b\",{psk}\n");
    assert_eq!((std::fs::read_to_string(&out).unwrap(), mode(&out)), (wanted, 0o600));
    assert_eq!(export().status.code(), Some(73), "what is there is not overwritten");
}

#[test]
fn two_at_a_time_lose_no_key() {
    let site = Site::new(12, "");
    site.configure(12, "coap://127.0.0.1:5683");
    let all: Vec<_> = (0..12)
        .map(|n| {
            site.lpwad(&["key", "new", &eui(n), "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for child in all {
        let made = json(&child.wait_with_output().unwrap());
        assert!(key_file(&site).contains(made["psk"].as_str().unwrap()));
    }
    assert_eq!(key_file(&site).matches("psk = ").count(), 12);
}
