//! The whole configuration: the example, and what is refused with file, line and key.

use super::*;
use std::os::unix::fs::OpenOptionsExt;

const EXAMPLE: &str = include_str!("../../config/lpwad.toml");

/// The example with every line that begins so as a key.
fn uncommented(starts: &[&str]) -> String {
    let bare = |line: &'static str| {
        let key = starts.iter().find_map(|start| line.strip_prefix(start))?;
        (key.starts_with(|c: char| c.is_ascii_lowercase()) && key.contains(" = ") && !key.starts_with("e.g."))
            .then_some(key)
    };
    EXAMPLE.lines().flat_map(|line| [bare(line).unwrap_or(line), "\n"]).collect()
}

fn read_example(text: &str) -> Result<Config, String> {
    let site = Site(tempfile::tempdir().unwrap());
    site.write("lpwad.toml", text);
    site.write("analysis-signers", "");
    let key = "2b7e151628aed2a6abf7158809cf4f3c";
    site.write(
        "keys.toml",
        &format!("[\"70b3d57ed0001234\"]\napp_key = \"{key}\"\nnwk_s_key = \"{key}\"\napp_s_key = \"{key}\"\n"),
    );
    let config = site.read().map(|mut config| {
        // They are named below the directory of this test.
        config.analysis_signers = None;
        config.analysis_dir = config.analysis_dir.strip_prefix(site.0.path()).unwrap().into();
        config
    });
    config.map_err(|said| said.replace(&site.0.path().display().to_string(), ""))
}

#[test]
fn the_commented_example_is_a_configuration_and_shows_the_defaults() {
    let plain = read_example(EXAMPLE).unwrap();
    assert!(
        plain.servers[0].secure_uri.is_some() && plain.servers[0].uri.is_none(),
        "without an analysis it must work too"
    );
    let all = read_example(&uncommented(&["#e.g. ", "#"])).unwrap();
    assert!(all.servers[0].uri.is_some());
    let mut shown = read_example(&uncommented(&["#"])).unwrap();
    assert_eq!(shown.state_dir.take(), Some(PathBuf::from("/var/lib/lpwad")));
    assert_eq!(shown.control_socket.take(), Some(PathBuf::from("/run/lpwad/control.sock")));
    let node = &mut shown.nodes[0];
    assert_eq!(node.endpoint.take(), Some(endpoint(node.dev_eui, None)));
    let manifest: toml::Table = include_str!("../../plugins/lora-serial/plugin.toml").parse().unwrap();
    for (name, value) in shown.radios[0].settings.clone() {
        let setting = &manifest["settings"][&name];
        match setting.get("default") {
            Some(default) => assert_eq!(serde_json::to_value(default).unwrap(), value, "{name}"),
            None if name == "baud" => {
                assert!(setting["help"].as_str().unwrap().contains(&format!("{value} for rn2483")))
            }
            None => assert_eq!(setting["required"].as_bool(), Some(true), "{name}"),
        }
    }
    shown.radios[0].settings = plain.radios[0].settings.clone();
    assert_eq!(format!("{shown:?}"), format!("{plain:?}"), "`#key = value` shows the default");
}

#[test]
fn ranges_in_the_comments_of_the_example_are_those_of_the_code() {
    for (key, min, max) in [
        ("rx1_delay_s", 1, 15),
        ("dtls_live_sessions", 1, 100_000),
        ("max_bytes", 65_536, 1_073_741_824),
        ("max_age_h", 1, 8784),
        ("dtls_timer_initial_s", 1, 60),
        ("dtls_timer_cap_s", 60, 600),
    ] {
        let start = format!("#{key} = ");
        let before: Vec<&str> = EXAMPLE.lines().take_while(|line| !line.starts_with(&start)).collect();
        let comment: Vec<&str> = before.into_iter().rev().take_while(|line| line.starts_with("# ")).collect();
        let line = EXAMPLE.lines().find(|line| line.starts_with(&start)).unwrap();
        let range = format!("{min} to {max}");
        assert!(comment.iter().any(|line| line.contains(&range)), "{key}: {range} in {comment:?}");
        let takes = |value: i64| {
            // A reason, for a short wait.
            let text = EXAMPLE
                .replace(line, &format!("{key} = {value}"))
                .replace("#e.g. dtls_timer_reason", "dtls_timer_reason");
            read_example(&text).is_ok()
        };
        // 0 keeps nothing.
        let below = if key == "max_bytes" { min - 1 } else { (min - 1).max(0) };
        assert_eq!([below, min, max, max + 1].map(takes), [false, true, true, false], "{key}");
    }
}

/// What each mistake leads to, and no more than that.
#[test]
fn every_mistake_is_one_error_with_file_line_key_and_hint() {
    let good = "[gateway]\n[[radio]]\nname = \"r\"\nplugin = \"p\"\n[[server]]\nname = \"s\"\nsecure_uri = \"coaps://127.0.0.1\"\n\
        [[node]]\ndev_eui = \"70b3d57ed0001234\"\nprofile = \"cayenne-lpp\"\n";
    let key = "2b7e151628aed2a6abf7158809cf4f3c";
    let abp = "profile = \"cayenne-lpp\"\nactivation = \"abp\"\n";
    for (from, to, want) in [
        ("coaps://127.0.0.1", "https://127.0.0.1", ":7: server.secure_uri: scheme is not coap or coaps\n  hint: "),
        ("secure_uri = \"coaps://127.0.0.1\"\n", "", ":6: server: has neither uri nor secure_uri\n  hint: secure_uri"),
        (
            "[[server]]",
            "[server]",
            ":5: invalid type: map, expected a sequence\n  hint: two brackets, because there can be several: [[server]]",
        ),
        ("[gateway]", "[[gateway]]", "\n  hint: one bracket, because there is only one: [gateway]"),
        ("name = \"r\"", "name = \"\"", ":3: radio.name: is empty\n  hint: name"),
        ("name = \"s\"", "name = \" \"", ":6: server.name: is empty\n  hint: name"),
        ("[gateway]", "gateway.control_socket = \"\"", ":1: gateway.control_socket: is empty\n  hint: a path"),
        ("[gateway]", "gateway.state_dir = \"\"", ":1: gateway.state_dir: is empty\n  hint: a path"),
        (
            "[gateway]",
            "policy.analysis_signers = \"nope\"",
            ":1: policy.analysis_signers: /nope: No such file or directory (os error 2)\n  hint: ",
        ),
        (
            "profile = \"cayenne-lpp\"\n",
            "profile = \"cayenne-lpp\"\nserver = \"t\"\n",
            ":11: node.server: there is no server \"t\"\n  hint: did you mean \"s\"?",
        ),
        (
            "profile = \"cayenne-lpp\"\n",
            abp,
            ":11: node.activation: abp needs dev_addr, which is missing\n  hint: dev_addr",
        ),
        (
            "profile = \"cayenne-lpp\"\n",
            &format!("{abp}dev_addr = \"26\"\n"),
            ":12: node.dev_addr: \"26\" is not 8 hex digits\n  hint: dev_addr",
        ),
        (
            "70b3d57ed0001234",
            key,
            ":9: node.dev_eui: \"(32 hex digits, which looks like a key: not shown)\" is not 16 hex digits\n  hint: ",
        ),
        (
            "profile = \"cayenne-lpp\"",
            &format!("profile = \"{key}\""),
            ":10: node.profile: there is no profile \"(32 hex",
        ),
        (
            "profile = \"cayenne-lpp\"",
            &format!("{abp}activation = \"{key}\"").replace("activation = \"abp\"\n", ""),
            ":11: node.activation: \"(32 hex",
        ),
        ("profile = \"cayenne-lpp\"", &format!("{abp}dev_addr = \"{key}\""), ":12: node.dev_addr: \"(32 hex"),
        (
            "profile = \"cayenne-lpp\"",
            &format!("profile = \"cayenne-lpp\"\nrelaxed_counter = \"{key}\""),
            ":11: relaxed_counter: invalid type: string \"(32 hex",
        ),
        (
            "profile = \"cayenne-lpp\"",
            &format!("profile = \"cayenne-lpp\"\n{key} = 1"),
            ":11: (32 hex digits, which looks like a key: not shown): unknown field `(32 hex",
        ),
        ("profile = \"cayenne-lpp\"", &format!("profile = \"cayenne-lpp\"\nendpoint = {key}"), ":11: endpoint: "),
        ("name = \"s\"", &format!("name = \"s\"\nsecurity = \"{key}\""), ":7: server.security: \"(32 hex"),
        ("name = \"s\"", &format!("name = \"s\"\nsuites = [\"{key}\"]"), ":7: server.suites: \"(32 hex"),
        ("name = \"s\"", &format!("name = \"s\"\ntrust_anchors = \"{key}\""), ":7: server.trust_anchors: /(32 hex"),
    ] {
        let site = Site(tempfile::tempdir().unwrap());
        site.write(
            "keys.toml",
            &keys_of(
                "nwk_s_key = \"603deb1015ca71be2b73aef0857d7781\"\napp_s_key = \"1f352c073b6108d72d9810a30914dff4\"",
                "",
            ),
        );
        assert!(good.contains(from), "{from}");
        site.write("lpwad.toml", &good.replace(from, to));
        let said = site.read().unwrap_err().replace(&site.0.path().display().to_string(), "");
        assert!(said.contains(want), "{to}\n{want}\n{said}");
        assert_eq!(
            said.matches("hint: ").count() + usize::from(!said.contains("hint: ")),
            1,
            "one error for one mistake: {said}"
        );
        assert!(!said.contains(&key[4..20]), "{said}");
    }
    let abp_without = good.replace("profile", "activation = \"abp\"\ndev_addr = \"260b1234\"\nprofile");
    let site = Site(tempfile::tempdir().unwrap());
    site.write("lpwad.toml", &abp_without);
    site.write("keys.toml", &keys_of("", ""));
    assert!(site.read().unwrap_err().contains(":10: node.activation: abp needs nwk_s_key and app_s_key, missing in "));
    std::fs::remove_file(site.0.path().join("keys.toml")).unwrap();
    let said = site.read().unwrap_err();
    assert!(said.contains("keys.toml: key file is not there\n  hint: `lpwad key import"), "{said}");
}

#[test]
fn a_mistake_in_a_profile_is_named_and_what_follows_from_it_is_not() {
    let site = Site::new("", &keys_of("", ""));
    let text = std::fs::read_to_string(site.0.path().join("lpwad.toml")).unwrap();
    site.write(
        "lpwad.toml",
        &format!("[gateway]\nprofile_dirs = [\"profiles\", \"nowhere\"]\n{}", text.replace("cayenne-lpp", "mine")),
    );
    std::fs::create_dir(site.0.path().join("profiles")).unwrap();
    let said = |profile: &str| {
        site.write("profiles/mine.toml", profile);
        site.read()
    };
    let good = "name = \"mine\"\ncodec = \"cayenne-lpp\"\nexpect_uplink_s = 900\n";
    let config = said(good).unwrap();
    assert!(
        config.warnings[0].contains("lpwad.toml:2: gateway.profile_dirs: ")
            && config.warnings[0].contains("nowhere is no directory"),
        "{:?}",
        config.warnings
    );
    for (more, want) in [
        ("codek = 1", "mine.toml:4: codek: unknown field `codek`"),
        ("lifetime_s = 10", "mine.toml:4: lifetime_s: 10 s is outside 300 to 31536000 s"),
        ("stale_after_s = 0", "mine.toml:4: stale_after_s: 0 s is outside 10 to"),
        ("objects = [\"/3303/1\", \"/9999/0\"]", "mine.toml:4: objects.1: object 9999 has no definition in lpwad"),
        ("objects = [\"/3/1\"]", "mine.toml:4: objects.0: object 3 has only instance 0"),
        ("objects = [\"/1/0\"]", "mine.toml:4: objects.0: /1 is lpwad's own"),
        ("[downlink]\nfport = 0", "mine.toml:5: downlink.fport: is outside 1 to 223"),
        ("[downlink]\nttl_s = 0", "mine.toml:5: downlink.ttl_s: 0 s is outside"),
        (
            "[[actuator]]\npath = \"/3303/1/5700\"\nchannel = 1",
            "mine.toml:5: actuator.0.path: /3303/1/5700 (Sensor Value) cannot be written",
        ),
        ("[[actuator]]\npath = \"/3306/0/5750\"\nchannel = 1", "(Application Type) is no number or boolean"),
        (
            "[[actuator]]\npath = \"/3306/0/1\"\nchannel = 1",
            "mine.toml:5: actuator.0.path: object 3306 has no such resource",
        ),
        (
            "[[actuator]]\npath = \"/3306/0/5850\"\nchannel = 1\n[[actuator]]\nchannel = 2\npath = \"/3306/0/5850\"",
            "mine.toml:9: actuator.1.path: /3306/0/5850 stands twice",
        ),
        (
            "[[command]]\npath = \"/3306/0/5850\"\npayload = \"01\"",
            "mine.toml:5: command.0.path: /3306/0/5850 (On/Off) cannot be executed",
        ),
        ("[[command]]\npath = \"/3/0/4\"\npayload = \"\"", "mine.toml:6: command.0.payload: is not 1 to 242 bytes"),
        ("[[sample]]\nfport = 0\npayload = \"\"\nexpect = {}", "mine.toml:4: sample.0: no frame"),
    ] {
        let said = said(&format!("{good}{more}\n")).unwrap_err();
        assert!(said.contains(want), "{more}: {said}");
        assert!(!said.contains("there is no profile"), "{said}");
    }
    let more = "lifetime_s = 300\n[[actuator]]\npath = \"/3306/0/5851\"\nchannel = 1\n[[command]]\npath = \"/3/0/4\"\npayload = \"01ff\"";
    assert!(said(&format!("{good}{more}\n")).is_ok());
}

const PSK: [&str; 2] = ["603deb1015ca71be2b73aef0857d7781", "1f352c073b6108d72d9810a30914dff4"];
const APP_KEY: [&str; 2] = ["2b7e151628aed2a6abf7158809cf4f3c", "2b7e151628aed2a6abf7158809cf4f3d"];

/// A directory with a configuration of two nodes; `server` goes into its server's section.
struct Site(tempfile::TempDir);

impl Site {
    fn new(server: &str, keys: &str) -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        site.write("lpwad.toml", &format!(
            "[[radio]]\nname = \"r\"\nplugin = \"p\"\n[[server]]\nname = \"s\"\nsecure_uri = \"coaps://127.0.0.1\"\n{server}\n\
             [[node]]\ndev_eui = \"70b3d57ed0001234\"\nprofile = \"cayenne-lpp\"\n\
             [[node]]\ndev_eui = \"70b3d57ed0001235\"\nprofile = \"cayenne-lpp\"\nendpoint = \"cellar-node-5\"\n"
        ));
        site.write("keys.toml", keys);
        site
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(self.0.path().join(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    fn read(&self) -> Result<Config, String> {
        Config::read(&self.0.path().join("lpwad.toml")).map_err(|errors| errors.to_string())
    }
}

/// A key file of both nodes; the lines of `first` and `second` begin at 3 and, behind them, two further.
fn keys_of(first: &str, second: &str) -> String {
    format!(
        "[\"70b3d57ed0001234\"]\napp_key = \"{}\"\n{first}\n[\"70b3d57ed0001235\"]\napp_key = \"{}\"\n{second}\n",
        APP_KEY[0], APP_KEY[1]
    )
}

fn psk(identity: &str, key: &str) -> String {
    format!("psk_identity = \"{identity}\"\npsk = \"{key}\"")
}

#[test]
fn a_server_is_reached_from_unless_one_of_its_addresses_is_elsewhere() {
    for (more, reachable) in [
        ("", true),
        ("uri = \"coap://127.0.0.1\"", true),
        ("uri = \"coap://192.0.2.1\"", false),
        ("reachable = false", false),
    ] {
        assert_eq!(Site::new(more, &keys_of("", "")).read().unwrap().servers[0].reachable, reachable, "{more}");
    }
}

#[test]
fn what_dtls_needs_of_a_server_has_the_defaults_of_the_profile_and_is_read() {
    let config = Site::new("", &keys_of("", "")).read().unwrap();
    assert_eq!(config.servers[0].dtls, Dtls::default());
    assert_eq!(config.warnings, Vec::<String>::new());
    let site = Site::new(
        "server_public_key = \"server.pem\"\ntrust_anchors = \"ca.pem\"\nmax_fragment_length = 1024\n\
         suites = [\"gcm\", \"ccm8\"]\ndtls_timer_initial_s = 2\ndtls_timer_reason = \"a wire\"\ndtls_timer_cap_s = 60\n\
         psk_identity = \"endpoint\"",
        &keys_of("", ""),
    );
    site.write("server.pem", "-----BEGIN PUBLIC KEY-----\n");
    site.write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
    let config = site.read().unwrap();
    let wanted = Dtls {
        server_public_key: Some(b"-----BEGIN PUBLIC KEY-----\n".to_vec()),
        trust_anchors: Some(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
        server_certificate: None,
        max_fragment_length: 1024,
        suites: vec![Suite::Gcm, Suite::Ccm8],
        timer_initial_s: 2,
        timer_cap_s: 60,
        psk_identity: PskIdentity::Endpoint,
    };
    assert_eq!(config.servers[0].dtls, wanted);
    assert!(config.warnings[0].contains("after 2 s") && config.warnings[0].contains("a wire"), "{:?}", config.warnings);
}

#[test]
fn what_dtls_cannot_use_is_refused_with_line_key_and_hint() {
    for (server, key, word) in [
        ("max_fragment_length = 256", "server.max_fragment_length", "256 is not 512"),
        ("max_fragment_length = 70000", "server.max_fragment_length", "70000"),
        ("suites = []", "server.suites", "empty"),
        ("suites = [\"ccm8\", \"null\"]", "server.suites", "\"null\" is not known"),
        ("suites = [\"ccm8\", \"ccm8\"]", "server.suites", "twice"),
        ("dtls_timer_initial_s = 8", "server.dtls_timer_initial_s", "without a reason"),
        ("dtls_timer_initial_s = 8\ndtls_timer_reason = \" \"", "server.dtls_timer_initial_s", "without a reason"),
        ("dtls_timer_initial_s = 0\ndtls_timer_reason = \"x\"", "server.dtls_timer_initial_s", "outside 1 to 60"),
        ("dtls_timer_initial_s = 73", "server.dtls_timer_initial_s", "outside 1 to 60"),
        ("dtls_timer_cap_s = 59", "server.dtls_timer_cap_s", "outside 60"),
        ("psk_identity = \"mac\"", "server.psk_identity", "not known"),
        ("server_public_key = \"nowhere.pem\"", "server.server_public_key", "nowhere.pem: cannot be read"),
        ("server_public_key = \"keys.toml\"", "server.server_public_key", "no PEM of the right kind"),
        ("server_certificate = \"private.pem\"", "server.server_certificate", "private key"),
        ("server_certificate = \"ca.pem\"\ntrust_anchors = \"ca.pem\"", "server.server_certificate", "keep one"),
    ] {
        let site = Site::new(server, &keys_of("", ""));
        site.write("private.pem", "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n");
        site.write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
        let said = site.read().unwrap_err();
        assert!(said.contains(&format!("lpwad.toml:7: {key}: ")) && said.contains(word), "{server}: {said}");
        assert!(said.contains("hint: "), "{said}");
    }
}

#[test]
fn p_44_a_credential_has_its_own_identity_and_only_on_demand_that_of_the_endpoint() {
    let keys = keys_of(&psk("7f3a", PSK[0]), &format!("psk = \"{}\"", PSK[1]));
    let said = Site::new("", &keys).read().unwrap_err();
    assert!(said.contains("keys.toml:7: [\"70b3d57ed0001235\"] psk: a key without psk_identity"), "{said}");
    let config = Site::new("psk_identity = \"endpoint\"", &keys).read().unwrap();
    let identity = |n: usize| match config.nodes[n].credential.as_deref() {
        Some(Credential::Psk { identity, .. }) => String::from_utf8(identity.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((identity(0), identity(1)), ("7f3a".into(), "cellar-node-5".into()));
}

#[test]
fn p_01_a_second_use_of_a_key_or_an_identity_is_refused_at_load() {
    let first = psk("a", PSK[0]);
    for (keys, line, words) in [
        (keys_of(&first, &psk("b", PSK[0])), Some(8), ["psk: is also the psk of", "70b3d57ed0001234"]),
        (keys_of(&first, &psk("b", APP_KEY[0])), Some(8), ["psk: is also the app_key of", "70b3d57ed0001234"]),
        (keys_of("", &psk("b", APP_KEY[1])), Some(7), ["psk: is also the app_key of", "70b3d57ed0001235"]),
        (
            keys_of("", "").replace(APP_KEY[1], APP_KEY[0]),
            Some(5),
            ["app_key: is also the app_key of", "70b3d57ed0001234"],
        ),
        (keys_of(&first, &psk("a", PSK[1])), None, ["same psk_identity", "70b3d57ed0001234 and 70b3d57ed0001235"]),
    ] {
        let said = Site::new("", &keys).read().unwrap_err();
        if let Some(line) = line {
            assert!(said.contains(&format!("keys.toml:{line}: [\"70b3d57ed0001235\"] ")), "{line}: {said}");
        }
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(PSK.iter().chain(&APP_KEY).all(|key| !said.contains(key)), "{said}");
    }
}

#[test]
fn p_01_a_thousand_nodes_with_keys_of_their_own_are_read() {
    let site = Site::new("", "");
    let mut config = std::fs::read_to_string(site.0.path().join("lpwad.toml")).unwrap();
    config.truncate(config.find("[[node]]").unwrap());
    let mut keys = String::new();
    for n in 0..1000_u32 {
        let eui = format!("70b3d57ed001{n:04x}");
        config += &format!("[[node]]\ndev_eui = \"{eui}\"\nprofile = \"cayenne-lpp\"\n");
        keys += &format!("[\"{eui}\"]\napp_key = \"2b7e151628aed2a6abf71588a9cf{n:04x}\"\n");
        keys += &format!("psk_identity = \"id-{n}\"\npsk = \"603deb1015ca71be2b73aef0857d{n:04x}\"\n");
    }
    site.write("lpwad.toml", &config);
    site.write("keys.toml", &keys);
    let config = site.read().unwrap();
    let mut fingerprints: Vec<_> =
        config.nodes.iter().map(|node| node.credential.as_ref().unwrap().fingerprint()).collect();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 1000);
    site.write("keys.toml", &keys.replace("0857d03e7", "0857d0000"));
    assert!(site.read().unwrap_err().contains("is also the psk of"));
}

#[test]
fn p_02_a_key_that_the_endpoint_gives_away_is_refused() {
    let key = lpwad_link::hex::encode(b"\x91cellar-node-5\x07\x13\xfe");
    let said = Site::new("", &keys_of("", &psk("b", &key))).read().unwrap_err();
    assert!(
        said.contains("keys.toml:7: [\"70b3d57ed0001235\"] psk: weak key") && said.contains("identifier"),
        "{said}"
    );
    assert!(!said.contains(&key), "{said}");
}

#[test]
fn a_credential_that_cannot_know_its_server_is_refused_and_a_missing_one_is_said() {
    let pem = "rpk_key = '''-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----'''";
    let said = Site::new("", &keys_of(pem, "")).read().unwrap_err();
    assert!(
        said.contains("keys.toml:3: [\"70b3d57ed0001234\"] rpk_key: ") && said.contains("server_public_key"),
        "{said}"
    );
    let site = Site::new("server_public_key = \"server.der\"\nsecurity = \"dtls\"", &keys_of(pem, ""));
    site.write("server.der", "\x30\x59");
    let config = site.read().unwrap();
    assert_eq!(config.nodes[0].credential.as_ref().unwrap().kind(), "rpk");
    assert!(config.warnings[0].contains("without a key for DTLS, and so without session: 1,"), "{:?}", config.warnings);
    assert!(config.warnings[0].contains("70b3d57ed0001235"), "{:?}", config.warnings);
}

#[test]
fn keys_in_the_store_are_read_by_whoever_opens_it() {
    let site = Site::new("", &keys_of("", ""));
    let text = std::fs::read_to_string(site.0.path().join("lpwad.toml")).unwrap();
    site.write(
        "lpwad.toml",
        &text.replace("dev_eui = \"70b3d57ed0001235\"", "dev_eui = \"70b3d57ed0001235\"\nkeys = \"store\""),
    );
    let path = site.0.path().join("lpwad.toml");
    assert!(site.read().unwrap_err().contains("not at hand"));
    let with = |text: &str| {
        let text = text.to_string();
        let sealed = |_: Option<&Path>| Ok((PathBuf::from("keys.sealed"), zeroize::Zeroizing::new(text.clone())));
        Config::read_with(&path, &Outside { sealed: &sealed, user: &|_| None })
    };
    assert!(with("").unwrap_err().to_string().contains("keys.sealed has no keys for this node"));
    let config = with(&keys_of("", &psk("a", PSK[0]))).unwrap();
    assert_eq!(config.nodes[1].credential.as_ref().map(|credential| credential.kind()), Some("psk"));
    assert!(with("[\"70b3d57ed0001235\"]\napp_key = \"70\"").unwrap_err().to_string().contains("keys.sealed:2: "));
}

#[test]
fn what_a_radio_draws_is_read_whole_or_refused_by_key() {
    let profile = |power: &str| {
        let text = format!("name = \"meter\"\ncodec = \"raw\"\nexpect_uplink_s = 3600\n{power}");
        Profile::parse(Path::new("meter.toml"), &text)
    };
    assert_eq!(profile("").unwrap().power, None);
    let power = profile("[power]\nvoltage_v = 3\ntx_current_ma = 44.5\nrx_current_ma = 11.2\n").unwrap().power.unwrap();
    assert_eq!((power.voltage_v, power.tx_current_ma, power.rx_current_ma), (3.0, 44.5, 11.2));
    for (text, want) in [
        ("voltage_v = 3300\ntx_current_ma = 44\nrx_current_ma = 11", "power.voltage_v: is outside 0.5 to 60 V"),
        ("voltage_v = nan\ntx_current_ma = 44\nrx_current_ma = 11", "power.voltage_v: is outside"),
        ("voltage_v = 3.3\ntx_current_ma = 0\nrx_current_ma = 11", "power.tx_current_ma: is outside 0.1 to 2000 mA"),
        ("voltage_v = 3.3\ntx_current_ma = 44\nrx_current_ma = inf", "power.rx_current_ma: is outside 0.1 to 2000 mA"),
        ("voltage_v = 3.3\ntx_current_ma = 44", "missing field `rx_current_ma`"),
        ("voltage_v = 3.3\ntx_curent_ma = 44\nrx_current_ma = 11", "did you mean `tx_current_ma`?"),
        ("voltage_v = \"3.3\"\ntx_current_ma = 44\nrx_current_ma = 11", "meter.toml:5"),
    ] {
        let error = profile(&format!("[power]\n{text}\n")).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("meter.toml"), "{want}\n{error}");
    }
}
