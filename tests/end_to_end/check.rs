//! `lpwad check` and what a user meets first: radios that cannot work, files of another owner, pipes, a key in the wrong
//! place.

use crate::site::{Site, app_key, eui};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn site() -> Site {
    let site = Site::new(1, "");
    site.configure(1, "coap://127.0.0.1:5683");
    site
}

/// Exit code and words of a command.
fn ran(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = site.lpwad(arguments).output().unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn a_radio_that_cannot_work_is_named_by_file_line_and_key() {
    let site = site();
    let good = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    let second = format!(
        "dialect = \"rn2483\" }}\n[[radio]]\nname = \"mast\"\nplugin = \"lora-serial\"\n\
         settings = {{ dialect = \"rn2483\", device = \"{}\" }}",
        site.path("modem").display()
    );
    for (from, to, line, words) in [
        ("\"rn2483\"", "\"rn2843\"", 6, ["radio.settings.dialect: \"rn2843\" is not", "did you mean \"rn2483\"?"]),
        ("\"rn2483\"", "\"rn2483\", sf = 99", 6, ["radio.settings.sf: 99 is outside 7 to 12", "hint: "]),
        (
            "\"rn2483\"",
            "\"rn2483\", freq_hz = 868.1",
            6,
            ["radio.settings.freq_hz: 868.1 is not a whole number of Hz", "hint"],
        ),
        ("\"rn2483\"", "\"rn2483\", sf = \"7\"", 6, ["radio.settings.sf: \"7\" is not", "without quotes: sf = 7"]),
        ("device", "divice", 6, ["radio.settings.divice: the plugin has no such setting", "did you mean \"device\"?"]),
        ("device", "divice", 6, ["radio.settings.device: is missing", "hint: serial port"]),
        (
            "\"lora-serial\"",
            "\"lora-serail\"",
            5,
            ["radio.plugin: there is no plugin \"lora-serail\"", "did you mean \"lora-serial\"?"],
        ),
        ("dialect = \"rn2483\" }", &second, 10, ["radio.settings.device: is the port of radio \"roof\" too", "hint: "]),
        (
            "\"rn2483\"",
            "\"rn2483\", region = \"US915\"",
            6,
            ["radio.settings.region: \"US915\" is not supported", "EU868"],
        ),
    ] {
        assert!(good.contains(from), "{from}");
        site.write("lpwad.toml", &good.replacen(from, to, 1));
        for command in ["check", "run"] {
            let (code, said) = ran(&site, &[command]);
            let at = format!("lpwad.toml:{line}: {}", words[0]);
            assert!(code == Some(78) && said.contains(&at) && said.contains(words[1]), "{to}: {at}: {code:?} {said}");
        }
    }
    site.write("lpwad.toml", &good);
    let (code, said) = ran(&site, &["check"]);
    assert!(code == Some(0) && said.contains(": ok\n"), "{said}");
    assert!(said.contains("warning: radio roof: device: ") && said.contains("modem is not there now"), "{said}");
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_at_once() {
    let site = site();
    let pipe = |name: &str| {
        drop(std::fs::remove_file(site.path(name)));
        nix::unistd::mkfifo(&site.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    };
    pipe("analysis.toml");
    let file = site.path("analysis.toml").display().to_string();
    let (code, said) = ran(&site, &["policy", "check", &file]);
    assert!(code == Some(78) && said.contains("analysis.toml: is not a regular file\n  hint: "), "{code:?} {said}");
    std::fs::create_dir(site.path("conf.d")).unwrap();
    for name in ["conf.d/more.toml", "lpwad.toml"] {
        pipe(name);
        for command in ["check", "run", "status"] {
            let (code, said) = ran(&site, &[command]);
            let wanted = if command == "status" { 69 } else { 78 };
            assert!(
                code == Some(wanted) && said.contains(&format!("{name}: is not a regular file")),
                "{code:?} {said}"
            );
        }
    }
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    let site = site();
    let good = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    let key = app_key(3);
    for (from, to) in [
        (eui(0), key.clone()),
        ("cayenne-lpp".into(), key.to_uppercase()),
        ("\"rn2483\"".into(), format!("\"rn2483\", sf = \"{key}\"")),
        ("rn2483".into(), key.clone()),
        ("rx1_delay_s = 2".into(), format!("rx1_delay_s = \"{key}\"")),
        ("rx1_delay_s = 2".into(), format!("{key} = 2")),
        ("rx1_delay_s = 2".into(), format!("rx1_delay_s = {key}")),
    ] {
        site.write("lpwad.toml", &good.replace(&from, &to));
        for arguments in [&["check"][..], &["check", "--json"], &["run"], &["key", "new", &eui(0)], &["status"]] {
            let (code, said) = ran(&site, arguments);
            assert!(!said.to_lowercase().contains(&key[4..24]), "{from}: {arguments:?} {code:?}");
        }
    }
}

#[test]
fn a_wrong_configuration_is_said_where_no_gateway_answers() {
    let site = site();
    site.write("lpwad.toml", "[gateway]\nrx1_delay_s = 99\n");
    let (code, said) = ran(&site, &["status"]);
    assert_eq!(code, Some(69));
    assert!(
        said.contains("no gateway answers at") && said.contains("lpwad.toml:2: gateway.rx1_delay_s: 99 s"),
        "{said}"
    );
    site.configure(1, "coap://127.0.0.1:5683");
    let (_, said) = ran(&site, &["status"]);
    assert!(said.contains("no gateway answers at") && !said.contains("note:"), "{said}");
}

#[test]
fn a_configuration_with_which_no_node_can_open_a_session_is_not_ok() {
    let site = Site::new(1, "");
    site.configure_secure(1, 5684, "");
    let output = site.lpwad(&["check"]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(
        text.lines().next().unwrap().ends_with("lpwad.toml: not ok: no node can open a session, as things are now"),
        "{text}"
    );
    assert!(text.contains("hint: ") && text.contains("no session: ") && !text.contains(": ok\n"), "{text}");
    let output = site.lpwad(&["check", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["ok"]), (Some(78), &false.into()));
    assert!(json["errors"][0]["problem"].as_str().unwrap().contains("no node can open a session"), "{json}");
    assert!(json["servers"][0]["verdict"].as_str().unwrap().starts_with("no session"), "{json}");
    let (code, said) = ran(&site, &["key", "new", &eui(0)]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ran(&site, &["check"]);
    assert!(code == Some(0) && said.contains(": ok\n") && said.contains("dtls-psk"), "{said}");
    site.configure_secure(0, 5684, "");
    assert_eq!(ran(&site, &["check"]).0, Some(0), "no node is needed to start");
}

#[test]
fn the_state_directory_is_looked_at_and_not_made() {
    let site = site();
    assert_eq!(ran(&site, &["check"]).0, Some(0));
    assert!(!site.path("state").exists());
    site.write("state", "");
    for (command, wanted) in [("check", 78), ("run", 74)] {
        let (code, said) = ran(&site, &[command]);
        assert!(code == Some(wanted) && said.contains("state: state directory is no directory"), "{code:?} {said}");
    }
    std::fs::remove_file(site.path("state")).unwrap();
    std::fs::create_dir(site.path("state")).unwrap();
    let mode = |mode| std::fs::set_permissions(site.path("state"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let (code, said) = ran(&site, &["check"]);
    assert!(code == Some(78) && said.contains("state directory has mode 0755: chmod 700"), "{said}");
    mode(0o700);
    site.write("state/seal.key", "short");
    let (code, said) = ran(&site, &["check"]);
    assert!(code == Some(78) && said.contains("seal.key: 5 bytes are no sealing key"), "{said}");
}

#[test]
fn a_sample_of_a_profile_that_is_not_as_it_says_is_named_by_file_and_line() {
    let site = site();
    let good = std::fs::read_to_string(site.path("lpwad.toml")).unwrap();
    site.write("lpwad.toml", &good.replacen("[gateway]", "[gateway]\nprofile_dirs = [\"profiles\"]", 1));
    std::fs::create_dir(site.path("profiles")).unwrap();
    let profile = "name = \"mine\"\ncodec = \"cayenne-lpp\"\nexpect_uplink_s = 900\n[[sample]]\nfport = 1\n\
        payload = \"01670110\"\nexpect = { \"/3303/1/5700\" = 27.2 }\n";
    site.write(
        "profiles/mine.toml",
        &format!("{profile}{}", &profile[profile.find("[[").unwrap()..].replace("27.2", "27")),
    );
    let (code, said) = ran(&site, &["check"]);
    assert!(code == Some(78) && said.contains("mine.toml:8: sample.1: /3303/1/5700 is 27.2, not 27"), "{said}");
    site.write("profiles/mine.toml", profile);
    let (code, said) = ran(&site, &["check"]);
    assert_eq!(code, Some(0), "{said}");
}

/// As `systemd/lpwad.service` says: the key file is lpwad's, the directory root's.
#[test]
fn root_works_with_the_key_file_of_lpwads_user_and_leaves_it_to_that_user() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("only root can give a file away: not tried");
    }
    const USER: u32 = 54_321;
    let site = site();
    let own = |name: &str, uid: u32| std::os::unix::fs::chown(site.path(name), Some(uid), None).unwrap();
    std::fs::create_dir(site.path("state")).unwrap();
    std::fs::set_permissions(site.path("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    own("state", USER);
    own("keys.toml", USER);
    let node = eui(0);
    for arguments in [
        &["check"][..],
        &["key", "new", &node],
        &["key", "rotate", &node],
        &["key", "export", "--for-server", "--yes-i-understand", &node],
        &["check"],
    ] {
        let (code, said) = ran(&site, arguments);
        assert!(code == Some(0) && !said.contains("belongs to"), "{arguments:?}: {said}");
        let meta = std::fs::metadata(site.path("keys.toml")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (USER, 0o600), "{arguments:?}");
    }
    own("keys.toml", USER + 1);
    for arguments in [&["check"][..], &["key", "rotate", &node]] {
        let (code, said) = ran(&site, arguments);
        let problem = format!(
            "keys.toml: key file belongs to user {}, not to root or the user {USER} that lpwad runs as",
            USER + 1
        );
        assert!(
            code == Some(78) && said.contains(&problem) && said.contains("hint: chown 54321 "),
            "{arguments:?}: {said}"
        );
    }
    // A file of root is not the service's to read, which is said; and is, when that was done.
    own("keys.toml", 0);
    let (code, said) = ran(&site, &["key", "rotate", &node]);
    assert!(code == Some(0) && said.contains("note: ") && said.contains(": chown 54321 "), "{said}");
    std::fs::remove_file(site.path("keys.toml")).unwrap();
    let (code, said) = ran(&site, &["key", "new", &node]);
    assert!(code == Some(0) && !said.contains("chown"), "{said}");
    assert_eq!(std::fs::metadata(site.path("keys.toml")).unwrap().uid(), USER);
}
