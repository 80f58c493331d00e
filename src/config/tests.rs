//! The whole configuration: the example, and what is refused with file, line and key.

use super::*;
use std::os::unix::fs::OpenOptionsExt;

/// The example as it stands, and with every key that it shows as a comment.
#[test]
fn the_commented_example_is_a_configuration() {
    let example = include_str!("../../config/lpwad.toml");
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) && key.contains(" = ") => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_ne!(example, uncommented);
    for text in [example, &uncommented] {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("lpwad.toml"), text).expect("written");
        let keys = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(dir.path().join("keys.toml"));
        let nodes: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("dev_eui = \"")?.split('"').next()).collect();
        assert!(!nodes.is_empty());
        for node in nodes {
            let key = "2b7e151628aed2a6abf7158809cf4f3c";
            let entry = format!("[\"{node}\"]\napp_key = \"{key}\"\nnwk_s_key = \"{key}\"\napp_s_key = \"{key}\"\n");
            std::io::Write::write_all(&mut keys.as_ref().expect("opened"), entry.as_bytes()).expect("written");
        }
        let config = Config::read(&dir.path().join("lpwad.toml"));
        assert!(config.is_ok(), "{}", config.err().map(|errors| errors.to_string()).unwrap_or_default());
    }
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
        Config::read_with(&path, &move |_| Ok((PathBuf::from("keys.sealed"), zeroize::Zeroizing::new(text.clone()))))
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
